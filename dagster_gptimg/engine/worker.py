"""The processing of one request: read its state from its facts, do what the state table says, and repeat.

The state table says what the facts call for. Whether this run does it now depends on what only the run knows, too: its
`again`, its budget and stop, and what it has looked for in vain. A worker holds no lock and may die at any point: what
it knew is either on record, or is shown as in doubt.
"""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING

from dagster_gptimg.base.retry_policies import GIVEN_UP
from dagster_gptimg.base.row_status import RowStatus
from dagster_gptimg.engine.collect.collect import Case, Collector, Lost
from dagster_gptimg.engine.collect.missing_images import MissingImages
from dagster_gptimg.engine.follow.status_changes import StatusChanges
from dagster_gptimg.engine.follow.status_streams import Streams
from dagster_gptimg.engine.follow.tracked_request import TooLate
from dagster_gptimg.engine.follow.watcher import Watcher
from dagster_gptimg.engine.follow.webhook_events import WebhookEvents
from dagster_gptimg.engine.purchase_rules import AGAIN_OPENS, View, given_up, in_flight
from dagster_gptimg.engine.record.results import EARLIER, Result, RunResults, Unsettled, as_missing, settled_of
from dagster_gptimg.engine.recover.ambiguous_submits import AmbiguousSubmits
from dagster_gptimg.engine.request_progress import RequestProgress
from dagster_gptimg.engine.submit.rejections import Rejections
from dagster_gptimg.engine.submit.submit import Submitter, Taken, as_submitted
from dagster_gptimg.errors import AmbiguousSubmitError, ImageReferenceError, ReadError, SubmitError
from dagster_gptimg.store.receipts.facts import Attempt, GivenUp, Intent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dagster_gptimg.engine.events import Updated
    from dagster_gptimg.engine.job import Job
    from dagster_gptimg.engine.submit.budget import Budget
    from dagster_gptimg.engine.submit.in_flight_limit import InFlightLimit
    from dagster_gptimg.engine.submit.stop import Stop
    from dagster_gptimg.fal.types import Submitted
    from dagster_gptimg.store.receipts.facts import Outcome, Word

ASIDE = 500
"""Maximum number of ended requests that cannot be collected now and wait outside the in-flight limit.

Further ones keep their places: while images are not available, buying slows down.
"""


