"""Doubt: what happens to an attempt of which nobody knows whether its submit reached fal.

It is never sent again by itself. Evidence settles it, or the user's word, or the policy `resubmit`, which is a bet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagster_gptimg.batch.evidence import Evidence
from dagster_gptimg.batch.ledger import Result, Unsettled
from dagster_gptimg.batch.state import View, searching, state_of
from dagster_gptimg.store.facts import Attempt, Intent, Void

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dagster_gptimg.batch.job import Job
    from dagster_gptimg.batch.ledger import Ledger
    from dagster_gptimg.batch.stop import Stop
    from dagster_gptimg.batch.worker import Way

FIRST_LOOK, LONGEST_WAIT = 0.5, 15.0


class Doubt:
    """Resolves the held attempts of one run."""

    def __init__(self, job: Job, ledger: Ledger, stop: Stop) -> None:
        """Nothing is in doubt yet."""
        self._job, self._clock, self._io = job, job.runtime.clock, job.runtime.io
        self._receipts, self._stop = job.dataset.receipts, stop
        self._evidence = Evidence(job, ledger)

    def expect(self, intents: Iterable[Intent]) -> None:
        """These are in doubt: one reading of the history serves all of them."""
        self._evidence.expect(intents)

    async def search(self, way: Way) -> None:
        """Look once for every attempt that may have a request nobody knows, whatever else its key has."""
        for n in searching(way.attempts, way.owns):
            await self._evidence.adopt(way.request, n, way.attempts[n])

    async def resolve(self, way: Way, view: View) -> Result | None:
        """Wait for evidence; None when a new fact has come up, and the table is to be read again."""
        attempt = way.attempts[view.attempt]
        if attempt.unreadable or attempt.intent is None:
            return way.unsettled("held", f"{view.reason}. Nothing is bought for it until that is mended.")
        if await self._wait(way, view, attempt.intent):
            return None
        # Not before `settle` is over: whoever made the intent may be just about to send it.
        if way.is_meant(view, self._job.options.again) and not self._stop.reason:
            await self._give_up(way, view.attempt, "word", "given up by the user's word")
            return None
        return await self._after_waiting(way, view, attempt.intent)

    async def _wait(self, way: Way, view: View, intent: Intent) -> bool:
        """Look in the history and in the receipts until `settle` seconds after the intent; True when a fact came up.

        Somebody else may be about to send what this intent stands for, or to record what it brought.
        """
        age = (self._clock.now() - intent.created_at).total_seconds()
        until, pause = self._clock.monotonic() + max(self._job.options.settle - max(age, 0.0), 0.0), FIRST_LOOK
        if self._job.options.watch == "webhook" and await self._has_news(way, view):
            return True
        while True:
            if await self._evidence.adopt(way.request, view.attempt, way.attempts[view.attempt]):
                return True
            if self._stop.reason or self._clock.monotonic() >= until:
                return False
            await self._clock.sleep(min(pause, until - self._clock.monotonic()))
            pause = min(pause * 1.5, LONGEST_WAIT)
            if await self._has_news(way, view):
                return True

    async def _has_news(self, way: Way, view: View) -> bool:
        """Read the receipts again: another run, or a webhook's receiver, may have recorded what it came to."""
        fresh = await self._io(self._receipts.load, way.request.key)
        if state_of(fresh, way.owns) == view:
            return False
        way.attempts[:] = fresh
        return True

    async def _after_waiting(self, way: Way, view: View, intent: Intent) -> Result | None:
        why_not = "the policy is to hold"
        if self._job.options.on_ambiguous == "resubmit" and way.buys:
            why_not = await self._evidence.against_resubmit(intent)
            if not why_not:
                await self._give_up(way, view.attempt, "settled", "the history shows nothing of it")
                return None
        since = intent.created_at.isoformat(timespec="seconds")
        words = (
            f"{view.reason} (since {since}), and fal's history does not show it; {why_not}. Run again to look again, "
            "or buy it again with `--again held`: if fal has it after all, it is then paid for twice."
        )
        return Unsettled(way.request.key, "held", "ambiguous_submit", words, None, intent.created_at, intent.run)

    async def _give_up(self, way: Way, n: int, reason: str, detail: str) -> None:
        attempt: Attempt = way.attempts[n]
        void = Void.model_validate({"reason": reason, "detail": detail, "recorded_at": self._clock.now()})
        await self._io(self._receipts.create_void, way.request.key, n, void)
        attempt.void = void
