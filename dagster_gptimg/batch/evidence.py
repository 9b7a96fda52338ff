"""Evidence for submits in doubt: fal's request history, narrow to adopt, wide to deny (DESIGN invariant 3)."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from dagster_gptimg.batch.submit import accepted_fact
from dagster_gptimg.errors import ReadError
from dagster_gptimg.fal.models import model_at

if TYPE_CHECKING:
    from collections.abc import Collection

    from dagster_gptimg.batch.job import Job
    from dagster_gptimg.batch.ledger import Ledger
    from dagster_gptimg.fal.types import HistoryItem, Submitted
    from dagster_gptimg.store.facts import Attempt, How, Intent

BEFORE, AFTER = timedelta(minutes=5), timedelta(hours=1)
"""How far from its intent a request may lie: clocks differ, and a frozen process may send late."""

FRESH = 1.0
"""Seconds for which one reading of the history serves all rows in doubt."""


class _Page(NamedTuple):
    """One reading of an endpoint's history: what was sent since `start`, oldest first."""

    items: list[HistoryItem]
    read_at: float
    start: datetime


class Evidence:
    """Looks for attempts in fal's history and adopts what matches.

    An id that is on record under any key of the dataset is never adopted; within this process one row adopts at a time,
    so that k equal requests need k ids.
    """

    def __init__(self, job: Job, ledger: Ledger) -> None:
        """Nothing is read yet."""
        self._job, self._ledger = job, ledger
        self._lock = asyncio.Lock()
        self._pages: dict[str, _Page] = {}

    async def adopt(self, key: str, n: int, attempt: Attempt) -> bool:
        """Adopt a request for an attempt, if the history shows one: recorded, and added to `attempt`.

        False means only that nothing was found. Raises `StoreError`.
        """
        intent = attempt.intent
        if intent is None or intent.account != self._job.fal.account(self._job.dataset.salt):
            return False  # another account's history shows nothing of it
        async with self._lock:
            return await self._adopt(key, n, attempt, intent)

    async def _adopt(self, key: str, n: int, attempt: Attempt, intent: Intent) -> bool:
        try:
            items = await self._history(intent.endpoint, intent)
        except ReadError:
            return False
        matches = [item for item in items if self._matches(item, intent)]
        if not matches:
            return False
        known = await self._known()
        for item in matches:
            if item.request_id not in known:
                await self._record(
                    key, n, attempt, self._job.fal.request(intent.endpoint, item.request_id), item.sent_at
                )
                return True
        return False

    async def _history(self, endpoint: str, intent: Intent) -> list[HistoryItem]:
        """What the history of an endpoint shows since a little before an intent."""
        clock, known = self._job.runtime.clock, self._pages.get(endpoint)
        start = intent.created_at - BEFORE
        if known is None or clock.monotonic() - known.read_at > FRESH or start < known.start:
            start = start if known is None else min(start, known.start)
            found = self._job.fal.history(endpoint, start)
            items = sorted([item async for item in found], key=lambda item: (item.sent_at, item.request_id))
            known = self._pages[endpoint] = _Page(items, clock.monotonic(), start)
        return known.items

    async def against_resubmit(self, intent: Intent) -> str:
        """What speaks against sending an attempt again; empty when nothing does.

        The history must be this account's, be read whole, and show every request of which we know that fal completed it
        in the window, at least one. No request with this prompt may be in it, but those known by reply or webhook: an
        adopted one may be ours. What remains a bet: that no POST comes later than `settle`, and that the history has no
        hole just where ours would be.
        """
        if intent.account != self._job.fal.account(self._job.dataset.salt):
            return "it was sent with another key, whose history cannot be read with this one"
        async with self._lock:
            self._pages.clear()
            try:
                # All that this dataset may have sent: the control group is of every endpoint.
                endpoints = {intent.endpoint, *self._job.model.endpoints}
                items = [item for endpoint in endpoints for item in await self._history(endpoint, intent)]
            except ReadError as error:
                return f"the history cannot be read: {error}"
            return await self._denial(intent, items)

    async def _denial(self, intent: Intent, items: list[HistoryItem]) -> str:
        settle = timedelta(seconds=self._job.options.settle)
        control = self._ledger.completed(intent.created_at - BEFORE, intent.created_at + settle)
        shown = {item.request_id for item in items}
        if not control or not control <= shown:
            return (
                f"the history shows {len(control & shown)} of {len(control)} requests known to have ended around then"
            )
        sure = await self._known(("reply", "webhook"))
        prompt = intent.arguments.get("prompt")
        for item in items:
            same = item.json_input is None or item.json_input.get("prompt") == prompt
            if same and item.request_id not in sure:
                return f"request {item.request_id} in the history may be it"
        return ""

    def _matches(self, item: HistoryItem, intent: Intent) -> bool:
        """Equal arguments, near the intent. The history may show fal's defaults filled in: they are left out."""
        near = intent.created_at - BEFORE <= item.sent_at <= intent.created_at + AFTER
        plain = model_at(intent.endpoint, self._job.model).variant(intent.arguments).key_arguments
        return near and item.json_input is not None and plain(item.json_input) == plain(intent.arguments)

    async def _known(self, hows: Collection[How] = ("reply", "webhook", "history")) -> set[str]:
        """Every id on record, read anew: another run may have recorded one just now."""
        listing = await self._job.runtime.io(self._job.dataset.receipts.listing)
        return {name.request_id for names in listing.values() for _, name in names if name.how in hows}

    async def _record(self, key: str, n: int, attempt: Attempt, request: Submitted, sent_at: datetime) -> None:
        accepted = accepted_fact(request, sent_at)
        await self._job.runtime.io(self._job.dataset.receipts.create_accepted, key, n, "history", accepted)
        attempt.accepted[request.request_id] = ("history", accepted)
