"""One request's way: read the state from its facts, do what the table says, and look again.

Every step adds a fact, and the state table decides what comes next; nothing else does. A worker holds no lock and may
die anywhere: what it knew is on record, or is in doubt and shown.
"""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING

from dagster_gptimg.engine.collect.collect import Case, Collector, LostError
from dagster_gptimg.engine.collect.missing_images import Missing
from dagster_gptimg.engine.follow.status_changes import News
from dagster_gptimg.engine.follow.status_streams import Streams
from dagster_gptimg.engine.follow.watcher import TooLateError, Watcher
from dagster_gptimg.engine.follow.webhook_events import Arrivals
from dagster_gptimg.engine.record.results import EARLIER, Ledger, Result, Unsettled, as_missing, settled_of
from dagster_gptimg.engine.record.state_table import View, given_up, in_flight
from dagster_gptimg.engine.recover.ambiguous_submits import Doubt
from dagster_gptimg.engine.request_progress import Way
from dagster_gptimg.engine.submit.rejections import Rejections
from dagster_gptimg.engine.submit.submit import Submitter, TakenError, as_submitted
from dagster_gptimg.errors import AmbiguousSubmitError, ImageReferenceError, ReadError, SubmitError
from dagster_gptimg.store.receipts.facts import Attempt, GivenUp, Intent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dagster_gptimg.engine.events import Updated
    from dagster_gptimg.engine.job import Job
    from dagster_gptimg.engine.submit.budget import Budget
    from dagster_gptimg.engine.submit.in_flight_limit import Window
    from dagster_gptimg.engine.submit.stop import Stop
    from dagster_gptimg.fal.types import Submitted
    from dagster_gptimg.store.receipts.facts import Outcome, Word

ASIDE = 500
"""Requests at most that have ended at fal, cannot be collected now, and are waited for outside of the window. What is
beyond keeps its place: while images cannot be had, no more and more of them are bought."""

GIVEN_UP_SECONDS = 30.0
"""Seconds that a run waits for a request that the user has given up."""

FINAL = frozenset({"missing", "refused", "ended"})
"""States in which nothing is done for a request by itself; the user's word opens the next attempt."""


