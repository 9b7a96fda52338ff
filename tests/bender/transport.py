"""The world's fal under httpx: what a call costs in time, and every way in which a connection can fail.

`Transport` stands in the place of the product's own, and raises what that raises (`test_transport.py` holds both
against the same bytes).
"""

from __future__ import annotations

import asyncio
import math
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import httpx
from aiohttp.client_reqrep import ConnectionKey, RequestInfo
from httpx_aiohttp.transport import map_aiohttp_exceptions
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from tests.bender.answers import Call
from tests.bender.replies import Reply, event
from tests.bender.routes import route_of
from tests.bender.texts import decode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.bender.process import Process

LARGEST_LINE = 8190
"""Bytes of a header that aiohttp takes."""


def no_connection() -> Exception:
    key = ConnectionKey(
        host="fal.test", port=443, is_ssl=True, ssl=True, proxy=None, proxy_auth=None, proxy_headers_hash=None
    )
    return aiohttp.ClientConnectorError(key, OSError(111, os.strerror(111)))


def no_http(words: str) -> Exception:
    headers = CIMultiDictProxy(CIMultiDict[str]())
    return aiohttp.ClientResponseError(
        RequestInfo(URL("https://fal.test"), "GET", headers), (), status=400, message=words
    )


@contextmanager
def errors_of_httpx() -> Iterator[None]:
    """Raise what aiohttp raises as httpx's errors; bytes that are no HTTP break httpx's protocol."""
    with map_aiohttp_exceptions():
        try:
            yield
        except aiohttp.ClientResponseError as error:
            raise httpx.RemoteProtocolError(str(error)) from error


class Transport(httpx.AsyncBaseTransport):
    """One process's connections to fal."""

    def __init__(self, process: Process) -> None:
        self._process, self._world = process, process.world

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Make one call of the world's fal."""
        timeout = request.extensions.get("timeout", {})
        read = timeout.get("read") or math.inf
        loop = asyncio.get_running_loop()
        with errors_of_httpx():
            await self._process.on_the_wire()
            call = self._call(request)
            rule = self._world.weather.rule_for(call, loop.time())
            if self._is_down(call) or (rule is not None and rule.cell.bend == "no connection"):
                self._world.weather.reply(call, rule, self._process.name, loop.time())
                raise no_connection()
            call.body = await _sent(request)
            call.prompt = self._prompt(call)
            await self._process.on_the_wire()
            rule = self._world.weather.rule_for(call, loop.time())  # whose row a submit is for was not known before
            reply = self._world.weather.reply(call, rule, self._process.name, loop.time())
            self._process.effect()
            await self._head(reply, read)
            return httpx.Response(reply.status, headers=_raw(reply), stream=_Body(reply, read))

    def _call(self, request: httpx.Request) -> Call:
        url = str(request.url)
        endpoint, parts = route_of(request.method, url)
        call = Call(endpoint, request.method, url, dict(request.headers), parts=parts)
        self._world.weather.note(call)
        if endpoint != "submit":
            call.prompt = self._prompt(call)
        return call

    def _prompt(self, call: Call) -> str | None:
        """The row that a call is about."""
        if call.endpoint == "submit":
            body = decode(call.body)
            return str(body.get("prompt")) if isinstance(body, dict) else None
        named = call.parts.get("request_id") or (call.asked("request_id") if call.endpoint == "lookup" else "")
        if call.endpoint == "file download":
            named = call.path.rpartition("/")[2].rpartition("-")[0]
        found = self._world.fal.requests.get(named) if named else None
        return found.prompt if found is not None else None

    def _is_down(self, call: Call) -> bool:
        """Whether nothing listens there."""
        hosts = self._world.face.hosts
        known = {hosts.queue, hosts.rest, hosts.cdn, hosts.api, hosts.backup}
        origin = "/".join(call.url.split("/")[:3])
        if origin not in known:
            self._world.strays.append((call.url, dict(call.headers)))
        return origin not in known or origin in self._world.down

    async def _head(self, reply: Reply, read: float) -> None:
        """Wait for the head, at most until the read time-out; raise what aiohttp raises for a head that is none."""
        if reply.is_refused:
            raise no_connection()
        if reply.head_after >= read:
            await asyncio.sleep(read)
            raise aiohttp.SocketTimeoutError("Timeout on reading data from socket")
        if reply.head_after:
            await asyncio.sleep(reply.head_after)
        if reply.breaks in {"unsent", "before head"}:
            raise aiohttp.ServerDisconnectedError
        if reply.breaks == "no HTTP":
            raise no_http("Bad status line")
        headers = reply.all_headers()
        if any(len(name) + len(text) > LARGEST_LINE for name, text in headers):
            raise no_http("Got more than 8190 bytes")
        lengths = [text for name, text in headers if name.lower() == "content-length"]
        if len(lengths) > 1 or any(not (text.isascii() and text.isdigit()) or len(text) > 18 for text in lengths):
            raise no_http("Invalid character in Content-Length")
        is_whole = reply.stream is None and reply.pace == "whole" and reply.cut_at is None
        if lengths and is_whole and int(lengths[0]) < len(reply.body):
            raise no_http("Bad status line")  # what is left over is taken for the next answer


def _raw(reply: Reply) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), text.encode("latin-1", "replace")) for name, text in reply.all_headers()]


async def _sent(request: httpx.Request) -> bytes:
    """The body of a request; what its maker raises breaks the connection, as in aiohttp."""
    try:
        return b"".join([chunk async for chunk in request.stream])  # type: ignore[union-attr]
    except Exception as error:
        raise aiohttp.ClientConnectionError("Failed to send bytes into the underlying connection") from error


class _Body(httpx.AsyncByteStream):
    """A reply's body, as it comes."""

    def __init__(self, reply: Reply, read: float) -> None:
        self._reply, self._read = reply, read

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with errors_of_httpx():
            if self._reply.stream is not None:
                async for chunk in self._events(self._reply.stream()):
                    yield chunk
            else:
                async for chunk in self._bytes():
                    yield chunk

    async def _bytes(self) -> AsyncIterator[bytes]:
        reply, come = self._reply, 0
        for wait, data in reply.parts():
            if wait >= self._read:
                await asyncio.sleep(self._read)
                raise aiohttp.SocketTimeoutError("Timeout on reading data from socket")
            if wait:
                await asyncio.sleep(wait)
            come += len(data)
            if data:
                yield data
        told = next((text for name, text in reply.all_headers() if name.lower() == "content-length"), None)
        if reply.cut_at is not None or (told is not None and int(told) > come):
            raise aiohttp.ClientPayloadError("Response payload is not completed")

    async def _events(self, statuses: AsyncIterator[Any]) -> AsyncIterator[bytes]:
        """The events of a stream; cut, slow or endless as the reply is."""
        reply, come = self._reply, 0
        if reply.pace == "never":
            await asyncio.sleep(self._read)
            raise aiohttp.SocketTimeoutError("Timeout on reading data from socket")
        async for status in statuses:
            data = event(status)
            if reply.cut_at is not None and come + len(data) > reply.cut_at:
                raise aiohttp.ClientPayloadError("Response payload is not completed")
            if reply.pace == "trickle":
                for at in range(len(data)):
                    await asyncio.sleep(1.0)
                    yield data[at : at + 1]
            elif reply.pace == "endless":
                async for chunk in self._bytes():
                    yield chunk
            else:
                yield data
            come += len(data)
