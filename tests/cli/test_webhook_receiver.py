"""The receiver in its own process, against the emulator's signed webhooks and forged ones."""

from __future__ import annotations

import json
import socket
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from http.client import HTTPResponse
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import httpx
import pytest

from dagster_gptimg.cli.commands import main
from dagster_gptimg.emulator.http.webhook_signatures import Signer
from dagster_gptimg.engine.submit.webhook_urls import webhook_url
from dagster_gptimg.store.dataset import Dataset
from dagster_gptimg.store.inbox import MOST_IDS
from dagster_gptimg.store.receipts.facts import Accepted, Intent
from dagster_gptimg.store.root import Store
from dagster_gptimg.testing import NO_TLS
from tests.emulator.receiver import Came, receiving
from tests.harness import Fal, until
from tests.processes import first_line, fork

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEY = "ab" * 32
RUN = "20261125T000000-00000000"
ENDPOINT = "fal-ai/gpt-image-1-mini"


@contextmanager
def receiver(fal: Fal, store: Path, program: Callable[[], None] = main) -> Iterator[str]:
    with TemporaryDirectory() as folder:
        said, errors = Path(folder, "stdout"), Path(folder, "stderr")
        process = fork(program, ("receive", "--store", str(store), "--port", "0"), fal.env, said, errors)
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
        until(
            "two callbacks came",
            lambda: httpx.get(f"{base}/health", verify=NO_TLS).json()["callbacks"].get("on record") == 2,
        )
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
        until("it was refused", lambda: httpx.get(f"{base}/health", verify=NO_TLS).json()["callbacks"])
        assert "on record" not in httpx.get(f"{base}/health", verify=NO_TLS).json()["callbacks"]
    assert not inbox(store)
    assert not dataset.receipts.load(KEY)[0].accepted


def test_every_check_refuses_what_it_is_for(fal: Fal, store: Path, dataset: Dataset) -> None:
    came, other = signed(fal), signed(fal)
    with receiver(fal, store) as base:
        url = webhook_url(base, dataset, KEY, 0, RUN)
        old = str(int(time.time()) - 301)
        found = {
            "body": post(url, came, came.body + b" "),
            "different requests": post(url, came, other.body),
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
        "body": 401, "different requests": 401, "time": 401, "no time": 401, "signature": 401, "another signature": 401,
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


# -- what only fal itself could have signed, and is not this attempt's, or nothing that can be read


def sign(folder: Path, body: bytes, request_id: str, user: str) -> Came:
    """A callback with the keys of the emulator whose state is in this folder, as fal would send it for a customer."""
    headers = Signer(folder, user).headers(request_id, int(time.time()), body, 1)
    return Came("/", {name.lower(): text for name, text in headers.items()}, body, 0.0)


def told(request_id: str, payload: str = '{"images": []}') -> bytes:
    named = f'"request_id": "{request_id}", "gateway_request_id": "{request_id}"'
    return f'{{{named}, "status": "OK", "payload": {payload}}}'.encode()


def accepted(dataset: Dataset) -> set[str]:
    [attempt] = dataset.receipts.load(KEY)
    return set(attempt.accepted)


def test_once_an_account_is_known_no_other_one_adds_an_id(
    fal: Fal, store: Path, dataset: Dataset, tmp_path: Path
) -> None:
    signed(fal)  # makes the keys
    folder = tmp_path / "fal-emulator"
    record = Accepted(
        request_id="by-reply", endpoint=ENDPOINT, status_url="", response_url="", cancel_url="",
        accepted_at=datetime.now(UTC),
    )  # fmt: skip
    with receiver(fal, store) as base:
        url = webhook_url(base, dataset, KEY, 0, RUN)
        early = post(url, sign(folder, told("early"), "early", "somebody"))  # nothing is known yet: fal's word counts
        dataset.receipts.create_accepted(KEY, 0, "reply", record)
        own = post(url, sign(folder, told("by-reply"), "by-reply", "us"))
        foreign = post(url, sign(folder, told("foreign"), "foreign", "them"))
        again = post(url, sign(folder, told("by-reply"), "by-reply", "us"))
        lost_reply = post(url, sign(folder, told("lost-reply"), "lost-reply", "us"))
    assert (early, own, foreign, again, lost_reply) == (200, 200, 403, 200, 200)
    assert accepted(dataset) == {"early", "by-reply", "lost-reply"}
    assert len(list((store / "d/e/inbox/users").iterdir())) == 1
    assert "us" not in [path.stem for path in (store / "d/e/inbox/users").iterdir()]


def test_an_attempt_takes_a_few_ids_at_most(fal: Fal, store: Path, dataset: Dataset, tmp_path: Path) -> None:
    signed(fal)
    with receiver(fal, store) as base:
        url = webhook_url(base, dataset, KEY, 0, RUN)
        ids = [f"id-{number}" for number in range(10)]
        came = [sign(tmp_path / "fal-emulator", told(name), name, "u") for name in ids]
        codes = [post(url, one) for one in came]
        assert codes == [200] * MOST_IDS + [403] * (10 - MOST_IDS)
        assert post(url, came[0]) == 200  # what is on record may come again
    assert accepted(dataset) == set(ids[:MOST_IDS])


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ('{"a": ' * 5000 + "1" + "}" * 5000, 200),
        ('{"images": [], "seed": ' + "9" * 5000 + "}", 200),
        ('{"images": [], "words": "half \\ud83d"}', 200),
        ('{"images": [], "ratio": NaN}', 200),
        ('{"request_id": "two"', 401),
    ],
    ids=["deep", "digits", "half a letter", "no number", "two ids, cut off"],
)
def test_a_signed_body_of_any_kind_is_taken_or_refused_and_nothing_breaks(
    fal: Fal, store: Path, dataset: Dataset, tmp_path: Path, payload: str, code: int
) -> None:
    signed(fal)
    with receiver(fal, store) as base:
        url = webhook_url(base, dataset, KEY, 0, RUN)
        assert post(url, sign(tmp_path / "fal-emulator", told("one", payload), "one", "u")) == code
        assert httpx.get(f"{base}/health", verify=NO_TLS).status_code == 200
    assert len(dataset.inbox.arrivals(RUN)) == (code == 200)
    if code == 200:
        callback = dataset.inbox.read(dataset.inbox.arrivals(RUN)[0])
        assert callback is not None
        assert callback.request_id == "one"


def impatient() -> None:
    """`main`, with less patience for heads."""
    from dagster_gptimg.cli import http_server as module

    module.HEAD_SECONDS = 0.5
    main()


def test_halves_of_heads_hold_nobody_up_for_long(fal: Fal, store: Path, dataset: Dataset) -> None:
    came = signed(fal)
    with receiver(fal, store, impatient) as base:
        url = httpx.URL(webhook_url(base, dataset, KEY, 0, RUN))
        halves = [socket.create_connection((url.host, url.port or 80), timeout=30) for _ in range(300)]
        try:
            for half in halves:
                half.sendall(b"POST /x HTTP/1.1\r\nHost: x\r\n")
            until("calls are answered again", lambda: httpx.get(f"{base}/health", verify=NO_TLS).status_code == 200)
            assert post(str(url), came) == 200
        finally:
            for half in halves:
                half.close()
        with socket.create_connection((url.host, url.port or 80), timeout=30) as kept:
            kept.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = HTTPResponse(kept)
            answer.begin()
            assert (answer.status, answer.read() != b"") == (
                200,
                True,
            )  # the whole of it, in however many pieces it comes
            kept.sendall(b"GET /health HTTP/1.1\r\n")
            with suppress(ConnectionResetError):
                assert kept.recv(2000) == b""
