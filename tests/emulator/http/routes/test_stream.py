"""The stream of a status: every change at once, new lines of the log only, and nobody polls."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from httpx_sse import aconnect_sse, connect_sse

from tests.emulator.conftest import Start
from tests.emulator.harness import ENDPOINT, KEY, Emulator


@contextmanager
def stream(emulator: Emulator, handle: dict[str, Any], logs: int = 1) -> Iterator[Iterator[dict[str, Any]]]:
    """The events of one stream as they come."""
    with connect_sse(emulator.http, "GET", f"{handle['status_url']}/stream", params={"logs": logs}) as source:
        assert source.response.headers["x-fal-request-id"] == handle["request_id"]
        yield (event.json() for event in source.iter_sse())


def told(emulator: Emulator, handle: dict[str, Any]) -> list[dict[str, Any]]:
    """All events of one stream."""
    with stream(emulator, handle) as events:
        return list(events)


def cancel(handle: dict[str, Any]) -> None:
    """The stream has the emulator's own connection, so this takes another."""
    httpx.put(handle["cancel_url"], headers={"Authorization": KEY}).raise_for_status()


def behind(emulator: Emulator, number: int = 1) -> list[dict[str, Any]]:
    """So many requests that run for ever, one after the other, until they are cancelled."""
    emulator.set(slots=1, latency=60, cancel_stops_running=True, keep_alive_seconds=60)
    return [emulator.submit(f"in front {place}") for place in range(number)]


def test_the_whole_way(quick: Emulator) -> None:
    first, second = behind(quick, 2)
    handle = quick.submit("third")
    with stream(quick, handle) as events:
        seen = [next(events)]
        cancel(first)
        seen.append(next(events))
        httpx.post(f"{quick.url}/emulator/settings", json={"latency": 1.2})
        cancel(second)
        seen += events
    states = [(event["status"], event.get("queue_position")) for event in seen]
    assert states[:3] == [("IN_QUEUE", 1), ("IN_QUEUE", 0), ("IN_PROGRESS", None)]
    assert [state for state, _ in states[3:]] == ["IN_PROGRESS", "COMPLETED"]
    messages = [line["message"] for event in seen for line in event.get("logs") or []]
    assert messages == ["Request started (attempt 1)", "Half of the work is done", "Request ended: ok"]
    polled = quick.http.get(handle["status_url"], params={"logs": 1}).json()
    assert [line["message"] for line in polled["logs"]] == messages, "a poll tells all lines, an event the new ones"
    assert {**seen[-1], "logs": None} == {**polled, "logs": None}


@pytest.mark.parametrize("at_once", [True, False])
def test_without_logs_and_both_readings_of_the_first_event(quick: Emulator, *, at_once: bool) -> None:
    (first,) = behind(quick)
    quick.set(latency=0.4, stream_tells_at_once=at_once)
    with stream(quick, quick.submit("second"), logs=0) as events:
        seen = [next(events)] if at_once else []
        cancel(first)
        seen += events
    assert [event["status"] for event in seen] == ["IN_QUEUE", "IN_PROGRESS", "COMPLETED"][0 if at_once else 1 :]
    assert {event.get("logs") for event in seen} == {None}


def test_a_stream_of_what_has_ended_tells_it_once(quick: Emulator) -> None:
    handle = quick.submit()
    quick.finished(handle)
    (event,) = told(quick, handle)
    assert event["status"] == "COMPLETED"
    assert len(event["logs"]) == 3
    quick.set(stream_tells_at_once=False)
    assert [event["status"] for event in told(quick, handle)] == ["COMPLETED"], "the end is told in every reading"


def test_a_request_that_fal_retries_goes_back_to_the_queue(quick: Emulator) -> None:
    (first,) = behind(quick)
    quick.set(latency=1.0, requeue_seconds=1.0)
    quick.fault("requeue", match="again")
    with stream(quick, quick.submit("again")) as events:
        seen = [next(events)]
        cancel(first)
        seen += events
    states = [event["status"] for event in seen]
    changes = [state for n, state in enumerate(states) if n == 0 or states[n - 1] != state]
    assert changes == ["IN_QUEUE", "IN_PROGRESS", "IN_QUEUE", "IN_PROGRESS", "COMPLETED"]
    messages = [line["message"] for event in seen for line in event.get("logs") or []]
    assert [text for text in messages if "attempt" in text] == [
        "Request started (attempt 1)",
        "Request started (attempt 2)",
    ]


