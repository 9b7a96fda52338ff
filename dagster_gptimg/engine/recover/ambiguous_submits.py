"""Ambiguous submits: attempts that may or may not have reached fal.

An ambiguous attempt is never sent again by default. It is resolved by evidence, by the user (`again`), or by the policy
`resubmit`, which may buy twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagster_gptimg.base.retry_policies import HISTORY_SEARCH
from dagster_gptimg.base.row_status import RowStatus
from dagster_gptimg.engine.purchase_rules import View, searching, state_of
from dagster_gptimg.engine.record.results import Result, Unsettled
from dagster_gptimg.engine.recover.history_evidence import Evidence, Search
from dagster_gptimg.store.receipts.facts import Attempt, Intent, Void

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dagster_gptimg.engine.job import Job
    from dagster_gptimg.engine.record.results import RunResults
    from dagster_gptimg.engine.request_progress import RequestProgress
    from dagster_gptimg.engine.submit.stop import Stop
    from dagster_gptimg.store.receipts.facts import Word


class AmbiguousSubmits:
    """Resolves the held attempts of one run."""

    def __init__(self, job: Job, results: RunResults, stop: Stop) -> None:
        """Use a run's results and its stop."""
        self._job, self._clock, self._io = job, job.runtime.clock, job.runtime.io
        self._receipts, self._stop = job.dataset.receipts, stop
        self._evidence = Evidence(job, results)

    def expect(self, intents: Iterable[Intent]) -> None:
        """Announce intents in doubt: one read of the history serves all of them."""
        self._evidence.expect(intents)

    async def search(self, progress: RequestProgress) -> None:
        """Search once for every attempt that may have an unknown request, whatever other facts its key has."""
        for n in searching(progress.attempts, progress.owns):
            await self._evidence.adopt(progress.request, n, progress.attempts[n])

    async def resolve(self, progress: RequestProgress, view: View) -> Result | None:
        """Wait for evidence; None if a new fact was found, so that the state table has to be read again."""
        attempt = progress.attempts[view.attempt]
        if attempt.unreadable or attempt.intent is None:
            return progress.unsettled(
                RowStatus.HELD, f"{view.reason}. Nothing is bought for it until this is repaired."
            )
        # By this process's own clock, since it saw the attempt: whoever made the intent may be just about to send it,
        # and the wall clocks of two machines may differ by hours.
        acts = progress.is_meant(view, self._job.options.again) or self._job.options.on_ambiguous == "resubmit"
        search = await self._wait(progress, view, attempt.intent, whole=acts and progress.buys)
        if search is None:
            return None
        if progress.is_meant(view, self._job.options.again) and not self._stop.reason:
            await self._give_up(progress, view.attempt, "word", "given up by the user's word", progress.word)
            return None
        return await self._after_waiting(progress, view, attempt.intent, search)

    async def _wait(self, progress: RequestProgress, view: View, intent: Intent, *, whole: bool) -> Search | None:
        """Search the history and the receipts for `settle` seconds; None if a fact was found, else the last search.

        `whole`: whether something is bought afterwards. Otherwise one search is enough for an attempt that is older
        than `settle` by the wall clock.
        """
        settle, now = self._job.options.settle, self._clock.monotonic()
        age = 0.0 if whole else max((self._clock.now() - intent.created_at).total_seconds(), 0.0)
        until, looks = (progress.seen_at if whole else now - age) + settle, 0
        if self._job.options.watch == "webhook" and await self._has_news(progress, view):
            return None
        while True:
            search = await self._evidence.adopt(progress.request, view.attempt, progress.attempts[view.attempt])
            if search.is_adopted:
                return None
            if self._stop.reason or self._clock.monotonic() >= until:
                return search
            looks += 1
            await self._clock.sleep(min(HISTORY_SEARCH.pause(looks), until - self._clock.monotonic()))
            if await self._has_news(progress, view):
                return None

    async def _has_news(self, progress: RequestProgress, view: View) -> bool:
        """Read the receipts again: another run, or a webhook's receiver, may have recorded a new fact."""
        fresh = await self._io(self._receipts.load, progress.request.key)
        if state_of(fresh, progress.owns) == view:
            return False
        progress.take(fresh)
        return True

    async def _after_waiting(
        self, progress: RequestProgress, view: View, intent: Intent, search: Search
    ) -> Result | None:
        why_not = "the policy is to hold"
        if self._job.options.on_ambiguous == "resubmit" and progress.buys and not self._stop.reason:
            why_not = search.missed or await self._evidence.against_resubmit(intent)
            if not why_not:
                await self._give_up(progress, view.attempt, "settled", "the history shows nothing of it")
                return None
        since = intent.created_at.isoformat(timespec="seconds")
        words = f"{view.reason} (since {since})"
        if search.missed and not search.searched:
            words = f"{words}, and it could not be searched for: {search.missed}. It may have been paid for."
        elif search.missed:
            words = f"{words}. {search.searched} does not show it, but {search.missed}."
        else:
            words = (
                f"{words}. {search.searched} does not show it; {why_not}. Run again to search again, or buy it again "
                "with `--again held`: if fal has it after all, it is paid for twice."
            )
        return Unsettled(
            key=progress.request.key,
            status=RowStatus.HELD,
            error_type="ambiguous_submit",
            error=words,
            submitted_at=intent.created_at,
            bought_by=intent.run,
        )

    async def _give_up(
        self, progress: RequestProgress, n: int, reason: str, detail: str, word: Word | None = None
    ) -> None:
        attempt: Attempt = progress.attempts[n]
        about = {"reason": reason, "detail": detail, "recorded_at": self._clock.now(), "word": word}
        void = Void.model_validate(about)
        await self._io(self._receipts.create_void, progress.request.key, n, void)
        attempt.void = void
