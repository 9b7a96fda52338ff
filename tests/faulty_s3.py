"""A store that fails: a proxy in front of a real server of an object store, in a thread of this process.

Which call is struck, and by what, is drawn from a seed; what is drawn is counted, so that a test can tell that it
tested something. `rule` steers single calls.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

import aiohttp
from aiohttp import web
from yarl import URL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Fault: TypeAlias = Literal["409", "500", "503", "500_late", "reset", "reset_late", "slow"]
"""What the caller gets. `late`: the call has reached the server and was carried out there all the same."""

CONFLICT: Fault = "409"
"""What S3 says of two conditional writes at once: nothing was written, try again. Not among those that are drawn."""

FAULTS: tuple[Fault, ...] = ("500", "503", "500_late", "reset", "reset_late", "slow")
SLOW = 0.5
_CODES = {
    409: ("ConditionalRequestConflict", "A conflicting conditional operation occurred. Try again."),
    500: ("InternalError", "We encountered an internal error."),
    503: ("SlowDown", "Reduce your request rate."),
}
_OF_ONE_CONNECTION = {"connection", "content-length", "transfer-encoding", "keep-alive", "expect", "date", "server"}


@dataclass
class FaultyS3:
    """The proxy.

    Attributes:
        behind: the real server's URL.
        rate: how many of the calls are struck, from 0 to 1.
        rule: is asked first, by method, path and headers; None leaves it to the rate.
        struck: how often each fault has struck.
        is_lagging: whether listings stay as they were when they were first asked for.
        calls: how many calls there were, by method.
    """

    behind: str
    seed: int = 0
    rate: float = 0.0
    rule: Callable[[web.Request], Fault | None] = lambda _: None
    struck: Counter[Fault] = field(default_factory=Counter)
    is_lagging: bool = False
    calls: Counter[str] = field(default_factory=Counter)
    url: str = ""

    def __post_init__(self) -> None:
        self._draw = random.Random(self.seed)
        self._listed: dict[str, web.Response] = {}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Pass a call on, or fail."""
        self.calls[request.method] += 1
        fault = self.rule(request)
        if fault is None and self._draw.random() < self.rate:
            fault = self._draw.choice(FAULTS)
        if fault is not None:
            self.struck[fault] += 1
        body = await request.read()
        if fault in {None, "slow", "500_late", "reset_late"}:
            response = await self._pass_on(request, body)
        if fault in {"reset", "reset_late"}:
            if request.transport is not None:
                request.transport.abort()
            return web.Response()  # to nobody
        if fault in {"409", "500", "500_late", "503"}:
            return _error(int(fault.removesuffix("_late")))
        if fault == "slow":
            await asyncio.sleep(SLOW)
        return response

    async def _pass_on(self, request: web.Request, body: bytes) -> web.Response:
        if not self.is_lagging or not is_listing(request):
            return await self._asked(request, body)
        if request.raw_path not in self._listed:
            self._listed[request.raw_path] = await self._asked(request, body)
        kept = self._listed[request.raw_path]
        return web.Response(status=kept.status, headers=kept.headers, body=kept.body)

    async def _asked(self, request: web.Request, body: bytes) -> web.Response:
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in _OF_ONE_CONNECTION]
        url = URL(self.behind + request.raw_path, encoded=True)
        skipped = ("Content-Type",)  # Azure signs it
        async with self._session.request(
            request.method, url, headers=headers, data=body or None, skip_auto_headers=skipped
        ) as answer:
            data = await answer.read()
            kept = [(name, value) for name, value in answer.headers.items() if name.lower() not in _OF_ONE_CONNECTION]
            if request.method == "HEAD":
                kept.append(("Content-Length", answer.headers.get("Content-Length", "0")))
            return web.Response(status=answer.status, headers=kept, body=data or None)

    async def serve(self, ready: Future[Callable[[], object]]) -> None:
        """Until the callable that `ready` is given is called."""
        app = web.Application(client_max_size=2**30)
        app.router.add_route("*", "/{path:.*}", self.answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        over, loop = asyncio.Event(), asyncio.get_running_loop()
        async with aiohttp.ClientSession(auto_decompress=False) as self._session:
            ready.set_result(lambda: loop.call_soon_threadsafe(over.set))
            await over.wait()
            await runner.cleanup()


def is_listing(request: web.Request) -> bool:
    """Whether a call lists objects: of S3, of Azure, or of Google Cloud Storage."""
    if request.method != "GET":
        return False
    return "list-type" in request.query or request.query.get("comp") == "list" or request.path.endswith("/o")


@contextmanager
def faulty_s3(env: dict[str, str], seed: int, rate: float = 0.0) -> Iterator[tuple[FaultyS3, dict[str, str]]]:
    """The proxy in front of the S3 server that `env` names, and the environment that names the proxy."""
    with faulty_store(env["AWS_ENDPOINT_URL"], env, seed, rate) as found:
        yield found


@contextmanager
def faulty_store(
    url: str, env: Mapping[str, str], seed: int = 0, rate: float = 0.0
) -> Iterator[tuple[FaultyS3, dict[str, str]]]:
    """The proxy in front of the server at `url`, and the environment with its own URL in place of that."""
    s3, ready = FaultyS3(url, seed, rate), Future[Callable[[], object]]()
    thread = threading.Thread(target=lambda: asyncio.run(s3.serve(ready)), daemon=True)
    thread.start()
    stop = ready.result(30)
    try:
        yield s3, {name: text.replace(url, s3.url) for name, text in env.items()}
    finally:
        stop()
        thread.join(10)


def _error(status: int) -> web.Response:
    code, message = _CODES[status]
    xml = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return web.Response(status=status, text=xml, content_type="application/xml")
