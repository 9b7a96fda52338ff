"""The bender over real HTTP: a small reverse proxy before any fal, in a thread of this process."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
from yarl import URL

from tests.bender.answers import Answer, Call
from tests.bender.face import Face
from tests.bender.fal import Fal
from tests.bender.routes import route_of
from tests.bender.texts import decode
from tests.bender.weather import Rule, Weather

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.bender.cells import Cell
    from tests.bender.replies import Reply

OF_ONE_CONNECTION = {"connection", "content-length", "transfer-encoding", "keep-alive", "expect", "date", "server"}


class Behind(Face):
    """The answers of the fal behind the proxy: each was fetched before it is bent."""

    def __init__(self, time: Callable[[], float]) -> None:
        super().__init__(Fal(random.Random(0)), time)
        self.fetched: Answer | None = None

    def answer(self, call: Call) -> Answer:
        """What was fetched for this call."""
        assert self.fetched is not None, call
        return self.fetched


class Proxy:
    """One origin before one fal.

    Attributes:
        url: the proxy's own.
        weather: what is bent, by the proxy's own seconds (`now`).
        accepted: the prompts of what fal has accepted, by request id.
        cells: what is bent from the moment on at which so many (`begins_after`) were accepted, for `lasts` seconds.
    """

    def __init__(self, behind: str) -> None:
        self.behind, self.url, self._began = behind, "", time.monotonic()
        self.face = Behind(self.now)
        self.weather = Weather(self.face, random.Random(0))
        self.accepted: dict[str, str] = {}
        self.cells: list[Cell] = []
        self.begins_after, self.lasts = 0, 0.0

    def now(self) -> float:
        """Seconds since the proxy began."""
        return time.monotonic() - self._began

    async def serve(self, ready: Future[Callable[[], object]]) -> None:
        """Serve until the callable that `ready` is given is called."""
        over, loop = asyncio.Event(), asyncio.get_running_loop()
        listening = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(auto_decompress=False, connector=connector) as self._session:
            ready.set_result(lambda: loop.call_soon_threadsafe(over.set))
            await over.wait()
            listening.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._call(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, aiohttp.ClientError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _call(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Serve one call; returns whether the connection can be used again."""
        call, headers = await _read(reader, self.url)
        self.weather.note(call)
        call.prompt = self._prompt(call)
        rule = self.weather.rule_for(call, self.now())
        reaches = self.weather.reaches(rule)
        if reaches:
            async with self._ask(call, headers) as answered:
                return await self._answered(call, rule, answered, writer)
        return await _write(writer, self.weather.reply(call, rule, "proxy", self.now(), reaches=False))

    def _prompt(self, call: Call) -> str | None:
        if call.endpoint == "submit":
            return str((decode(call.body) or {}).get("prompt"))
        return self.accepted.get(call.parts.get("request_id", ""))

    def _ask(self, call: Call, headers: dict[str, str]) -> Any:
        kept = {name: text for name, text in headers.items() if name.lower() not in OF_ONE_CONNECTION}
        target = URL(self.behind + call.url.removeprefix(self.url), encoded=True)
        data = call.body or None
        return self._session.request(call.method, target, headers=kept, data=data, allow_redirects=False)

    async def _answered(
        self, call: Call, rule: Rule | None, answered: aiohttp.ClientResponse, writer: asyncio.StreamWriter
    ) -> bool:
        headers = {name: text for name, text in answered.headers.items() if name.lower() not in OF_ONE_CONNECTION}
        if headers.get("Content-Type", "").startswith("text/event-stream") and rule is None:
            return await _pass_on(writer, answered, headers)
        data = b"" if headers.get("Content-Type", "").startswith("text/event-stream") else await answered.read()
        value = decode(data) if headers.get("Content-Type", "").startswith("application/json") else None
        self.face.fetched = Answer(answered.status, data if value is None else value, headers)
        if call.endpoint == "submit" and isinstance(value, dict) and answered.status < 300:
            self.face.fetched.request_id = value["request_id"]
            self.accepted[value["request_id"]] = call.prompt or ""
            self._begin_if_due()
        return await _write(writer, self.weather.reply(call, rule, "proxy", self.now(), reaches=True))

    def _begin_if_due(self) -> None:
        if self.cells and len(self.accepted) >= self.begins_after:
            now, cells, self.cells = self.now(), self.cells, []
            self.weather.rules += [Rule(cell, since=now, until=now + self.lasts) for cell in cells]


async def _read(reader: asyncio.StreamReader, origin: str) -> tuple[Call, dict[str, str]]:
    """Read one request."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ")
    headers = dict(line.split(": ", 1) for line in lines)
    small = {name.lower(): text for name, text in headers.items()}
    body = await reader.readexactly(int(small.get("content-length", "0")))
    endpoint, parts = route_of(method, origin + target)
    return Call(endpoint, method, origin + target, small, body, parts), headers


async def _pass_on(writer: asyncio.StreamWriter, answered: aiohttp.ClientResponse, headers: dict[str, str]) -> bool:
    """Pass on a stream as it comes; its connection cannot be used again."""
    writer.write(_head(answered.status, [*headers.items(), ("Connection", "close")]))
    async for chunk in answered.content.iter_any():
        writer.write(chunk)
        await writer.drain()
    return False


async def _write(writer: asyncio.StreamWriter, reply: Reply) -> bool:
    """Write a reply as it is to come; returns whether the connection can be used again."""
    if reply.head_after:
        await asyncio.sleep(reply.head_after)
    if reply.breaks in {"unsent", "before head"} or reply.is_refused:
        writer.transport.abort()
        return False
    if reply.breaks == "no HTTP":
        writer.write(b"\x15\x03\x01\x00\x02\x02\x50" * 9)
        await writer.drain()
        return False
    writer.write(_head(reply.status, reply.all_headers()))
    await writer.drain()
    for wait, data in reply.parts():
        await asyncio.sleep(wait)
        writer.write(data)
        await writer.drain()
    if reply.cut_at is not None:
        writer.transport.abort()
    return reply.is_plain


def _head(status: int, headers: list[tuple[str, str]]) -> bytes:
    lines = [f"HTTP/1.1 {status} X", *(f"{name}: {text}" for name, text in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


@contextmanager
def proxy(behind: str) -> Iterator[Proxy]:
    """A proxy before the fal at a URL."""
    found, ready = Proxy(behind), Future["Callable[[], object]"]()
    thread = threading.Thread(target=lambda: asyncio.run(found.serve(ready)), daemon=True)
    thread.start()
    stop = ready.result(30)
    try:
        yield found
    finally:
        stop()
        thread.join(10)
