"""Evidence for submits in doubt: fal's history, narrow to adopt, wide to deny (docs/guarantee.md#invariant-3)."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from dagster_gptimg.batch.candidates import BEFORE, Candidates
from dagster_gptimg.batch.keys import request_key
from dagster_gptimg.batch.submit import accepted_fact
from dagster_gptimg.errors import ReadError
from dagster_gptimg.fal.models import model_at

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dagster_gptimg.batch.candidates import Candidate
    from dagster_gptimg.batch.job import Job
    from dagster_gptimg.batch.ledger import Ledger
    from dagster_gptimg.batch.plan import Request
    from dagster_gptimg.store.facts import Attempt, Intent

GAP = 8
"""Equal requests have keys that differ in the copy number only. So many numbers in a row without a receipt are the end
of them: a crash can leave gaps as wide as there are submits at once."""


class Evidence:
    """Looks for attempts in fal's history and adopts what matches.

    An id that is on record under any key of the dataset is never adopted; within this process one row adopts at a time,
    so that k equal requests need k ids.
    """

    def __init__(self, job: Job, ledger: Ledger) -> None:
        """Nothing is read yet."""
        self._job, self._ledger = job, ledger
        self._candidates = Candidates(job)
        self._lock = asyncio.Lock()

    def expect(self, intents: Iterable[Intent]) -> None:
        """These will be looked for."""
        self._candidates.expect(intent for intent in intents if self._is_mine(intent))

    async def adopt(self, request: Request, n: int, attempt: Attempt) -> bool:
        """Adopt a request for attempt `n`, if the history shows one: recorded, and added to `attempt`.

        False means only that nothing was found. Raises `StoreError`.
        """
        intent = attempt.intent
        if intent is None or not self._is_mine(intent):
            return False  # another account's history shows nothing of it
        async with self._lock:
            try:
                found = await self._candidates.of(intent)
            except ReadError:
                return False
            known = await self._known(request, {candidate.request_id for candidate in found}) if found else set()
            free = next((candidate for candidate in found if candidate.request_id not in known), None)
            if free is not None:
                await self._record(request.key, n, attempt, free, intent.endpoint)
            return free is not None

    def _is_mine(self, intent: Intent) -> bool:
        return intent.account == self._job.fal.account(self._job.dataset.salt)

    async def _known(self, request: Request, request_ids: set[str]) -> set[str]:
        """Those of some ids that are on record, read anew: another run may have recorded one just now.

        Only an equal request can have one of them, and its key can be worked out; all receipts are looked through only
        where it cannot (a request with reference images that no row asks for any more).
        """
        io, receipts = self._job.runtime.io, self._job.dataset.receipts
        model, found, visited = model_at(request.endpoint, self._job.model), set[str](), set[str]()
        copy = last = 0
        while copy <= last + GAP:
            key = request_key(model, request.arguments, copy)
            names = await io(receipts.names, key)
            found.update(name.request_id for _, name in names if name.request_id)
            visited.add(key)
            last, copy = copy if names else last, copy + 1
        if request.key not in visited:
            return await io(receipts.known, request_ids, ("reply", "webhook", "history"))
        return found

    async def _record(self, key: str, n: int, attempt: Attempt, found: Candidate, endpoint: str) -> None:
        accepted = accepted_fact(self._job.fal.request(endpoint, found.request_id), found.sent_at)
        await self._job.runtime.io(self._job.dataset.receipts.create_accepted, key, n, "history", accepted)
        attempt.accepted[found.request_id] = ("history", accepted)

    async def against_resubmit(self, intent: Intent) -> str:
        """What speaks against sending an attempt again; empty when nothing does.

        The history must be this account's, be read whole, and show every request of which we know that fal completed it
        in the window, at least one. No request with this prompt may be in it, but those known by reply or webhook: an
        adopted one may be ours. What remains a bet: that no POST comes later than `settle`, and that the history has no
        hole just where ours would be.
        """
        if not self._is_mine(intent):
            return "it was sent with another key, whose history cannot be read with this one"
        start, settle = intent.created_at - BEFORE, timedelta(seconds=self._job.options.settle)
        control = self._ledger.completed(start, intent.created_at + settle)
        unseen, suspects = set(control), set[str]()
        try:
            # All that this dataset may have sent: the control group is of every endpoint.
            for endpoint in {intent.endpoint, *self._job.model.endpoints}:
                async for item in self._job.fal.history(endpoint, start):
                    unseen.discard(item.request_id)
                    if item.json_input is None or item.json_input.get("prompt") == intent.arguments.get("prompt"):
                        suspects.add(item.request_id)
        except ReadError as error:
            return f"the history cannot be read: {error}"
        if not control or unseen:
            shown = len(control) - len(unseen)
            return f"the history shows {shown} of {len(control)} requests known to have ended around then"
        known = await self._job.runtime.io(self._job.dataset.receipts.known, suspects, ("reply", "webhook"))
        return next((f"request {suspect} in the history may be it" for suspect in sorted(suspects - known)), "")
