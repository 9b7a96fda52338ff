"""The status of a request as a stream (server-sent events): every change at once, and no polling."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx
from httpx_sse import SSEError, aconnect_sse

from dagster_gptimg.errors import GoneError, ReadError
from dagster_gptimg.fal import answers
from dagster_gptimg.fal.types import Completed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from dagster_gptimg.fal.types import Status, Submitted

SILENCE = 45.0
"""Seconds without a line after which a stream is dead: fal sends a comment every 15 s."""

TRIES = 5
"""Streams in a row that bring nothing, before whoever follows is told."""


async def follow(
    http: httpx.AsyncClient, request: Submitted, headers: Mapping[str, str], connect_timeout: float, *, logs: bool
) -> AsyncIterator[Status]:
    """Every status until COMPLETED; a stream that breaks off is opened again.

    Raises:
        GoneError: fal does not know the request (any more).
        ReadError: fal does not stream.
    """
    failed, timeout = 0, httpx.Timeout(SILENCE, connect=connect_timeout)
    while True:
        try:
            async for status in _one_stream(http, request, headers, timeout, logs=logs):
                failed = 0
                yield status
                if isinstance(status, Completed):
                    return
        except GoneError:
            raise
        except ReadError:
            failed += 1
            if failed >= TRIES:
                raise
        await asyncio.sleep(min(0.2 * 2**failed, 5.0))


async def _one_stream(
    http: httpx.AsyncClient, request: Submitted, headers: Mapping[str, str], limits: httpx.Timeout, *, logs: bool
) -> AsyncIterator[Status]:
    """One stream, from its opening to its end. Raises `GoneError` and `ReadError`."""
    url, params = f"{request.status_url}/stream", {"logs": str(int(logs))}
    try:
        async with aconnect_sse(http, "GET", url, params=params, headers=dict(headers), timeout=limits) as source:
            if not source.response.is_success:
                await source.response.aread()
                answers.read_status(source.response)
            async for event in source.aiter_sse():
                status = answers.status_of(event.json())
                if status is not None:
                    yield status
    except (httpx.HTTPError, httpx.InvalidURL, SSEError, ValueError, AttributeError) as error:
        raise ReadError(f"a stream of a status broke off: {error}") from error
