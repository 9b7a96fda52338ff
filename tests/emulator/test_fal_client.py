"""The judge of fidelity: fal's own Python client, sync and async."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import fal_client
import pytest

from tests.emulator.harness import ENDPOINT, Emulator, until
from tests.emulator.receiver import receiving, signed_by

ARGUMENTS = {"prompt": "a red bag", "quality": "low", "image_size": "1024x1024"}


@pytest.fixture
def fal(quick: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[fal_client.SyncClient]:
    monkeypatch.setattr(fal_client.client, "QUEUE_URL_FORMAT", f"{quick.url}/")
    with _closing(fal_client.SyncClient(key="id:secret")) as client:
        yield client


@contextmanager
def _closing(client: fal_client.SyncClient) -> Iterator[fal_client.SyncClient]:
    """fal's client has no `close`."""
    yield client
    client._client.close()


def run(quick: Emulator, monkeypatch: pytest.MonkeyPatch, way: Callable[[Any], Awaitable[None]]) -> None:
    """Run `way` with fal's async client."""

    async def all_of_it() -> None:
        client = fal_client.AsyncClient(key="id:secret")
        await way(client)
        await (await client._client).aclose()

    monkeypatch.setattr(fal_client.client, "QUEUE_URL_FORMAT", f"{quick.url}/")
    asyncio.run(all_of_it())


def test_subscribe_tells_the_whole_way(fal: fal_client.SyncClient, quick: Emulator) -> None:
    quick.set(slots=1, latency=60, cancel_stops_running=True)
    front = quick.submit("in front")
    quick.set(latency=0.3)
    seen: list[fal_client.Status] = []

    def told(status: fal_client.Status) -> None:
        seen.append(status)
        if len(seen) == 1:
            quick.http.put(front["cancel_url"])

    result = fal.subscribe(ENDPOINT, {**ARGUMENTS, "num_images": 2}, with_logs=True, on_queue_update=told)
    assert isinstance(seen[0], fal_client.Queued)
    assert seen[0].position == 0
    assert any(isinstance(status, fal_client.InProgress) and status.logs for status in seen)
    last = seen[-1]
    assert isinstance(last, fal_client.Completed)
    assert last.logs
    assert last.error is None
    assert 0.3 * 0.69 < last.metrics["inference_time"] < 0.3 * 1.31
    assert len(result["images"]) == 2


def test_submit_status_result(fal: fal_client.SyncClient) -> None:
    handle = fal.submit(ENDPOINT, ARGUMENTS)
    until(lambda: isinstance(fal.status(ENDPOINT, handle.request_id), fal_client.Completed))
    assert fal.result(ENDPOINT, handle.request_id) == handle.get()


def test_iter_events_tells_every_state_until_the_end(fal: fal_client.SyncClient, quick: Emulator) -> None:
    quick.set(slots=1, latency=60, cancel_stops_running=True)
    front = quick.submit("in front")
    quick.set(latency=0.6)
    handle = fal.submit(ENDPOINT, ARGUMENTS)
    events = handle.iter_events(with_logs=True, interval=0.02)
    seen = [next(events)]
    quick.http.put(front["cancel_url"])
    assert list(dict.fromkeys(type(event) for event in [*seen, *events])) == [
        fal_client.Queued,
        fal_client.InProgress,
        fal_client.Completed,
    ]
    assert list(fal.get_handle(ENDPOINT, handle.request_id).iter_events())[-1:] == [handle.status()]


def test_what_a_request_is_sent_with(fal: fal_client.SyncClient, quick: Emulator) -> None:
    with receiving() as receiver:
        url = f"{receiver.url}/hook?intent=1"
        headers = {"X-Fal-Tags": "run=7", "X-Fal-Store-IO": "1"}
        handle = fal.submit(
            ENDPOINT, ARGUMENTS, webhook_url=url, priority="low", hint="here", start_timeout=30, headers=headers
        )
        (came,) = receiver.wait()
        until(lambda: quick.row({"request_id": handle.request_id})["webhook"]["ended"])
    row = quick.row({"request_id": handle.request_id})
    assert row["headers"] == {
        "x-fal-queue-priority": "low",
        "x-fal-runner-hint": "here",
        "x-fal-request-timeout": "30.0",
        "x-fal-tags": "run=7",
        "x-fal-store-io": "1",
    }
    assert row["webhook"] == {"url": url, "attempts": 1, "ended": "delivered"}
    assert came.told["payload"] == handle.get()
    assert signed_by(quick, came) == [0]


def test_an_edit_of_the_clients_own_result(fal: fal_client.SyncClient) -> None:
    first = fal.subscribe(ENDPOINT, ARGUMENTS)["images"][0]["url"]
    edited = fal.subscribe(f"{ENDPOINT}/edit", {**ARGUMENTS, "image_urls": [first]})
    assert edited["images"][0]["url"] != first
    with pytest.raises(fal_client.FalClientHTTPError) as caught:
        fal.subscribe(f"{ENDPOINT}/edit", ARGUMENTS)
    assert caught.value.response.json()["detail"][0]["loc"] == ["body", "image_urls"]


def test_logs_are_left_out_when_not_asked_for(fal: fal_client.SyncClient) -> None:
    handle = fal.submit(ENDPOINT, ARGUMENTS)
    handle.get()
    quiet, told = handle.status(), handle.status(with_logs=True)
    assert isinstance(quiet, fal_client.Completed)
    assert quiet.logs is None
    assert isinstance(told, fal_client.Completed)
    assert told.logs is not None


