"""Evidence for submits in doubt.

fal's history, read narrowly to adopt, widely to deny (docs/guarantee.md#invariant-3).
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from dagster_gptimg.engine.plan.request_keys import request_key
from dagster_gptimg.engine.recover.history_search import BEFORE, Candidates, window
from dagster_gptimg.engine.submit.submit import accepted_fact
from dagster_gptimg.errors import ReadError
from dagster_gptimg.fal.registry.builtin import model_at

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dagster_gptimg.engine.job import Job
    from dagster_gptimg.engine.plan.plan import Request
    from dagster_gptimg.engine.record.results import RunResults
    from dagster_gptimg.engine.recover.history_search import Candidate
    from dagster_gptimg.fal.types import HistoryItem
    from dagster_gptimg.store.receipts.facts import Attempt, Intent

CLOCK_OFF = 60.0
"""Seconds by which this machine's clock may differ from fal's without a warning."""

GAP = 8
"""Number of consecutive copy numbers without a receipt, after which no further equal requests are expected.

Equal requests have keys that differ in the copy number only; a crash can leave gaps as wide as the concurrent submits.
"""


class Search(NamedTuple):
    """The result of a search for one attempt.

    Attributes:
        is_adopted: whether a request was found and recorded.
        searched: what was searched, in words; empty if nothing could be.
        missed: what could not be searched, and the remedy; empty if everything was searched.
    """

    is_adopted: bool
    searched: str = ""
    missed: str = ""


class Evidence:
    """Searches for attempts in fal's history, and adopts matching requests.

    An id that is recorded under any key of the dataset is never adopted; within this process one row adopts at a time,
    so that k equal requests need k ids.
    """

    def __init__(self, job: Job, results: RunResults) -> None:
        self._job, self._results = job, results
        self._candidates = Candidates(job)
        self._lock = asyncio.Lock()

    def expect(self, intents: Iterable[Intent]) -> None:
        """Announce the intents that will be searched for in the history."""
        self._candidates.expect(intent for intent in intents if self._is_mine(intent))

    async def adopt(self, request: Request, n: int, attempt: Attempt) -> Search:
        """Adopt a request for attempt `n` if the history shows one; finding none proves nothing.

        Raises `StoreError`.
        """
        intent = attempt.intent
        if intent is None:
            return Search(is_adopted=False, missed="its intent cannot be read")
        if not self._is_mine(intent):
            why = "it was sent with another key, whose history this key cannot read: run with that key"
            return Search(is_adopted=False, missed=why)
        async with self._lock:
            try:
                found = await self._candidates.of(intent)
            except ReadError as error:
                return Search(is_adopted=False, missed=f"fal's history cannot be read now ({error}): run again later")
            known = await self._known(request, {candidate.request_id for candidate in found}) if found else set()
            free = next((candidate for candidate in found if candidate.request_id not in known), None)
            if free is None:
                searched, missed = self._told(intent)
                return Search(is_adopted=False, searched=searched, missed=missed)
            if not await self._is_shown(intent, free):
                missed = f"fal's history shows request {free.request_id} in a list, but not by its id: run again later"
                return Search(is_adopted=False, missed=missed)
            await self._record(request.key, n, attempt, free, intent.endpoint)
            return Search(is_adopted=True)

    async def _is_shown(self, intent: Intent, found: Candidate) -> bool:
        """Return whether the history also shows a request by its id.

        An entry with a wrong id would hide the right one.
        """
        try:
            line = await self._job.fal.lookup(intent.endpoint, found.request_id)
        except ReadError:
            return False
        return line is not None and line.request_id == found.request_id

    def _told(self, intent: Intent) -> tuple[str, str]:
        """Return what was searched for an intent, and what may have been left out."""
        first, last = window(intent)
        searched = f"fal's history of {intent.endpoint} from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC"
        offset = self._job.fal.clock_offset or 0.0
        if intent.clock_offset_s is None and abs(offset) > CLOCK_OFF:
            words = f"this machine's clock is {abs(offset):.0f} s {'behind' if offset > 0 else 'ahead of'} fal's"
            return searched, f"{words}, and its error at that time is not known: check fal's dashboard first"
        return searched, ""

    def _is_mine(self, intent: Intent) -> bool:
        return intent.account == self._job.fal.account(self._job.dataset.salt)

    async def _known(self, request: Request, request_ids: set[str]) -> set[str]:
        """Return those of some request ids that are on record, read again: another run may just have recorded one.

        Only an equal request can have one of these ids, and its key can be computed; all receipts are read only if it
        cannot (a request with reference images that no row names any more).
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
        """Return what speaks against sending an attempt again; empty if nothing does.

        The history must be this account's, be read completely, and show every request that fal is known to have
        completed in the window, at least one. It must have no request with this prompt, except those known by reply or
        webhook: an adopted one may be ours. The remaining risk: a POST that arrives later than `settle`, or a gap in
        the history at our request.
        """
        if not self._is_mine(intent):
            return "it was sent with another key, whose history cannot be read with this one"
        start, settle = window(intent)[0], timedelta(seconds=self._job.options.settle)
        control = self._results.completed(intent.created_at - BEFORE, intent.created_at + settle)
        unseen, suspects = set(control), set[str]()
        try:
            # All endpoints to which this dataset may have sent: the control group is of all of them.
            for endpoint in {intent.endpoint, *self._job.model.endpoints}:
                async for page in self._job.fal.history(endpoint, start):
                    if not page.is_whole:
                        return "an entry of fal's history cannot be read, and may be this request"
                    unseen.difference_update(item.request_id for item in page.items)
                    suspects.update(item.request_id for item in page.items if _may_be(item, intent))
        except ReadError as error:
            return f"fal's history cannot be read: {error}"
        if not control or unseen:
            shown = len(control) - len(unseen)
            return f"the history shows {shown} of {len(control)} requests known to have ended around then"
        known = await self._job.runtime.io(self._job.dataset.receipts.known, suspects, ("reply", "webhook"))
        return next((f"request {suspect} in the history may be this one" for suspect in sorted(suspects - known)), "")


def _may_be(item: HistoryItem, intent: Intent) -> bool:
    """Return whether a history entry could be an intent's request; a wide test, since it is used to deny a resubmit."""
    return item.json_input is None or item.json_input.get("prompt") == intent.arguments.get("prompt")
