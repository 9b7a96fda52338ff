"""One request's way: read the state from its facts, do what the table says, and look again.

Every step adds a fact, and the state table decides what comes next; nothing else does. A worker holds no lock and
may die
anywhere: what it knew is on record, or is in doubt and shown.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from dagster_gptimg.batch.arrivals import Arrivals
from dagster_gptimg.batch.collect import Collector, LostError
from dagster_gptimg.batch.doubt import Doubt
from dagster_gptimg.batch.ledger import EARLIER, Ledger, Result, Unsettled, settled_of
from dagster_gptimg.batch.news import News
from dagster_gptimg.batch.state import Owns, View, state_of
from dagster_gptimg.batch.streams import Streams
from dagster_gptimg.batch.submit import Submitter, TakenError
from dagster_gptimg.batch.watch import TooLateError, Watcher
from dagster_gptimg.errors import (
    AccountLockedError,
    ImageReferenceError,
    NotSentError,
    ReadError,
    RejectedError,
    SubmitError,
)
from dagster_gptimg.fal.models import model_at
from dagster_gptimg.store.facts import Attempt, Intent

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from dagster_gptimg.batch.budget import Budget
    from dagster_gptimg.batch.events import Updated
    from dagster_gptimg.batch.job import Job
    from dagster_gptimg.batch.plan import Request
    from dagster_gptimg.batch.stop import Stop
    from dagster_gptimg.batch.window import Place, Window
    from dagster_gptimg.fal.prices import Price
    from dagster_gptimg.fal.types import Submitted

SUBMITS = 8
"""Submits at once: what a crash leaves in doubt is at most these."""

TOO_MANY = 429
TELLS_ABOUT_ALL = frozenset({401, 404})
"""Rejections that speak of the key or the endpoint, not of one row: they stop the run."""


@dataclass(slots=True)
class Way:
    """One request on its way through a run.

    Attributes:
        attempts: its facts on record; added to as they are made.
        owns: whose an id is.
        price: US dollars, at least and at most.
        buys: False for a request that no row asks for any more: it is collected, and never bought.
        left: attempts that this run may still make.
        sent: whether this run has claimed an attempt of it.
        reserved: whether its price is reserved now.
        place: its place in the window.
        began: what its facts said when it began: of nothing else does the user's word speak.
        collected: whether this run has recorded an outcome of it.
        trouble: what went wrong last.
    """

    request: Request
    attempts: list[Attempt]
    owns: Owns
    price: Price
    buys: bool
    left: int
    place: Place
    began: View
    sent: bool = False
    reserved: bool = False
    collected: bool = False
    trouble: str = ""

    def view(self) -> View:
        """What the facts say now."""
        return state_of(self.attempts, self.owns)

    def is_meant(self, view: View, again: Collection[str]) -> bool:
        """Whether the user's word speaks of what its facts say.

        It speaks of what was refused or held when the run began, never of what this run or another has opened since.
        """
        is_old = (view.state, view.attempt) == (self.began.state, self.began.attempt)
        return self.buys and is_old and (view.state in again or self.request.row_id in again)

    def unsettled(self, status: Literal["failed", "held", "not_submitted"], error: str = "") -> Unsettled:
        """This request, without a final outcome."""
        return Unsettled(self.request.key, status, None, error or None)


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
        self._window = window
        self._arrivals = Arrivals(job, ledger.run) if job.options.watch == "webhook" else None
        self._watcher = Watcher(job, window, Streams(job) if job.options.watch == "stream" else self._arrivals)
        self._collector = Collector(job, self._watcher, News(tell) if job.options.logs else None, self._arrivals)
        self._slots = asyncio.Semaphore(SUBMITS)
        self.sending: dict[str, asyncio.Task[Result | None]] = {}
        self.in_flight: dict[str, tuple[int, Submitted]] = {}

    async def sent(self, seconds: float) -> None:
        """Let the submits that are under way come to their end, as far as they do within `seconds`.

        An interrupt must not tear a submit apart: what it brought would be in doubt.
        """
        if self.sending:
            await asyncio.wait(self.sending.values(), timeout=seconds)

    def expect(self, intents: Iterable[Intent]) -> None:
        """These were found in doubt when the run began."""
        self._doubt.expect(intents)

    def close(self) -> None:
        """Leave nothing behind."""
        self._watcher.close()

    async def settle(
        self, request: Request, attempts: list[Attempt], owns: Owns, place: Place, *, buys: bool = True
    ) -> Result:
        """Follow, collect, buy or resolve one request until nothing more can be done now.

        Args:
            request: what a row needs.
            attempts: its facts on record.
            owns: whose an id is that was found more than once.
            place: in the window; it is left while nothing is in flight.
            buys: False collects what was paid for, and buys nothing.

        Raises:
            StoreError: the store cannot be used.
        """
        price = model_at(request.endpoint, self._job.model).cost(request.arguments)
        way = Way(request, attempts, owns, price, buys, self._job.options.attempts, place, state_of(attempts, owns))
        try:
            await self._doubt.search(way)
            result = None
            while result is None:
                result = await self._step(way)
            return result
        finally:
            await self._refund(way, None)

    async def _step(self, way: Way) -> Result | None:
        """What the table says to do now; a result when nothing more can be done."""
        view = way.view()
        if view.state == "in_flight":
            return await self._follow(way, view)
        if view.state == "held":
            way.place.leave()  # it may be looked for for minutes, and others can be bought meanwhile
            return await self._doubt.resolve(way, view)
        if view.state == "done" or (view.state == "refused" and not way.is_meant(view, self._job.options.again)):
            by = self._ledger.run if way.collected else EARLIER
            return settled_of(way.request.key, way.attempts, way.owns, by)
        if not way.buys or self._stop.reason:
            return way.unsettled("not_submitted", self._stop.message)
        if not way.left:
            return way.unsettled("failed", way.trouble)
        return await self._buy(way, view.attempt + (view.state == "refused"))

    # -- buying

    async def _buy(self, way: Way, n: int) -> Result | None:
        """Create attempt `n` and send it."""
        if not await self._reserve(way):
            self._stop.because("budget", f"the next request could pass the limit of ${self._budget.limit}")
            return way.unsettled("not_submitted", self._stop.message)
        await way.place.enter()
        async with self._slots:
            await self._stop.pause()
            if self._stop.reason:
                return None
            sending = asyncio.create_task(self._send(way, n))
            self.sending[way.request.key] = sending
            sending.add_done_callback(lambda _: self.sending.pop(way.request.key, None))
            return await asyncio.shield(sending)

    async def _send(self, way: Way, n: int) -> Result | None:
        way.left -= 1
        try:
            attempt, error = await self._submitter.send(way.request, n, way.price.high)
        except TakenError:
            way.attempts[:] = await self._io(self._receipts.load, way.request.key)
            await self._refund(way, Decimal(0))
            return None
        except (ImageReferenceError, ReadError) as trouble:
            await self._refund(way, Decimal(0))
            return way.unsettled("failed", str(trouble))
        if attempt is not None:
            way.sent = True
            way.attempts.extend(Attempt() for _ in range(n + 1 - len(way.attempts)))
            way.attempts[n] = attempt
        if attempt is None or attempt.void is not None:
            await self._refund(way, Decimal(0))
        return self._react(way, error)

    def _react(self, way: Way, error: SubmitError | None) -> Result | None:
        """What a submit's end means for the run: nothing, wait a little, stop, or give this row up for now."""
        if error is None:
            self._stop.speed_up()
            return None
        way.trouble = str(error)
        if isinstance(error, AccountLockedError):
            self._stop.because("locked", way.trouble)
        elif isinstance(error, NotSentError):
            self._stop.slow_down(error)
        elif isinstance(error, RejectedError):
            return self._rejected(way, error)
        return None

    def _rejected(self, way: Way, error: RejectedError) -> Result | None:
        if error.status_code == TOO_MANY:
            self._window.turned_away()
            self._stop.slow_down(error, error.retry_after)
        elif error.status_code in TELLS_ABOUT_ALL:
            self._stop.because("unusable", way.trouble)
        else:
            return way.unsettled("failed", way.trouble)
        return None

    # -- following

    async def _follow(self, way: Way, view: View) -> Result | None:
        key, attempt = way.request.key, way.attempts[view.attempt]
        submitted = self._submitted(way.request, view.request_id, attempt)
        self.in_flight[key] = (view.attempt, submitted)
        try:
            outcome = await self._collector.collect(way.request, submitted, way.price, fresh=way.sent)
        except (LostError, TooLateError) as error:
            self.in_flight.pop(key)
            return _still_at_fal(key, view.request_id, attempt, error)
        self.in_flight.pop(key)
        await self._io(self._receipts.create_outcome, key, view.attempt, outcome)
        self._job.runtime.reached("after outcome")
        attempt.outcomes[view.request_id] = outcome
        if self._arrivals is not None:
            await self._arrivals.taken(view.request_id)
        way.collected = True
        if outcome.kind == "free":
            way.trouble = f"{outcome.error_type}: {outcome.error}"
        await self._refund(way, outcome.cost_usd)
        return None

    def _submitted(self, request: Request, request_id: str, attempt: Attempt) -> Submitted:
        """The request with the URLs that fal gave; an unreadable record still tells the id by its name."""
        known = attempt.accepted[request_id][1]
        if known is None:
            return self._job.fal.request(request.endpoint, request_id)
        return self._job.fal.request(known.endpoint, request_id, known.status_url, known.response_url, known.cancel_url)

    # -- money

    async def _reserve(self, way: Way) -> bool:
        if not way.reserved:
            way.reserved = await self._budget.reserve(way.price)
        return way.reserved

    async def _refund(self, way: Way, cost: Decimal | None) -> None:
        """Give a reservation back for what was billed; None: nobody knows, so the worst case counts as spent."""
        if way.reserved:
            way.reserved = False
            await self._budget.settle(way.price, cost)


def _still_at_fal(key: str, request_id: str, attempt: Attempt, error: Exception) -> Unsettled:
    accepted, intent = attempt.accepted[request_id][1], attempt.intent
    is_lost, words = isinstance(error, LostError), str(error)
    if is_lost and intent is not None and intent.cost_high_usd is not None:
        words = f"{words}; fal may have billed up to ${intent.cost_high_usd:f} for it"
    return Unsettled(
        key=key,
        status="lost" if is_lost else "in_flight",
        error=words,
        request_id=request_id,
        submitted_at=accepted.accepted_at if accepted else None,
        bought_by=intent.run if intent else None,
    )