def test_a_cancel_ends_the_stream(quick: Emulator) -> None:
    behind(quick)
    handle = quick.submit("second")
    with stream(quick, handle) as events:
        assert next(events)["status"] == "IN_QUEUE"
        cancel(handle)
        assert next(events)["error_type"] == "client_cancelled"
        assert list(events) == []


def test_silence_is_filled_with_comments(quick: Emulator) -> None:
    quick.set(latency=30, keep_alive_seconds=0.1)
    handle = quick.submit()
    with quick.http.stream("GET", f"{handle['status_url']}/stream") as response:
        lines = response.iter_lines()
        seen = [next(lines) for _ in range(6)]
    assert seen[0].startswith("data: {")
    assert seen[1:] == ["", ": keep-alive", "", ": keep-alive", ""]


def test_a_stream_that_is_dropped_goes_on_when_it_is_opened_again(quick: Emulator) -> None:
    quick.set(latency=0.4)
    quick.fault("stream_drop", match="dropped")
    handle = quick.submit("dropped")
    with pytest.raises(httpx.RemoteProtocolError):
        told(quick, handle)
    assert told(quick, handle)[-1]["status"] == "COMPLETED"


def test_nobody_and_nothing(quick: Emulator) -> None:
    url = f"/{ENDPOINT}/requests/00000000-0000-0000-0000-000000000000/status/stream"
    reply = quick.http.get(url)
    assert (reply.status_code, reply.json()) == (404, {"status": "NOT_FOUND"})
    assert httpx.get(quick.url + url).status_code == 401


async def _positions(http: httpx.AsyncClient, url: str) -> list[int]:
    """The queue positions that a stream tells, and -1 for its end."""
    found = []
    async with aconnect_sse(http, "GET", url) as source:
        async for event in source.aiter_sse():
            status = event.json()
            found += [status["queue_position"]] if status["status"] == "IN_QUEUE" else []
            found += [-1] if status["status"] == "COMPLETED" else []
    return found


def test_hundreds_of_streams_at_once(start: Start) -> None:
    emulator = start(latency=0.3, slots=30)
    handles = [emulator.submit(f"number {number}") for number in range(150)]

    async def watch() -> list[list[int]]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(headers={"Authorization": KEY}, limits=limits, timeout=30) as http:
            return await asyncio.gather(*(_positions(http, f"{handle['status_url']}/stream") for handle in handles))

    for positions in asyncio.run(watch()):
        assert positions[-1] == -1
        assert positions == sorted(set(positions), reverse=True), "each event tells something new"
    assert _cpu(emulator) < 3, "at most 20 events a second and stream, whatever the queue does"


def _cpu(emulator: Emulator) -> float:
    """CPU seconds that the emulator's process has used."""
    fields = Path(f"/proc/{emulator.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_an_open_stream_sleeps(start: Start) -> None:
    emulator = start(latency=30.0)
    handle = emulator.submit()
    with emulator.http.stream("GET", f"{handle['status_url']}/stream") as response:
        next(response.iter_lines())
        before = _cpu(emulator)
        time.sleep(1.0)  # This is the measurement, not a wait for something.
        assert _cpu(emulator) - before < 0.1


def test_what_a_stream_sees_has_happened(start: Start) -> None:
    emulator = start(latency=0.1)
    with connect_sse(emulator.http, "GET", f"{emulator.submit()['status_url']}/stream") as source:
        events = [event.json() for event in source.iter_sse()]
    row = emulator.bill()["rows"][0]
    assert (events[-1]["status"], row["status"]) == ("COMPLETED", "COMPLETED")
    seconds = (datetime.fromisoformat(row["completed_at"]) - datetime.fromisoformat(row["started_at"])).total_seconds()
    assert events[-1]["metrics"]["inference_time"] == pytest.approx(seconds, abs=1e-5)