def test_cancel_in_the_queue(fal: fal_client.SyncClient, quick: Emulator) -> None:
    quick.set(slots=1, latency=30)
    quick.submit("in front")
    handle = fal.submit(ENDPOINT, ARGUMENTS)
    handle.cancel()
    status = handle.status()
    assert isinstance(status, fal_client.Completed)
    assert status.error_type == "client_cancelled"
    with pytest.raises(fal_client.FalClientHTTPError) as caught:
        handle.get()
    assert caught.value.status_code == 499


def test_a_refusal_is_an_http_error(fal: fal_client.SyncClient) -> None:
    with pytest.raises(fal_client.FalClientHTTPError) as caught:
        fal.subscribe(ENDPOINT, {**ARGUMENTS, "prompt": "lots of gore"})
    assert caught.value.status_code == 422
    (entry,) = caught.value.response.json()["detail"]
    assert entry["type"] == "content_policy_violation"
    assert entry["loc"] == ["body", "prompt"]
    assert entry["url"]
    assert entry["input"] == {"prompt": "lots of gore"}


def test_a_wrong_input_is_accepted_and_refused_at_run_time(fal: fal_client.SyncClient) -> None:
    handle = fal.submit(ENDPOINT, {**ARGUMENTS, "quality": "best", "num_images": 5})
    with pytest.raises(fal_client.FalClientHTTPError) as caught:
        handle.get()
    assert caught.value.status_code == 422
    told = {entry["loc"][-1]: entry["type"] for entry in caught.value.response.json()["detail"]}
    assert told == {"quality": "literal_error", "num_images": "less_than_equal"}
    completed = handle.status()
    assert isinstance(completed, fal_client.Completed)
    assert completed.error is None


def test_a_lost_submit_is_paid_twice(fal: fal_client.SyncClient, quick: Emulator) -> None:
    before = quick.bill()
    quick.fault("submit_lost", match="lost on the way")
    handle = fal.submit(ENDPOINT, {**ARGUMENTS, "prompt": "lost on the way"})
    after = quick.bill()
    first, second = after["rows"][-2:]
    assert after["requests"] == before["requests"] + 2
    assert second["request_id"] == handle.request_id
    assert second["twin_of"] == first["request_id"]
    assert "twin_of" not in first


@pytest.mark.parametrize("fault", ["submit_cut", "submit_504"])
def test_other_ambiguous_submits_are_paid_twice_too(fault: str, fal: fal_client.SyncClient, quick: Emulator) -> None:
    before = quick.bill()["requests"]
    quick.fault(fault, match=fault)
    fal.submit(ENDPOINT, {**ARGUMENTS, "prompt": fault})
    assert quick.bill()["requests"] == before + 2


@pytest.mark.parametrize("fault", ["submit_dropped", "submit_503", "submit_429"])
def test_what_was_not_accepted_is_paid_once(fault: str, fal: fal_client.SyncClient, quick: Emulator) -> None:
    before = quick.bill()["requests"]
    quick.fault(fault, match=fault)
    fal.submit(ENDPOINT, {**ARGUMENTS, "prompt": fault})
    assert quick.bill()["requests"] == before + 1


@pytest.mark.parametrize("fault", ["status_503", "status_drop", "result_500_gateway", "result_drop"])
def test_a_bad_read_gets_through_when_repeated(fault: str, fal: fal_client.SyncClient, quick: Emulator) -> None:
    quick.fault(fault, match=fault)
    assert fal.subscribe(ENDPOINT, {**ARGUMENTS, "prompt": fault})["images"]


def test_start_timeout(fal: fal_client.SyncClient, quick: Emulator) -> None:
    quick.set(slots=1, latency=3.0)
    quick.submit("in front")
    handle = fal.submit(ENDPOINT, ARGUMENTS, start_timeout=1.1)
    with pytest.raises(fal_client.FalClientHTTPError) as caught:
        handle.get()
    assert caught.value.status_code == 504
    assert caught.value.response_headers["x-fal-request-timeout-type"] == "user"
    status = handle.status()
    assert isinstance(status, fal_client.Completed)
    assert status.error_type == "request_timeout"


def test_a_bad_key(quick: Emulator, fal: fal_client.SyncClient) -> None:
    with _closing(fal_client.SyncClient(key="bad-key")) as bad, pytest.raises(fal_client.FalClientHTTPError) as caught:
        bad.submit(ENDPOINT, ARGUMENTS)
    assert caught.value.status_code == 401


def test_async_client(quick: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    async def way(fal_async: fal_client.AsyncClient) -> None:
        seen: list[Any] = []
        result = await fal_async.subscribe(ENDPOINT, ARGUMENTS, with_logs=True, on_queue_update=seen.append)
        assert len(result["images"]) == 1
        assert isinstance(seen[-1], fal_client.Completed)
        handle = await fal_async.submit(ENDPOINT, {**ARGUMENTS, "prompt": "nsfw"})
        with pytest.raises(fal_client.FalClientHTTPError):
            await handle.get()

    run(quick, monkeypatch, way)


def test_async_cancel(quick: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    async def way(fal_async: fal_client.AsyncClient) -> None:
        await fal_async.submit(ENDPOINT, ARGUMENTS)
        waiting = await fal_async.submit(ENDPOINT, ARGUMENTS)
        await waiting.cancel()
        cancelled = await waiting.status(with_logs=True)
        assert isinstance(cancelled, fal_client.Completed)
        assert cancelled.error_type == "client_cancelled"

    quick.set(slots=1, latency=30)
    run(quick, monkeypatch, way)


def test_async_client_pays_three_times_for_two_drops(quick: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    async def way(fal_async: fal_client.AsyncClient) -> None:
        await fal_async.submit(ENDPOINT, {**ARGUMENTS, "prompt": "lost twice"})

    before = quick.bill()["requests"]
    quick.fault("submit_lost", match="twice", times=2)
    run(quick, monkeypatch, way)
    assert quick.bill()["requests"] == before + 3
