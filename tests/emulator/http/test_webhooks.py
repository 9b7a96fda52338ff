"""Webhooks: fal's payloads, signatures, repetition; durable, and as bad as fal's can be."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from typing import Any

import httpx
import pytest

from tests.emulator.conftest import Start
from tests.emulator.harness import ADMIN, ENDPOINT, KEY, Emulator, until
from tests.emulator.receiver import Came, Receiver, receiving, signed_by

LOW = {"quality": "low", "image_size": "1024x1024"}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


def send(emulator: Emulator, url: str, prompt: str = "a cat", **arguments: Any) -> dict[str, Any]:
    """Submit with a webhook."""
    body = {"prompt": prompt, **LOW, **arguments}
    return dict(emulator.http.post(f"/{ENDPOINT}", params={"fal_webhook": url}, json=body).raise_for_status().json())


def ended(emulator: Emulator, handle: dict[str, Any]) -> dict[str, Any]:
    """What the bill says of a webhook, once it is over."""
    until(lambda: emulator.row(handle)["webhook"]["ended"])
    return dict(emulator.row(handle)["webhook"])


def test_the_result_is_sent_without_being_asked_for(quick: Emulator, receiver: Receiver) -> None:
    handle = send(quick, f"{receiver.url}/hook?intent=7", num_images=2)
    (came,) = receiver.wait()
    assert (came.path, came.headers["content-type"]) == ("/hook?intent=7", "application/json")
    told = came.told
    assert {name: told[name] for name in ("request_id", "gateway_request_id", "status")} == {
        "request_id": handle["request_id"],
        "gateway_request_id": handle["request_id"],
        "status": "OK",
    }
    assert told["payload"] == quick.http.get(handle["response_url"]).json()
    assert httpx.get(told["payload"]["images"][1]["url"]).status_code == 200
    assert ended(quick, handle) == {"url": f"{receiver.url}/hook?intent=7", "attempts": 1, "ended": "delivered"}
    assert quick.row(quick.submit())["webhook"] is None


@pytest.mark.parametrize(("prompt", "code"), [("lots of gore", 422), ("failed", 500), ("failed_runner", 503)])
def test_an_error_is_sent_too(prompt: str, code: int, quick: Emulator, receiver: Receiver) -> None:
    if code >= 500:
        quick.fault(prompt, match=prompt)
    handle = send(quick, receiver.url, prompt)
    (came,) = receiver.wait()
    assert (came.told["status"], came.told["error"]) == ("ERROR", f"Invalid status code: {code}")
    assert came.told["payload"] == quick.http.get(handle["response_url"]).json()


def test_an_attempt_of_fals_has_an_id_of_its_own(quick: Emulator, receiver: Receiver) -> None:
    quick.fault("requeue", match="again")
    quick.set(requeue_seconds=0.02)
    handle = send(quick, receiver.url, "again")
    (came,) = receiver.wait()
    assert came.told["request_id"] == handle["request_id"] != came.told["gateway_request_id"]


def test_sync_mode_sends_data_uris(quick: Emulator, receiver: Receiver) -> None:
    send(quick, receiver.url, sync_mode=True)
    (came,) = receiver.wait()
    assert came.told["payload"]["images"][0]["url"].startswith("data:image/png;base64,")


def test_a_cancelled_request_has_a_webhook_unless_it_is_gone(quick: Emulator, receiver: Receiver) -> None:
    quick.set(slots=1, latency=30)
    quick.submit("in front")
    for _ in range(2):
        handle = send(quick, receiver.url)
        quick.http.put(handle["cancel_url"])
        end = ended(quick, handle)
        quick.set(cancelled_is_gone=True)
    assert (len(receiver.came), receiver.came[0].told["error"]) == (1, "Invalid status code: 499")
    assert end["ended"] == "dropped"


# -- signatures


def test_signatures_verify_with_the_published_keys(quick: Emulator, receiver: Receiver) -> None:
    handle = send(quick, receiver.url)
    (came,) = receiver.wait()
    assert signed_by(quick, came) == [0]
    assert came.headers["x-fal-webhook-request-id"] == handle["request_id"]
    assert abs(int(came.headers["x-fal-webhook-timestamp"]) - time.time()) < 10
    assert signed_by(quick, Came(came.path, came.headers, came.body + b" ", 0)) == []
    quick.set(webhook_keys=3)
    send(quick, receiver.url)
    assert signed_by(quick, receiver.wait(2)[1]) == [2], "the newest key signs, the old ones are still published"
    assert signed_by(quick, came) == [0]


def test_the_keys_live_in_the_state_folder(start: Start, receiver: Receiver) -> None:
    emulator = start(latency=0.02)
    before = httpx.get(f"{emulator.url}/.well-known/jwks.json").json()
    assert (emulator.folder / "webhook-keys").stat().st_mode & 0o777 == 0o600
    emulator.kill()
    emulator.start()
    send(emulator, receiver.url)
    assert signed_by(emulator, receiver.wait()[0]) == [0]
    assert httpx.get(f"{emulator.url}/.well-known/jwks.json").json() == before


# -- repetition


def test_what_is_not_taken_is_repeated_with_growing_pauses(quick: Emulator, receiver: Receiver) -> None:
    quick.set(webhook_backoff=0.2)
    receiver.answers = [500, 404, 401, 200]
    handle = send(quick, receiver.url)
    came = receiver.wait(4)
    assert ended(quick, handle) == {"url": receiver.url, "attempts": 4, "ended": "delivered"}
    pauses = [later.at - earlier.at for earlier, later in pairwise(came)]
    assert [pause >= least for pause, least in zip(pauses, (0.2, 0.24, 0.288), strict=True)] == [True] * 3
    assert len({one.body for one in came}) == 1
    assert [signed_by(quick, one) for one in came] == [[0]] * 4


def test_repeated_deliveries_are_signed_anew_or_not(quick: Emulator, receiver: Receiver) -> None:
    quick.set(webhook_backoff=1.1)
    for number, signed_once in enumerate((False, True)):
        quick.set(webhook_signed_once=signed_once)
        receiver.answers = [500]
        send(quick, receiver.url)
        first, second = receiver.wait(2 * number + 2)[-2:]
        assert (first.prefix == second.prefix) is signed_once


def test_a_redirect_is_the_end(quick: Emulator, receiver: Receiver) -> None:
    receiver.answers = [307]
    assert ended(quick, send(quick, receiver.url))["ended"] == "redirected"
    assert [came.path for came in receiver.came] == ["/"]


@pytest.mark.parametrize(
    ("settings", "attempts"), [({"webhook_retries": 2}, 3), ({"result_seconds": 0.0, "webhook_backoff": 5.0}, 1)]
)
def test_repetition_ends(settings: dict[str, float], attempts: int, quick: Emulator) -> None:
    quick.set(**{"webhook_backoff": 0.01, **settings})
    with receiving() as nobody:
        pass
    assert ended(quick, send(quick, nobody.url)) == {"url": nobody.url, "attempts": attempts, "ended": "given_up"}


def test_a_large_result_is_repeated_for_a_shorter_time(quick: Emulator, receiver: Receiver) -> None:
    quick.set(webhook_backoff=0.5, large_result_seconds=0.0)
    receiver.answers = [500]
    assert ended(quick, send(quick, receiver.url, sync_mode=True))["ended"] == "given_up"
    receiver.answers = [500]
    assert ended(quick, send(quick, receiver.url))["ended"] == "delivered"


def test_a_slow_receiver_is_asked_again_with_more_patience(quick: Emulator, receiver: Receiver) -> None:
    quick.set(webhook_seconds=0.1, webhook_backoff=0.01)
    receiver.pause = 0.3
    assert ended(quick, send(quick, receiver.url)) == {"url": receiver.url, "attempts": 2, "ended": "delivered"}
    quick.set(webhook_retry_seconds=0.1, webhook_retries=1)
    assert ended(quick, send(quick, receiver.url))["ended"] == "given_up"


@pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1/", "http://", "http://[::zz]/", "https:///x"])
def test_what_is_no_address_is_dropped(url: str, quick: Emulator) -> None:
    assert ended(quick, send(quick, url))["ended"] == "dropped"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "10.0.0.1", "[::1]", "169.254.169.254"])
def test_private_addresses_are_dropped_when_told(host: str, quick: Emulator, receiver: Receiver) -> None:
    quick.set(webhook_private=False)
    port = receiver.url.rpartition(":")[2]
    assert ended(quick, send(quick, f"http://{host}:{port}/")) == {
        "url": f"http://{host}:{port}/",
        "attempts": 1,
        "ended": "dropped",
    }
    assert receiver.came == []


# -- durability


def test_deliveries_survive_sigkill(start: Start, receiver: Receiver) -> None:
    emulator = start(latency=0.5, webhook_backoff=0.2)
    receiver.answers = [500]
    first = send(emulator, f"{receiver.url}/first")
    receiver.wait()
    second = send(emulator, f"{receiver.url}/second")
    emulator.kill()
    emulator.start()
    until(lambda: {came.path for came in receiver.came[1:]} == {"/first", "/second"})
    assert (ended(emulator, first)["ended"], ended(emulator, second)["ended"]) == ("delivered", "delivered")


def test_what_ended_while_it_was_down_is_sent(start: Start, receiver: Receiver) -> None:
    emulator = start(latency=0.2)
    handles = [send(emulator, f"{receiver.url}/{number}") for number in range(40)]
    emulator.kill()
    time.sleep(0.4)  # Time passes while it is down: that is the test.
    emulator.start()
    # What it was killed in the middle of is sent twice: that something came is known only when the answer is on record.
    until(lambda: {came.told["request_id"] for came in receiver.came} == {h["request_id"] for h in handles})


# -- faults


def test_lost_and_twice(quick: Emulator, receiver: Receiver) -> None:
    quick.fault("webhook_lost", match="lost")
    quick.fault("webhook_twice", match="twice")
    assert ended(quick, send(quick, f"{receiver.url}/lost", "lost"))["ended"] == "lost"
    ended(quick, send(quick, f"{receiver.url}/twice", "twice"))
    first, second = receiver.came
    assert (first.path, first.body) == (second.path, second.body)


def test_late_and_overtaken(quick: Emulator, receiver: Receiver) -> None:
    quick.fault("webhook_overtaken", match="one")
    first = send(quick, f"{receiver.url}/one", "one")
    quick.finished(first)
    send(quick, f"{receiver.url}/two", "two")
    assert [came.path for came in receiver.wait(2)] == ["/two", "/one"]
    quick.fault("webhook_late", match="late")
    quick.set(slow_seconds=0.4)
    handle = send(quick, f"{receiver.url}/late", "late")
    came = receiver.wait(3)[2]
    assert came.at - datetime.fromisoformat(quick.row(handle)["completed_at"]).timestamp() >= 0.4


@pytest.mark.parametrize("fault", ["webhook_forged", "webhook_stale"])
def test_signatures_to_refuse(fault: str, quick: Emulator, receiver: Receiver) -> None:
    quick.fault(fault, match=fault)
    quick.set(webhook_backoff=0.01)
    receiver.answers = [401]
    send(quick, receiver.url, fault)
    bad, good = receiver.wait(2)
    age = time.time() - int(bad.headers["x-fal-webhook-timestamp"])
    assert (signed_by(quick, bad) == []) is (fault == "webhook_forged")
    assert (age > 300) is (fault == "webhook_stale")
    assert signed_by(quick, good) == [0]


def test_a_payload_that_cannot_be_sent_is_fetched(quick: Emulator, receiver: Receiver) -> None:
    quick.fault("webhook_no_payload", match="odd")
    handle = send(quick, receiver.url, "odd")
    (came,) = receiver.wait()
    assert (came.told["status"], came.told["payload"]) == ("OK", None)
    assert came.told["payload_error"]
    assert quick.http.get(handle["response_url"]).json()["images"]


def test_by_rate(start: Start, receiver: Receiver) -> None:
    emulator = start(latency=0.02, faults={"webhook_lost": 0.5}, seed=3)
    handles = [send(emulator, receiver.url, f"number {number}") for number in range(30)]
    ends = [ended(emulator, handle)["ended"] for handle in handles]
    assert 5 < ends.count("lost") < 25
    assert ends.count("delivered") == len(receiver.came) == 30 - ends.count("lost")


def test_a_lost_reply_is_repaired_by_the_webhook(quick: Emulator, receiver: Receiver) -> None:
    quick.fault("submit_lost", match="mended")
    with pytest.raises(httpx.RemoteProtocolError):
        send(quick, f"{receiver.url}/intent-1", "mended")
    (came,) = receiver.wait()
    assert came.path == "/intent-1"
    assert quick.row({"request_id": came.told["request_id"]})["prompt"] == "mended"


def test_keys_of_the_account(quick: Emulator) -> None:
    for key, code in ((KEY, 403), (ADMIN["Authorization"], 200), ("Key bad", 401), ("", 401)):
        reply = httpx.get(f"{quick.url}/v1/models/billing-events", headers={"Authorization": key})
        assert reply.status_code == code
