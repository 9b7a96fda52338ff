"""All of fal on one port: the routes put together."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from dagster_gptimg.emulator.account.account import Account
from dagster_gptimg.emulator.account.references import References
from dagster_gptimg.emulator.account.storage import Storage
from dagster_gptimg.emulator.account.timers import Timers
from dagster_gptimg.emulator.http.callers import why_not
from dagster_gptimg.emulator.http.drawing_threads import DrawingThreads
from dagster_gptimg.emulator.http.replies import answer
from dagster_gptimg.emulator.http.routes.control import ControlRoutes
from dagster_gptimg.emulator.http.routes.files import FileRoutes
from dagster_gptimg.emulator.http.routes.models import ModelRoutes
from dagster_gptimg.emulator.http.routes.platform import PlatformRoutes
from dagster_gptimg.emulator.http.routes.queue import QueueRoutes
from dagster_gptimg.emulator.http.routes.storage import StorageRoutes
from dagster_gptimg.emulator.http.routes.stream import StreamRoutes
from dagster_gptimg.emulator.http.routes.webhooks import WebhookRoutes
from dagster_gptimg.emulator.http.webhook_signatures import Signer
from dagster_gptimg.emulator.http.webhooks import Webhooks


class App:
    """The ASGI application, which also knows when it was last called."""

    def __init__(self, account: Account, folder: Path) -> None:
        references, storage, signer = References(folder), Storage(folder), Signer(folder, account.database.id)
        self._drawing_threads = DrawingThreads(references)
        self._references = references
        self._account, self._timers = account, Timers(account)
        self._webhooks = Webhooks(account, self._drawing_threads, signer)
        self._calls = 0
        self._last_call = time.monotonic()
        # The queue comes last: its paths match nearly everything.
        routes = [
            *ModelRoutes(account).routes(),
            *PlatformRoutes(account, storage).routes(),
            *ControlRoutes(account).routes(),
            *StorageRoutes(account, storage).routes(),
            *FileRoutes(account, self._drawing_threads).routes(),
            *WebhookRoutes(account, signer).routes(),
            *StreamRoutes(account, self._timers).routes(),
            *QueueRoutes(account, self._drawing_threads, references).routes(),
        ]
        self._starlette = Starlette(routes=routes, lifespan=self._lifespan)

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        self._timers.start()
        self._webhooks.start()
        yield
        self._timers.stop()
        await self._webhooks.stop()
        self._drawing_threads.close()
        self._references.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one call, unless a web page has sent it."""
        if scope["type"] == "http":
            refused = why_not(scope["method"], scope["path"], Headers(scope=scope))
            if refused is not None:
                await answer({"error": refused[1]}, refused[0], {"Connection": "close"})(scope, receive, send)
                return
        self._calls += scope["type"] == "http"
        if scope["type"] == "http" and not scope["path"].startswith("/emulator/"):
            self._account.calls += 1
        try:
            await self._starlette(scope, receive, send)
        finally:
            self._calls -= scope["type"] == "http"
            self._last_call = time.monotonic()

    def idle_seconds(self) -> float:
        """Seconds since the last call; 0 while a call is being answered."""
        return 0.0 if self._calls else time.monotonic() - self._last_call
