"""Sending of webhooks: durably, at least once, signed, repeated as fal repeats them (docs/fal-wire.md#webhooks).

Deliveries are stored in the state folder when their requests are accepted, so a process that was killed continues where
it stopped. A delivery in progress at that time is sent again.
"""

from __future__ import annotations

import asyncio
import dataclasses
import ipaddress
import json
import socket
import uuid
from typing import Any

import httpx

from dagster_gptimg.emulator.account.account import Account, is_in_line
from dagster_gptimg.emulator.account.deliveries import Delivery, End
from dagster_gptimg.emulator.account.records import Outcome, Record, State
from dagster_gptimg.emulator.faults import Phase
from dagster_gptimg.emulator.http.drawing_threads import DrawingThreads
from dagster_gptimg.emulator.http.results import ending
from dagster_gptimg.emulator.http.webhook_signatures import Signer
from dagster_gptimg.emulator.settings import Settings

AT_ONCE = 16
GROWTH = 1.2
"""Each pause between two deliveries is this much longer than the one before."""
LARGE_PAYLOAD_BYTES = 10_000
"""From this size on the stored result, and with it the repetition, ends sooner (fal: 10 KB)."""
STALE_SECONDS = 600
"""Age in seconds that `webhook_stale` gives a delivery; receivers refuse more than 300 s."""


