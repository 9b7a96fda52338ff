"""Emulator and receiver in this process, on a port for each service, with every call and answer written down."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import OK
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import httpx
import uvicorn

from dagster_gptimg.cli.webhook_receiver import Receiver
from dagster_gptimg.emulator.account.account import Account
from dagster_gptimg.emulator.account.database import Database
from dagster_gptimg.emulator.faults import Rule
from dagster_gptimg.emulator.http.app import App
from dagster_gptimg.emulator.http.broken_replies import Protocol
from dagster_gptimg.emulator.process.state_folder import Folder
from dagster_gptimg.emulator.settings import Settings
from dagster_gptimg.engine.submit.webhook_urls import webhook_url
from dagster_gptimg.fal.settings import FalUrls
from dagster_gptimg.store.dataset import Dataset
from dagster_gptimg.store.receipts.facts import Intent
from dagster_gptimg.store.root import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from starlette.types import Message, Receive, Scope, Send

SERVICES = ("queue", "api", "rest", "cdn", "receiver")
ENDPOINT = "fal-ai/gpt-image-1-mini"
LOW = {"prompt": "a cup", "quality": "low", "image_size": "1024x1024"}
KEY = {"Authorization": "Key admin-key"}
ROW, RUN = "ab" * 32, "20261125T000000-00000000"


@dataclass
class Call:
    """One call and its answer. Header names are in lower case.

    Attributes:
        by: on whose behalf it was made.
        url: without its query.
        status: 0 until it is answered.
    """

    by: str
    service: str
    method: str
    url: str
    path: str
    query: dict[str, str]
    sent_headers: dict[str, str]
    sent: bytes = b""
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def is_fals(self) -> bool:
        """Whether fal is the one who calls: a webhook."""
        return self.service == "receiver"

    @property
    def fals_headers(self) -> dict[str, str]:
        """What fal says in headers, whichever way the call goes."""
        return self.sent_headers if self.is_fals else self.headers

    @property
    def fals_json(self) -> list[Any]:
        """What fal says in JSON: one body, or the events of a stream; nothing where that is no JSON."""
        if self.is_fals:
            return [json.loads(self.sent)] if self.status == OK else []
        kind = self.headers.get("content-type", "").partition(";")[0]
        if kind == "text/event-stream":
            return [json.loads(line[5:]) for line in self.body.splitlines() if line.startswith(b"data:")]
        return [json.loads(self.body)] if kind == "application/json" else []


class World:
    """Emulator and receiver; what they were asked and what they answered.

    Attributes:
        by: on whose behalf calls are made from now on.
        account: the emulator's, whose settings and faults can be changed.
        store: the folder in which the receiver puts callbacks on record. uploads: the emulator's, of uploaded files.
        http: calls as nobody's client, with an ADMIN key.
    """

    def __init__(self, folder: Path) -> None:
        self.by, self.calls = "", list[Call]()
        self._sockets = {name: _listening() for name in SERVICES}
        self.origins = {name: f"http://127.0.0.1:{port}" for port, name in self._services.items()}
        queue, api, rest, cdn, self.receiver = (self.origins[name] for name in SERVICES)
        self.urls = FalUrls(queue=queue, run=queue, rest=rest, cdn=cdn, api=api)
        self.store, self.uploads = folder / "store", folder / "emulator" / "uploads"
        state = Folder(folder / "emulator")
        state.create()
        self._ledger = Database(state.database)
        self.account = Account(self._ledger, Settings(latency=0.05, slots=20, webhook_backoff=0.05))
        self._fal, self._receiver = App(self.account, state.path), Receiver(Store(str(self.store)), self.urls).app
        self.http = httpx.AsyncClient(headers=KEY, timeout=20, trust_env=False)
        self.webhook_url = webhook_url(self.receiver, self._dataset(), ROW, 0, RUN)

    @property
    def _services(self) -> dict[int, str]:
        return {bound.getsockname()[1]: name for name, bound in self._sockets.items()}

    def _dataset(self) -> Dataset:
        """A dataset with one attempt, whose webhook is waited for."""
        made = Dataset(Store(str(self.store)), "d")
        made.open("emulator:x")
        intent = Intent(
            endpoint=ENDPOINT, arguments={}, partition=None, row_id="r", run=RUN, cost_high_usd=None, nonce="n",
            account="a", created_at=datetime.now(UTC),
        )  # fmt: skip
        assert made.receipts.create_intent(ROW, 0, intent)
        return made

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one call, and write it down."""
        if scope["type"] != "http":
            await self._fal(scope, receive, send)
            return
        call = self._call(scope)
        self.calls.append(call)

        async def heard() -> Message:
            message = await receive()
            call.sent += message.get("body", b"")
            return message

        async def read() -> Message:
            """The whole body at once: also what the emulator does not look at is written down."""
            message = await heard()
            while message.get("more_body"):
                message = await heard()
            return {**message, "body": call.sent} if message["type"] == "http.request" else message

        async def said(message: Message) -> None:
            if message["type"] == "http.response.start":
                call.status, call.headers = message["status"], _headers(message["headers"])
            call.body += message.get("body", b"")
            await send(message)

        if call.is_fals:
            await self._receiver(scope, heard, said)
        else:
            first = await read()
            await self._fal(scope, _then(first, receive), said)

    def _call(self, scope: Scope) -> Call:
        service, path = self._services[scope["server"][1]], scope["path"]
        query = dict(parse_qsl(scope["query_string"].decode()))
        url = f"{self.origins[service]}{path}"
        return Call(self.by, service, scope["method"], url, path, query, _headers(scope["headers"]))

    def rule(self, fault: str) -> None:
        """Have a fault strike the next call of its kind."""
        self.account.dice.rules.append(Rule("", fault, 1))

    def set(self, **settings: Any) -> None:
        """Change the emulator's settings."""
        self.account.change(settings)

    async def submitted(self, endpoint: str = ENDPOINT, headers: dict[str, str] | None = None, **more: Any) -> Any:
        """What a submit on nobody's behalf is answered with."""
        url = f"{self.urls.queue}/{endpoint}"
        return (await self.http.post(url, json={**LOW, **more}, headers=headers)).json()

    async def reaches(self, handle: dict[str, Any], state: str) -> None:
        """Wait for a state of a request; nothing of it is written down."""
        await until(lambda: self._state(handle["request_id"]) == state)

    def _state(self, request_id: str) -> str | None:
        self.account.now()
        record = self._ledger.by_id(request_id)
        return None if record is None else record.state.value

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[World]:
        """Serve until the block ends."""
        config = uvicorn.Config(self, http=Protocol, ws="none", log_level="warning", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve(list(self._sockets.values())))
        await until(lambda: server.started)
        try:
            yield self
        finally:
            await self.http.aclose()
            server.should_exit = True
            await task
            self._ledger.close()


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - nobody would set an event
            await asyncio.sleep(0.01)


def _then(first: Message, receive: Receive) -> Receive:
    """A message, and then whatever else comes."""
    waiting = [first]

    async def heard() -> Message:
        return waiting.pop() if waiting else await receive()

    return heard


def _listening() -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    return listener


def _headers(raw: Any) -> dict[str, str]:
    return {name.decode().lower(): value.decode("latin-1") for name, value in raw}
