"""The status of a request as a stream (server-sent events): every change at once, without polling.

The events are parsed by hand, because no client library for such streams limits the length of a line.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx

from dagster_gptimg.base.masking import harmless
from dagster_gptimg.base.plain_text import words_of
from dagster_gptimg.base.retry_policies import STATUS_STREAM
from dagster_gptimg.errors import GoneError, ReadError
from dagster_gptimg.fal.http.bodies import JSON_BYTES, parse_object, read_reply
from dagster_gptimg.fal.types import Completed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from dagster_gptimg.fal.http.answers import Answers
    from dagster_gptimg.fal.http.connections import Wire
    from dagster_gptimg.fal.types import Json, Status, Submitted

SILENCE = 45.0
"""Seconds without a byte after which a stream counts as dead: fal sends a comment every 15 s."""


async def follow(
    wire: Wire, answers: Answers, request: Submitted, connect_timeout: float, *, logs: bool
) -> AsyncIterator[Status]:
    """Yield every status until COMPLETED; a stream that is cut off is opened again.

    Raises:
        GoneError: fal does not know the request (any more).
        ReadError: fal does not stream.
    """
    failed, why, timeout = 0, "it ended", httpx.Timeout(SILENCE, connect=connect_timeout)
    while True:
        try:
            async for status in _one_stream(wire, answers, request, timeout, logs=logs):
                failed = 0
                yield status
                if isinstance(status, Completed):
                    return
            failed += 1  # it ended without COMPLETED
        except GoneError:
            raise
        except ReadError as error:
            failed, why = failed + 1, str(error)
        if STATUS_STREAM.is_over(failed):
            raise ReadError(f"{failed} status streams in a row were cut off; the last one: {why}")
        await asyncio.sleep(STATUS_STREAM.pause(failed))


async def _one_stream(
    wire: Wire, answers: Answers, request: Submitted, limits: httpx.Timeout, *, logs: bool
) -> AsyncIterator[Status]:
    """Yield the statuses of one stream, until it ends. Raises `GoneError` and `ReadError`."""
    url, params = f"{request.status_url}/stream", {"logs": str(int(logs))}
    headers = {**wire.auth, "Accept": "text/event-stream", "Accept-Encoding": "identity", "Cache-Control": "no-store"}
    try:
        async with wire.streams.stream("GET", url, params=params, headers=headers, timeout=limits) as response:
            if not response.headers.get("content-type", "").startswith("text/event-stream"):
                until = asyncio.get_running_loop().time() + SILENCE
                answers.status(await read_reply(response, until), request.request_id)
                raise ReadError("fal does not stream this status")
            async for event in _events(response):
                status = answers.status_of(event, request.request_id)
                if status is not None:
                    yield status
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
        raise ReadError(f"a status stream was cut off: {words_of(error)}") from harmless(error)


async def _events(response: httpx.Response) -> AsyncIterator[dict[str, Json]]:
    """Yield the JSON objects of a stream's events. Raises `ReadError` for one that is too large, or not an object.

    fal puts each object on one `data:` line; several such lines of one event are joined, as the format requires.
    """
    buffer, data, size = bytearray(), list[bytes](), 0
    async for chunk in response.aiter_raw():
        buffer += chunk
        *lines, rest = bytes(buffer).replace(b"\r\n", b"\n").split(b"\n")
        buffer = bytearray(rest)
        for line in lines:
            if line.startswith(b"data:"):
                data.append(line[5:].removeprefix(b" "))
                size += len(line)
            elif not line and data:
                yield parse_object(b"\n".join(data))
                data.clear()
                size = 0
            if size > JSON_BYTES:
                raise ReadError(f"an event of more than {JSON_BYTES} bytes")
        if len(buffer) > JSON_BYTES:
            raise ReadError(f"an event of more than {JSON_BYTES} bytes")