class Webhooks:
    """The sender of one account's webhooks."""

    def __init__(self, account: Account, drawing_threads: DrawingThreads, signer: Signer) -> None:
        self._account, self._drawing_threads, self._signer = account, drawing_threads, signer
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._behind: list[asyncio.Event] = []
        self._http: httpx.AsyncClient | None = None

    def start(self) -> None:
        """Start with the deliveries that an earlier process has left."""
        database = self._account.database
        database.watchers.append(self._changed)
        for delivery in database.deliveries.open():
            record = database.by_seq(delivery.seq)
            if record is not None:
                self._changed(record)

    async def stop(self) -> None:
        """Send nothing more."""
        self._account.database.watchers.remove(self._changed)
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        if self._http is not None:
            await self._http.aclose()

    def _changed(self, record: Record) -> None:
        if record.state is not State.COMPLETED or record.seq in self._tasks:
            return
        delivery = self._account.database.deliveries.of(record.seq)
        if delivery is not None and delivery.ended is None:
            # The task begins when this transaction is over.
            task = self._tasks[record.seq] = asyncio.get_running_loop().create_task(self._deliver(record, delivery))
            task.add_done_callback(lambda _: self._tasks.pop(record.seq, None))

    async def _deliver(self, record: Record, delivery: Delivery) -> None:
        while delivery.ended is None:
            await asyncio.sleep(delivery.due_at - self._account.moment())
            fault = self._account.dice.strike(Phase.WEBHOOK, record.draw_key, record.prompt)
            await self._held_back(fault)
            async with self._slots:
                delivery = await self._attempted(record, delivery, fault)
            self._account.database.deliveries.save(delivery)

    async def _held_back(self, fault: str | None) -> None:
        """Wait, if a fault says so: for a while, or for another webhook."""
        if fault not in ("webhook_late", "webhook_overtaken"):
            return
        another = asyncio.Event()
        if fault == "webhook_overtaken":
            self._behind.append(another)
        try:
            async with asyncio.timeout(self._account.settings.slow_seconds):
                await another.wait()
        except TimeoutError:
            return

    async def _attempted(self, record: Record, delivery: Delivery, fault: str | None) -> Delivery:
        """The delivery after one more attempt."""
        settings = self._account.settings
        delivery = dataclasses.replace(delivery, attempts=delivery.attempts + 1)
        if fault == "webhook_lost":
            return dataclasses.replace(delivery, ended=End.LOST)
        gone = record.outcome is Outcome.CANCELLED and settings.cancelled_is_gone
        if gone or not await is_allowed(delivery.url, settings):
            return dataclasses.replace(delivery, ended=End.DROPPED)
        body = await self._body(record, delivery, fault)
        ended = None
        for _ in range(2 if fault == "webhook_twice" else 1):
            ended = await self._sent(record, delivery, body, fault)
        if ended is not None:
            return dataclasses.replace(delivery, ended=ended)
        return self._postponed(record, delivery, len(body))

    async def _body(self, record: Record, delivery: Delivery, fault: str | None) -> bytes:
        uris = await self._drawing_threads.data_uris(record) if is_in_line(record) else None
        end = ending(record, delivery.base_url, self._account.settings, uris.__getitem__ if uris else None)
        told: dict[str, Any] = {"request_id": record.request_id, "gateway_request_id": gateway_request_id(record)}
        if end.status_code != httpx.codes.OK:
            told |= {"status": "ERROR", "error": f"Invalid status code: {end.status_code}", "payload": end.body}
        elif fault == "webhook_no_payload":
            told |= {"status": "OK", "payload": None, "payload_error": "Response payload is not JSON serializable"}
        else:
            told |= {"status": "OK", "payload": end.body}
        return json.dumps(told).encode()

    async def _sent(self, record: Record, delivery: Delivery, body: bytes, fault: str | None) -> End | None:
        """Send one POST; return how the delivery ended, or None if it is to be repeated."""
        settings = self._account.settings
        seconds = settings.webhook_seconds if delivery.attempts == 1 else settings.webhook_retry_seconds
        headers = {"Content-Type": "application/json", **self._signed(record, body, fault)}
        try:
            async with asyncio.timeout(seconds):
                response = await self._client().post(delivery.url, content=body, headers=headers)
        except (httpx.HTTPError, TimeoutError, ValueError):
            return None
        finally:
            self._let_pass()
        if response.is_redirect:
            return End.REDIRECTED
        return End.DELIVERED if response.is_success else None

    def _client(self) -> httpx.AsyncClient:
        # Made when it is first needed, since that takes a while. No proxies: receivers are near. S113: see `_sent`.
        if self._http is None:
            self._http = httpx.AsyncClient(follow_redirects=False, trust_env=False, timeout=None)  # noqa: S113
        return self._http

    def _let_pass(self) -> None:
        for event in self._behind:
            event.set()
        self._behind.clear()

    def _signed(self, record: Record, body: bytes, fault: str | None) -> dict[str, str]:
        settings = self._account.settings
        moment = record.completed_at if settings.webhook_signed_once else None
        timestamp = int(self._account.moment() if moment is None else moment)
        timestamp -= STALE_SECONDS if fault == "webhook_stale" else 0
        signed = body + b" " if fault == "webhook_forged" else body
        return self._signer.headers(record.request_id, timestamp, signed, settings.webhook_keys)

    def _postponed(self, record: Record, delivery: Delivery, size: int) -> Delivery:
        """The delivery with its next attempt, until the stored result expires."""
        settings = self._account.settings
        due = self._account.moment() + settings.webhook_backoff * GROWTH ** (delivery.attempts - 1)
        kept = settings.large_result_seconds if size >= LARGE_PAYLOAD_BYTES else settings.result_seconds
        if delivery.attempts > settings.webhook_retries or due > (record.completed_at or 0.0) + kept:
            return dataclasses.replace(delivery, ended=End.GIVEN_UP)
        return dataclasses.replace(delivery, due_at=due)


def gateway_request_id(record: Record) -> str:
    """The id of the attempt: the request's own until fal retries it."""
    if record.attempt == 1:
        return record.request_id
    return str(uuid.uuid5(uuid.UUID(record.request_id), str(record.attempt)))


async def is_allowed(url: str, settings: Settings) -> bool:
    """Whether a webhook may go there: http(s), and by setting only to public addresses, as from fal."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return False
    if parsed.scheme not in ("http", "https") or not parsed.host:
        return False
    return settings.webhook_private or await _is_public(parsed.host)


async def _is_public(host: str) -> bool:
    """Return whether a host is public; one that cannot be resolved counts as public, and is tried again."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return True
    return all(ipaddress.ip_address(str(address[0]).partition("%")[0]).is_global for *_, address in found)
