"""The simulated connections against real ones: the same bytes, the same answer or the same error."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import aiohttp
import httpx
import pytest

from dagster_gptimg.fal.http.proxies import ProxiedTransport
from tests.bender.answers import json_answer
from tests.bender.bends import ANSWERS, About
from tests.bender.proxy import _read, _write
from tests.bender.replies import Reply
from tests.bender.transport import Transport
from tests.bender.world import Row, World

ANSWER = json_answer(200, {"status": "IN_QUEUE", "request_id": "a"}, x_fal_request_id="a")
ODD_HEADERS = {
    "control characters": {"X-A": "a\x1b[2Jb"},
    "half a character": {"X-A": "a\xe2\x82"},
    "no number as a length": {"Content-Length": "seven"},
    "a large number as a length": {"Content-Length": "7" * 400},
    "more than there is": {"Content-Length": "9999"},
    "less than there is": {"Content-Length": "3"},
}
NEVER = {"never", "late", "a head, and never a body", "a byte a second", "slow", "endless"}
"""Bends that take their time: a read time-out ends them, here as there."""

OF_STREAMS_OR_STATES = {
    "no connection",
    "stale",
    "another request's",
    "early",
    "too late",
    "images with an error",
    "no stream",
}


def _replies() -> dict[str, Reply]:
    found = {name: Reply.of(replace(ANSWER, headers={**ANSWER.headers, **odd})) for name, odd in ODD_HEADERS.items()}
    for name, way in ANSWERS.items():
        if name not in OF_STREAMS_OR_STATES:
            reply = way(replace(ANSWER), About(call=None))  # type: ignore[arg-type]
            assert reply is not None
            found[name] = reply
    return found


REPLIES = _replies()


async def _outcome(transport: httpx.AsyncBaseTransport, url: str) -> tuple[Any, ...]:
    """What a caller sees: status and body, or the errors, the causes among them."""
    try:
        async with httpx.AsyncClient(transport=transport, timeout=0.3) as http, http.stream("GET", url) as response:
            body = b""
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > 10_000_000:
                    return response.status_code, "endless"
            return response.status_code, body
    except (httpx.HTTPError, aiohttp.ClientError) as error:
        return type(error), type(error.__cause__) if isinstance(error, httpx.HTTPError) else None


async def _real(reply: Reply) -> tuple[Any, ...]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await _read(reader, "http://x")
            await _write(writer, reply)
        except (ConnectionError, asyncio.CancelledError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    transport = ProxiedTransport(aiohttp.ClientSession)
    try:
        port = server.sockets[0].getsockname()[1]
        return await _outcome(transport, f"http://127.0.0.1:{port}/fal-ai/x/requests/a/status")
    finally:
        if transport._session is not None:
            await transport._session.close()
        server.close()


async def _simulated(reply: Reply) -> tuple[Any, ...]:
    world = World(0, [Row("thing")])
    world.weather.reply = lambda *_: reply  # type: ignore[method-assign]
    return await _outcome(Transport(world.anybody()), f"{world.face.hosts.queue}/fal-ai/x/requests/a/status")


@pytest.mark.parametrize("bend", sorted(REPLIES.keys() - NEVER))
async def test_bytes_come_to_the_same(bend: str) -> None:
    assert await _simulated(REPLIES[bend]) == await _real(REPLIES[bend])


@pytest.mark.parametrize("bend", ["never", "a head, and never a body"])
async def test_what_never_comes_is_a_time_out_of_the_same_kind(bend: str) -> None:
    assert await _simulated(REPLIES[bend]) == await _real(REPLIES[bend])


async def test_where_nobody_listens_nothing_was_sent() -> None:
    with_nobody = ProxiedTransport(aiohttp.ClientSession)
    real = await _outcome(with_nobody, "http://127.0.0.1:9/")
    assert with_nobody._session is not None
    await with_nobody._session.close()
    world = World(0, [Row("thing")])
    world.down.add(world.face.hosts.queue)
    assert await _outcome(Transport(world.anybody()), f"{world.face.hosts.queue}/a/b") == real