class Worker:
    """Brings single requests to their ends; one for a run, many calls at once.

    Attributes:
        sending: the submits under way, by key.
        in_flight: what is being followed, by key: what an interrupt may still cancel.
    """

    def __init__(
        self, job: Job, ledger: Ledger, budget: Budget, stop: Stop, window: Window, tell: Callable[[Updated], None]
    ) -> None:
        """Share a run's ledger, budget, stop and window; `tell` takes what fal says of requests on their way."""
        self._job, self._io, self._receipts = job, job.runtime.io, job.dataset.receipts
        self._ledger, self._budget, self._stop = ledger, budget, stop
        self._submitter = Submitter(job, ledger.run)
        self._doubt = Doubt(job, ledger, stop)
        self._missing = Missing(job)
        self._rejections = Rejections(job, stop, window, lambda: len(self.in_flight))
        self._arrivals = Arrivals(job, ledger.run) if job.options.watch == "webhook" else None
        self._watcher = Watcher(job, window, Streams(job) if job.options.watch == "stream" else self._arrivals)
        self._collector = Collector(job, self._watcher, News(tell) if job.options.logs else None, self._arrivals)
        self._aside = 0
        self.sending: dict[str, asyncio.Task[Result | None]] = {}
        self.in_flight: dict[str, tuple[int, Submitted]] = {}

    def know(self, request_ids: Iterable[str]) -> None:
        """Take the request ids that are on record; to be called before anything is sent."""
        self._submitter.know(request_ids)

    @property
    def refetched(self) -> int:
        """Images whose files were gone, and that fal has given again."""
        return self._missing.fetched

    async def sent(self, seconds: float) -> None:
        """Let the submits that are under way come to their end, as far as they do within `seconds`.

        An interrupt must not tear a submit apart: what it brought would be in doubt.
        """
        if self.sending:
            await asyncio.wait(self.sending.values(), timeout=seconds)

    def expect(self, intents: Iterable[Intent]) -> None:
        """Take what was found in doubt when the run began."""
        self._doubt.expect(intents)

    def close(self) -> None:
        """Leave nothing behind."""
        self._watcher.close()

    async def settle(self, way: Way) -> Result:
        """Follow, collect, buy or resolve one request until nothing more can be done now.

        Raises:
            StoreError: the store cannot be used.
        """
        try:
            await self._doubt.search(way)
            await self._look_for_given_up(way)
            await self._missing.look(way)
            result = None
            while result is None:
                result = await self._step(way)
            return result
        finally:
            self._count(way)
            await self._write_off(way)

    def _count(self, way: Way) -> None:
        """Count what this run has spent: on what it sent, whoever recorded its end, and on what it recorded."""
        view = way.view()
        for n, attempt in enumerate(way.attempts):
            is_sent = attempt.intent is not None and attempt.intent.run == self._ledger.run
            is_counted = n == view.attempt and view.state in {"in_flight", "held"}  # with its row
            if is_sent and not is_counted and attempt.may_have_no_end:
                self._ledger.spent.doubt(way.price)
            for request_id, outcome in attempt.outcomes.items():
                if outcome is not None and outcome.is_end and (is_sent or request_id in way.recorded):
                    self._ledger.spent.add(outcome.cost_usd, way.price)

    async def _step(self, way: Way) -> Result | None:
        """Do what the table says now; a result when nothing more can be done."""
        view = way.view()
        if view.state == "in_flight":
            return await self._follow(way)
        if view.state == "held":
            way.place.leave()  # it may be looked for for minutes, and others can be bought meanwhile
            return await self._doubt.resolve(way, view)
        is_final = view.state in FINAL
        if view.state == "done" or (is_final and not way.is_meant(view, self._job.options.again)):
            return self._settled(way, view)
        if not way.buys or self._stop.reason:
            return way.unsettled("not_submitted", self._stop.message)
        if is_final:
            await self._missing.record(way)
            return await self._buy(way, view.attempt + 1, way.word)
        return await self._buy(way, view.attempt, way.word_for(view.attempt))

    def _settled(self, way: Way, view: View) -> Result | None:
        """What a request came to of which nothing is to be done any more."""
        by = self._ledger.run if way.collected else EARLIER
        settled = settled_of(way.request.key, way.attempts, way.owns, by)
        if settled is None or view.state != "missing":
            return settled
        return as_missing(settled, way.attempts[settled.attempt].deleted.get(settled.request_id), way.why)

    # -- buying

    async def _buy(self, way: Way, n: int, word: Word | None) -> Result | None:
        """Create attempt `n` and send it; `word`: the user's word that opens it, if one does."""
        if not way.left:
            return way.unsettled("failed", way.trouble)
        await self._write_off(way)  # what has ended, or is at fal, has been followed: the rest stays in doubt
        if not await self._reserve(way, n):
            self._stop.because("budget", f"the next request could pass the limit of ${self._budget.limit}")
            return way.unsettled("not_submitted", self._stop.message)
        await way.place.enter()
        async with self._stop.turn() as may_send:
            if not may_send:
                await self._refund(way, n, Decimal(0))
                return None
            sending = asyncio.create_task(self._send(way, n, word))
            self.sending[way.request.key] = sending
            sending.add_done_callback(lambda _: self.sending.pop(way.request.key, None))
            return await asyncio.shield(sending)

    async def _send(self, way: Way, n: int, word: Word | None) -> Result | None:
        try:
            attempt, error = await self._submitter.send(way.request, n, way.price.high, word)
        except TakenError:
            way.take(await self._io(self._receipts.load, way.request.key))
            await self._refund(way, n, Decimal(0))
            if n < len(way.attempts):
                return None
            words = "an attempt of it is on record, and no listing of the store shows it"
            return way.unsettled(
                "held", f"{words}. Nothing is bought until one does: look at the store, then run again"
            )
        except (ImageReferenceError, ReadError) as trouble:
            await self._refund(way, n, Decimal(0))
            return way.unsettled("failed", str(trouble))
        if attempt is not None:
            way.sent = True
            way.attempts.extend(Attempt() for _ in range(n + 1 - len(way.attempts)))
            way.attempts[n] = attempt
        if attempt is None or attempt.void is not None:
            await self._refund(way, n, Decimal(0))
        return await self._react(way, error)

    async def _react(self, way: Way, error: SubmitError | None) -> Result | None:
        """Draw from a submit's end what it means: nothing, a pause, the end of buying, or of this row alone."""
        if error is None:
            self._stop.accepted()
            return None
        way.trouble = str(error)
        if isinstance(error, AmbiguousSubmitError):
            self._stop.left_in_doubt(error)
        elif await self._rejections.is_of_this_request(way.request.endpoint, error):
            return way.unsettled("failed", way.trouble)
        return None

    # -- following

    async def _follow(self, way: Way) -> Result | None:
        """Bring a request to its end; one that fal does not give now stays on record, and is looked for by every run.

        A key may have several: what one of them came to keeps nobody from the others.
        """
        found = next((view for view in in_flight(way.attempts, way.owns) if view.request_id not in way.lost), None)
        if found is None:
            is_stored = any(o and o.kind == "stored" for attempt in way.attempts for o in attempt.outcomes.values())
            by = self._ledger.run if way.collected else EARLIER
            return settled_of(way.request.key, way.attempts, way.owns, by) if is_stored else way.still_at_fal
        return await self._follow_one(way, found)

    async def _follow_one(self, way: Way, view: View) -> Result | None:
        key, attempt = way.request.key, way.attempts[view.attempt]
        submitted = as_submitted(self._job.fal, way.request, attempt, view.request_id)
        self.in_flight[key] = (view.attempt, submitted)
        try:
            outcome = await self._collect(way, view, submitted)
        except (LostError, TooLateError) as error:
            if isinstance(error, LostError) and way.is_meant(view, self._job.options.again):
                await self._give_up(way, view)
                return None
            way.lost.add(view.request_id)
            way.still_at_fal = _still_at_fal(key, view.request_id, attempt, error)
            return None
        finally:
            self.in_flight.pop(key, None)
        found = await self._record(way, view, outcome)
        if not found.is_end:
            way.lost.add(view.request_id)
            why = LostError(f"a webhook of fal's has named its images, and now fal says: {outcome.error}")
            way.still_at_fal = _still_at_fal(key, view.request_id, attempt, why)
        if found.kind == "free":
            way.trouble = f"{found.error_type}: {found.error}"
            way.left -= view.attempt + 1 == len(way.attempts)
        if found.is_end:
            await self._pay(way, view.attempt, found.cost_usd)
        return None

    async def _collect(self, way: Way, view: View, submitted: Submitted) -> Outcome:
        """Wait for a request's end; what has ended and cannot be had gives its place to others meanwhile."""
        accepted, is_aside = way.attempts[view.attempt].accepted[view.request_id][1], False

        def step_aside() -> None:
            nonlocal is_aside
            if not is_aside and self._aside < ASIDE:
                is_aside, self._aside = True, self._aside + 1
                way.place.leave()

        until = self._job.runtime.clock.monotonic() + self._job.options.patience
        since = accepted.accepted_at if accepted and not way.sent else None
        case = Case(way.request, submitted, way.price, way.sent, until, accepted_at=since, on_wait=step_aside)
        try:
            return await self._collector.collect(case)
        finally:
            self._aside -= is_aside

    async def _record(self, way: Way, view: View, outcome: Outcome) -> Outcome:
        """Put an outcome on record; another run's may be there already, and then that one counts."""
        found = await self._io(self._receipts.create_outcome, way.request.key, view.attempt, outcome)
        self._job.runtime.reached("after outcome")
        if found == outcome:
            way.attempts[view.attempt].add_outcome(view.request_id, found)
            way.recorded.add(view.request_id)
        else:
            way.take(await self._io(self._receipts.load, way.request.key))
        if self._arrivals is not None:
            await self._arrivals.taken(view.request_id)
        way.collected |= found.kind != "free"
        return found

    async def _give_up(self, way: Way, view: View) -> None:
        """Record that the user no longer waits for a request; every run looks for it all the same."""
        fact = GivenUp(request_id=view.request_id, word=way.word, recorded_at=self._job.runtime.clock.now())
        await self._io(self._receipts.create_given_up, way.request.key, view.attempt, fact)
        way.attempts[view.attempt].given_up[view.request_id] = fact

    async def _look_for_given_up(self, way: Way) -> None:
        """Look once for each request that the user no longer waits for: an image of it counts all the same."""
        for n, request_id in given_up(way.attempts, way.owns):
            view = View("in_flight", n, request_id)
            submitted = as_submitted(self._job.fal, way.request, way.attempts[n], request_id)
            until = self._job.runtime.clock.monotonic() + GIVEN_UP_SECONDS
            case = Case(way.request, submitted, way.price, fresh=False, until=until, once=True)
            try:
                await self._record(way, view, await self._collector.collect(case))
            except (LostError, TooLateError):
                way.lost.add(request_id)

    # -- money

    async def _reserve(self, way: Way, n: int) -> bool:
        """Set the worst case of attempt `n` aside; False when that could pass the limit."""
        if not await self._budget.reserve(way.price):
            return False
        way.reserved.add(n)
        return True

    async def _refund(self, way: Way, n: int, cost: Decimal | None) -> None:
        """Give a reservation back for what was billed; None: nobody knows, so the worst case counts as spent."""
        if n in way.reserved:
            way.reserved.remove(n)
            await self._budget.settle(way.price, cost)

    async def _pay(self, way: Way, n: int, cost: Decimal | None) -> None:
        """Count a request of attempt `n` that has ended: what one attempt cost says nothing of another one's.

        An attempt may have two requests, where something between fal and here sent its POST twice: nothing is reserved
        for the second one, and it counts all the same.
        """
        intent = way.attempts[n].intent
        if n in way.reserved:
            await self._refund(way, n, cost)
        elif intent is not None and intent.run == self._ledger.run:
            await self._budget.add(way.price, cost)

    async def _write_off(self, way: Way) -> None:
        """Count what is reserved still as spent: nobody knows what became of it, and fal may have billed it."""
        for n in sorted(way.reserved):
            await self._refund(way, n, None)


def _still_at_fal(key: str, request_id: str, attempt: Attempt, error: Exception) -> Unsettled:
    accepted, intent = attempt.accepted[request_id][1], attempt.intent
    is_lost, words = isinstance(error, LostError), str(error)
    if is_lost:
        words = f"fal does not give its images now: {words}. Every run looks for it; `--again lost` buys it again"
        if intent is not None and intent.cost_high_usd is not None:
            words = f"{words}. fal may have billed up to ${intent.cost_high_usd:f} for it"
    return Unsettled(
        key=key,
        status="lost" if is_lost else "in_flight",
        error=words,
        request_id=request_id,
        submitted_at=accepted.accepted_at if accepted else None,
        bought_by=intent.run if intent else None,
    )