class Worker:
    """Processes single requests to their ends; one worker per run, with many concurrent calls.

    Attributes:
        open_take: records the take of a request, if it is another one, before it is bought. Blocks.
        sending: the submits in progress, by key.
        in_flight: the requests that are being followed, by key, which an interrupt may still cancel.
    """

    def __init__(
        self,
        job: Job,
        results: RunResults,
        budget: Budget,
        stop: Stop,
        in_flight_limit: InFlightLimit,
        tell: Callable[[Updated], None],
    ) -> None:
        """Use a run's results, budget, stop and limit; `tell` receives the statuses of requests in flight."""
        self.open_take: Callable[[str], bool] = lambda _key: False
        self._job, self._io, self._receipts = job, job.runtime.io, job.dataset.receipts
        self._results, self._budget, self._stop = results, budget, stop
        self._submitter = Submitter(job, results.run)
        self._ambiguous = AmbiguousSubmits(job, results, stop)
        self._missing_images = MissingImages(job)
        self._rejections = Rejections(job, stop, in_flight_limit, lambda: len(self.in_flight))
        self._webhook_events = WebhookEvents(job, results.run) if job.options.watch == "webhook" else None
        self._watcher = Watcher(
            job, in_flight_limit, Streams(job) if job.options.watch == "stream" else self._webhook_events
        )
        self._collector = Collector(
            job, self._watcher, StatusChanges(tell) if job.options.logs else None, self._webhook_events
        )
        self._aside = 0
        self.sending: dict[str, asyncio.Task[Result | None]] = {}
        self.in_flight: dict[str, tuple[int, Submitted]] = {}

    def know(self, request_ids: Iterable[str]) -> None:
        """Note the request ids on record; to be called before anything is sent."""
        self._submitter.know(request_ids)

    @property
    def refetched(self) -> int:
        """The number of missing images that fal has sent again."""
        return self._missing_images.fetched

    @property
    def others_ahead(self) -> int:
        """The number of other runs' requests before this run's in fal's queue, at least."""
        return self._watcher.others_ahead

    async def sent(self, seconds: float) -> None:
        """Wait for the submits in progress, for at most `seconds`.

        An interrupt must not cut off a submit: its result would be in doubt.
        """
        if self.sending:
            await asyncio.wait(self.sending.values(), timeout=seconds)

    def expect(self, intents: Iterable[Intent]) -> None:
        """Announce the intents that were in doubt when the run began."""
        self._ambiguous.expect(intents)

    def close(self) -> None:
        """Close everything."""
        self._watcher.close()

    async def run(self, progress: RequestProgress) -> Result:
        """Follow, collect, buy or resolve one request until nothing more can be done now.

        Raises:
            StoreError: the store cannot be used.
        """
        try:
            await self._ambiguous.search(progress)
            await self._look_for_given_up(progress)
            await self._missing_images.look(progress)
            result = None
            while result is None:
                result = await self._step(progress)
            return result
        finally:
            self._count(progress)
            await self._write_off(progress)

    def _count(self, progress: RequestProgress) -> None:
        """Count what this run has spent: on requests that it sent, and on those whose outcomes it recorded."""
        view, counted = progress.view(), set[str]()
        for n, attempt in enumerate(progress.attempts):
            is_sent = attempt.intent is not None and attempt.intent.run == self._results.run
            is_counted = n == view.attempt and view.state in {"in_flight", "held"}  # with its row
            if is_sent and not is_counted and attempt.may_have_no_end:
                self._results.spent.doubt(progress.price)
            for request_id, outcome in attempt.outcomes.items():
                is_own = is_sent or request_id in progress.recorded
                # Two attempts whose submits were ambiguous may name the one request that fal has: it was paid once.
                if outcome is not None and outcome.is_end and is_own and request_id not in counted:
                    counted.add(request_id)
                    self._results.spent.add(outcome.cost_usd, progress.price)

    async def _step(self, progress: RequestProgress) -> Result | None:
        """Do what the state table says; return a result if nothing more can be done."""
        view = progress.view()
        if view.state == "in_flight":
            return await self._follow(progress)
        if view.state == "held":
            progress.place.leave()  # the search may take minutes, and others can be bought meanwhile
            return await self._ambiguous.resolve(progress, view)
        needs_again = view.state in AGAIN_OPENS
        if view.state == "done" or (needs_again and not progress.is_meant(view, self._job.options.again)):
            return self._settled(progress, view)
        if not progress.buys or self._stop.reason:
            return progress.unsettled(RowStatus.NOT_SUBMITTED, self._stop.message)
        if needs_again:
            await self._missing_images.record(progress)
            return await self._buy(progress, view.attempt + 1, progress.word)
        return await self._buy(progress, view.attempt, progress.word_for(view.attempt))

    def _settled(self, progress: RequestProgress, view: View) -> Result | None:
        """Return the result of a request for which nothing more is to be done."""
        by = self._results.run if progress.collected else EARLIER
        settled = settled_of(progress.request.key, progress.attempts, progress.owns, by)
        if settled is None or view.state != "missing":
            return settled
        return as_missing(settled, progress.attempts[settled.attempt].deleted.get(settled.request_id), progress.why)

    # -- buying

    async def _buy(self, progress: RequestProgress, n: int, word: Word | None) -> Result | None:
        """Create attempt `n` and send it; `word`: identity of the `again` that opens it, if any."""
        if not progress.left:
            return progress.unsettled(RowStatus.FAILED, progress.trouble)
        await self._write_off(progress)  # ended requests and those at fal were followed: the rest stays in doubt
        if not await self._reserve(progress, n):
            self._stop.because("budget", f"the next request could pass the limit of ${self._budget.limit}")
            return progress.unsettled(RowStatus.NOT_SUBMITTED, self._stop.message)
        await progress.place.enter()
        async with self._stop.turn() as may_send:
            if not may_send:
                await self._refund(progress, n, Decimal(0))
                return None
            sending = asyncio.create_task(self._send(progress, n, word))
            self.sending[progress.request.key] = sending
            sending.add_done_callback(lambda _: self.sending.pop(progress.request.key, None))
            return await asyncio.shield(sending)

    async def _send(self, progress: RequestProgress, n: int, word: Word | None) -> Result | None:
        try:
            await self._io(self.open_take, progress.request.key)
            sent = await self._submitter.send(progress.request, n, progress.price.high, word)
        except (ImageReferenceError, ReadError) as trouble:
            await self._refund(progress, n, Decimal(0))
            return progress.unsettled(RowStatus.FAILED, str(trouble))
        if isinstance(sent, Taken):
            return await self._look_again(progress, n)
        attempt, error = sent
        if attempt is not None:
            progress.sent = True
            progress.attempts.extend(Attempt() for _ in range(n + 1 - len(progress.attempts)))
            progress.attempts[n] = attempt
        if attempt is None or attempt.void is not None:
            await self._refund(progress, n, Decimal(0))
        return await self._react(progress, error)

    async def _look_again(self, progress: RequestProgress, n: int) -> Result | None:
        """Take over what another run has on record of a request, whose attempt `n` is that run's."""
        progress.take(await self._io(self._receipts.load, progress.request.key))
        await self._refund(progress, n, Decimal(0))
        if n < len(progress.attempts):
            return None
        words = "an attempt of it is on record, but no listing of the store shows it"
        return progress.unsettled(
            RowStatus.HELD, f"{words}. Nothing is bought until a listing does: check the store, then run again"
        )

    async def _react(self, progress: RequestProgress, error: SubmitError | None) -> Result | None:
        """Handle a submit's result: nothing, a pause, the end of buying, or the end of this row alone."""
        if error is None:
            self._stop.accepted()
            return None
        progress.trouble = str(error)
        if isinstance(error, AmbiguousSubmitError):
            self._stop.left_in_doubt(error)
        elif await self._rejections.is_of_this_request(progress.request.endpoint, error):
            return progress.unsettled(RowStatus.FAILED, progress.trouble)
        return None

    # -- following

    async def _follow(self, progress: RequestProgress) -> Result | None:
        """Follow a request to its end; one that is not available now stays on record, and every run looks for it.

        A key may have several requests: the result of one does not end the search for the others.
        """
        found = next(
            (view for view in in_flight(progress.attempts, progress.owns) if view.request_id not in progress.lost), None
        )
        if found is None:
            is_stored = any(
                o and o.kind == "stored" for attempt in progress.attempts for o in attempt.outcomes.values()
            )
            by = self._results.run if progress.collected else EARLIER
            return (
                settled_of(progress.request.key, progress.attempts, progress.owns, by)
                if is_stored
                else progress.still_at_fal
            )
        return await self._follow_one(progress, found)

    async def _follow_one(self, progress: RequestProgress, view: View) -> Result | None:
        key, attempt = progress.request.key, progress.attempts[view.attempt]
        submitted = as_submitted(self._job.fal, progress.request, attempt, view.request_id)
        self.in_flight[key] = (view.attempt, submitted)
        try:
            outcome = await self._collect(progress, view, submitted)
            if isinstance(outcome, Lost) and progress.is_meant(view, self._job.options.again):
                await self._give_up(progress, view)
                return None
        finally:
            self.in_flight.pop(key, None)
        if isinstance(outcome, Lost | TooLate):
            progress.lost.add(view.request_id)
            progress.still_at_fal = _still_at_fal(key, view.request_id, attempt, outcome)
            return None
        found = await self._record(progress, view, outcome)
        if not found.is_end:
            progress.lost.add(view.request_id)
            why = Lost(f"a webhook of fal's has named its images, but now fal says: {outcome.error}")
            progress.still_at_fal = _still_at_fal(key, view.request_id, attempt, why)
        if found.kind == "free":
            progress.trouble = f"{found.error_type}: {found.error}"
            progress.left -= view.attempt + 1 == len(progress.attempts)
        if found.is_end:
            await self._pay(progress, view.attempt, found.cost_usd)
        return None

    async def _collect(self, progress: RequestProgress, view: View, submitted: Submitted) -> Outcome | Lost | TooLate:
        """Wait for a request's end; one that has ended but is not available gives its place to others meanwhile."""
        accepted, is_aside = progress.attempts[view.attempt].accepted[view.request_id][1], False

        def step_aside() -> None:
            nonlocal is_aside
            if not is_aside and self._aside < ASIDE:
                is_aside, self._aside = True, self._aside + 1
                progress.place.leave()

        until = self._job.runtime.clock.monotonic() + self._job.options.patience
        since = accepted.accepted_at if accepted and not progress.sent else None
        case = Case(
            request=progress.request,
            submitted=submitted,
            price=progress.price,
            fresh=progress.sent,
            until=until,
            accepted_at=since,
            on_wait=step_aside,
        )
        try:
            return await self._collector.collect(case)
        finally:
            self._aside -= is_aside

    async def _record(self, progress: RequestProgress, view: View, outcome: Outcome) -> Outcome:
        """Record an outcome; if another run's is already recorded, that one counts."""
        found = await self._io(self._receipts.create_outcome, progress.request.key, view.attempt, outcome)
        self._job.runtime.reached("after outcome")
        if found == outcome:
            progress.attempts[view.attempt].add_outcome(view.request_id, found)
            progress.recorded.add(view.request_id)
        else:
            progress.take(await self._io(self._receipts.load, progress.request.key))
        if self._webhook_events is not None:
            await self._webhook_events.taken(view.request_id)
        progress.collected |= found.kind != "free"
        return found

    async def _give_up(self, progress: RequestProgress, view: View) -> None:
        """Record that a request was given up; every run still looks for it."""
        fact = GivenUp(request_id=view.request_id, word=progress.word, recorded_at=self._job.runtime.clock.now())
        await self._io(self._receipts.create_given_up, progress.request.key, view.attempt, fact)
        progress.attempts[view.attempt].given_up[view.request_id] = fact

    async def _look_for_given_up(self, progress: RequestProgress) -> None:
        """Look once for each request that was given up: its images count nevertheless."""
        for n, request_id in given_up(progress.attempts, progress.owns):
            view = View("in_flight", n, request_id)
            submitted = as_submitted(self._job.fal, progress.request, progress.attempts[n], request_id)
            until = self._job.runtime.clock.monotonic() + GIVEN_UP.seconds
            case = Case(
                request=progress.request, submitted=submitted, price=progress.price, fresh=False, until=until, once=True
            )
            found = await self._collector.collect(case)
            if isinstance(found, Lost | TooLate):
                progress.lost.add(request_id)
            else:
                await self._record(progress, view, found)

    # -- money

    async def _reserve(self, progress: RequestProgress, n: int) -> bool:
        """Reserve the worst case of attempt `n`; False if that could exceed the limit."""
        if not await self._budget.reserve(progress.price):
            return False
        progress.reserved.add(n)
        return True

    async def _refund(self, progress: RequestProgress, n: int, cost: Decimal | None) -> None:
        """Release a reservation for the billed cost; None: not known, so the worst case counts as spent."""
        if n in progress.reserved:
            progress.reserved.remove(n)
            await self._budget.release(progress.price, cost)

    async def _pay(self, progress: RequestProgress, n: int, cost: Decimal | None) -> None:
        """Count an ended request of attempt `n`, whose cost says nothing about other attempts.

        An attempt may have two requests, if a proxy has sent its POST twice: the second one has no reservation, and
        counts nevertheless.
        """
        intent = progress.attempts[n].intent
        if n in progress.reserved:
            await self._refund(progress, n, cost)
        elif intent is not None and intent.run == self._results.run:
            await self._budget.add(progress.price, cost)

    async def _write_off(self, progress: RequestProgress) -> None:
        """Count remaining reservations as spent: the results are not known, and fal may have billed them."""
        for n in sorted(progress.reserved):
            await self._refund(progress, n, None)


def _still_at_fal(key: str, request_id: str, attempt: Attempt, end: Lost | TooLate) -> Unsettled:
    accepted, intent = attempt.accepted[request_id][1], attempt.intent
    is_lost, words = isinstance(end, Lost), end.why
    if is_lost:
        words = (
            f"its images are not available at fal now: {words}. Every run looks for it; `--again lost` buys it again"
        )
        if intent is not None and intent.cost_high_usd is not None:
            words = f"{words}. fal may have billed up to ${intent.cost_high_usd:f} for it"
    return Unsettled(
        key=key,
        status=RowStatus.LOST if is_lost else RowStatus.IN_FLIGHT,
        error=words,
        request_id=request_id,
        submitted_at=accepted.accepted_at if accepted else None,
        bought_by=intent.run if intent else None,
    )
