"""The receiver in its own process, against the emulator's signed webhooks and forged ones."""

from __future__ import annotations

import json
import socket
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import httpx
import pytest

from dagster_gptimg.batch.callbacks import webhook_url
from dagster_gptimg.cli import main
from dagster_gptimg.store.dataset import Dataset
from dagster_gptimg.store.facts import Intent
from dagster_gptimg.store.root import Store
from tests.emulator.receiver import Came, receiving
from tests.harness import Fal, until
from tests.processes import first_line, fork

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "ab" * 32
RUN = "20261125T000000-00000000"
ENDPOINT = "fal-ai/gpt-image-1-mini"


@contextmanager
def receiver(fal: Fal, store: Path) -> Iterator[str]:
    with TemporaryDirectory() as folder:
        said, errors = Path(folder, "stdout"), Path(folder, "stderr")
        process = fork(main, ("receive", "--store", str(store), "--port", "0"), fal.env, said, errors)
        try:
            yield first_line(process, said).removeprefix("receiver: ")
        finally:
            process.terminate()
            process.join(20)


@pytest.fixture
def dataset(store: Path) -> Dataset:
    """A dataset with one attempt, whose reply was lost."""
    made = Dataset(Store(str(store)), "d/e")
    made.open("emulator:x")
    intent = Intent(
        endpoint=ENDPOINT, arguments={"prompt": "p"}, partition=None, row_id="r", run=RUN, cost_high_usd=None,
        nonce="n", account="a", created_at=datetime.now(UTC),
    )  # fmt: skip
    assert made.receipts.create_intent(KEY, 0, intent)
    return made


def submit(fal: Fal, url: str, prompt: str = "a cup") -> str:
    body = {"prompt": prompt, "quality": "low", "image_size": "1024x1024"}
    headers = {"Authorization": "Key test-key"}
    reply = httpx.post(f"{fal.url}/{ENDPOINT}", params={"fal_webhook": url}, json=body, headers=headers)
    return str(reply.raise_for_status().json()["request_id"])


def signed(fal: Fal, path: str = "/") -> Came:
    """One genuine callback of the emulator's, caught elsewhere."""
    with receiving() as elsewhere:
        submit(fal, f"{elsewhere.url}{path}")
        return elsewhere.wait()[0]


def post(url: str, came: Came, body: bytes | None = None, headers: dict[str, str] | None = None) -> int:
    told = {name: text for name, text in came.headers.items() if name.startswith("x-fal-webhook")}
    return httpx.post(url, content=came.body if body is None else body, headers={**told, **(headers or {})}).status_code


def inbox(store: Path) -> list[Path]:
    return sorted((store / "d/e/inbox").rglob("*.json"))


def test_a_callback_becomes_a_fact_of_the_attempt_and_lies_in_the_inbox(
    fal: Fal, store: Path, dataset: Dataset
) -> None:
    fal.set(faults={"webhook_twice": 1.0})
    with receiver(fal, store) as base:
        request_id = submit(fal, webhook_url(base, dataset, KEY, 0, RUN))
        until("two callbacks came", lambda: httpx.get(f"{base}/health").json()["callbacks"].get("on record") == 2)
    [arrival] = dataset.inbox.arrivals(RUN)
    callback = dataset.inbox.read(arrival)
    assert callback is not None
    assert (arrival.request_id, callback.request_id, callback.status) == (request_id, request_id, "OK")
    assert callback.payload is not None
    assert len(callback.payload["images"]) == 1
    [attempt] = dataset.receipts.load(KEY)
    assert list(attempt.accepted) == [request_id]
    assert attempt.accepted[request_id][0] == "webhook"
    dataset.inbox.remove([arrival])
    assert not inbox(store)


@pytest.mark.parametrize("fault", ["webhook_forged", "webhook_stale"])
def test_what_fal_did_not_sign_just_now_is_refused(fal: Fal, store: Path, dataset: Dataset, fault: str) -> None:
    fal.set(faults={fault: 1.0})
    with receiver(fal, store) as base:
        submit(fal, webhook_url(base, dataset, KEY, 0, RUN))
        until("it was refused", lambda: httpx.get(f"{base}/health").json()["callbacks"])
        assert "on record" not in httpx.get(f"{base}/health").json()["callbacks"]
    assert not inbox(store)
    assert not dataset.receipts.load(KEY)[0].accepted


def test_every_check_refuses_what_it_is_for(fal: Fal, store: Path, dataset: Dataset) -> None:
    came, other = signed(fal), signed(fal)
    with receiver(fal, store) as base:
        url = webhook_url(base, dataset, KEY, 0, RUN)
        old = str(int(time.time()) - 301)
        found = {
            "body": post(url, came, came.body + b" "),
            "two requests": post(url, came, other.body),
            "time": post(url, came, headers={"x-fal-webhook-timestamp": old}),
            "no time": post(url, came, headers={"x-fal-webhook-timestamp": "soon"}),
            "signature": post(url, came, headers={"x-fal-webhook-signature": "zz"}),
            "another signature": post(
                url, came, headers={"x-fal-webhook-signature": other.headers["x-fal-webhook-signature"]}
            ),
            "unsigned URL": post(url.partition("?")[0], came),
            "another attempt": post(url.replace(f"{KEY}.0", f"{KEY}.1"), came),
            "no such attempt": post(webhook_url(base, dataset, "cd" * 32, 0, RUN), came),
            "another dataset": post(url.replace("d/e", "d/f"), came),
            "no dataset's name": post(url.replace("d/e", "..%2f..%2fx"), came),
            "no path": post(f"{base}/x", came),
            "large": post(url, came, b"x" * (1024 * 1024 + 1)),
        }
        assert not inbox(store)
        assert post(url, came) == post(url, came) == 200
    assert found == {
        "body": 401, "two requests": 401, "time": 401, "no time": 401, "signature": 401, "another signature": 401,
        "unsigned URL": 403, "another attempt": 403, "no such attempt": 404, "another dataset": 404,
        "no dataset's name": 404, "no path": 404, "large": 413,
    }  # fmt: skip
    assert len(inbox(store)) == 1


def test_a_slow_sender_is_cut_off_and_holds_nobody_up(fal: Fal, store: Path, dataset: Dataset) -> None:
    came = signed(fal)
    with receiver(fal, store) as base:
        url = httpx.URL(webhook_url(base, dataset, KEY, 0, RUN))
        told = "".join(f"{name}: {text}\r\n" for name, text in came.headers.items() if name.startswith("x-fal"))
        with socket.create_connection((url.host, url.port or 80), timeout=30) as slow:
            head = f"POST {url.raw_path.decode()} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(came.body)}\r\n{told}\r\n"
            slow.sendall(head.encode() + came.body[:9])
            assert post(str(url), came) == 200
            assert b" 408 " in slow.recv(100)


def test_a_new_key_is_fetched_and_every_key_is_tried(fal: Fal, store: Path, dataset: Dataset) -> None:
    fal.set(webhook_keys=3)
    with receiver(fal, store) as base:
        submit(fal, webhook_url(base, dataset, KEY, 0, RUN))
        until("it came", lambda: inbox(store))


def test_it_answers_only_when_it_is_on_record(fal: Fal, store: Path, dataset: Dataset) -> None:
    came = signed(fal)
    blocked = store / "d/e/inbox"
    blocked.write_text("not a folder")
    with receiver(fal, store) as base:
        url = webhook_url(base, dataset, KEY, 0, RUN)
        assert post(url, came) == 503
        blocked.unlink()
        assert post(url, came) == 200
    assert json.loads(inbox(store)[0].read_text())["status"] == "OK"
