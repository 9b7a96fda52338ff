"""The feeder of a run: it starts what was paid for, buys what is missing, and keeps what each request came to."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from dagster_gptimg.base.row_status import RowStatus
from dagster_gptimg.engine.collect.odd_images import Odd
from dagster_gptimg.engine.events import Noticed, Progress
from dagster_gptimg.engine.purchase_rules import Owns, state_of
from dagster_gptimg.engine.record.results import Unsettled
from dagster_gptimg.engine.recover.cancel_queued import cancel_queued
from dagster_gptimg.engine.recover.open_receipts import paid_requests
from dagster_gptimg.engine.reports import words_for
from dagster_gptimg.engine.request_progress import RequestProgress
from dagster_gptimg.engine.submit.in_flight_limit import Place
from dagster_gptimg.errors import GptImgError, StoreError, UnreadableError
from dagster_gptimg.fal.registry.builtin import model_at
from dagster_gptimg.store.receipts.facts import Word

if TYPE_CHECKING:
    from dagster_gptimg.engine.plan.plan import Request
    from dagster_gptimg.engine.prepare import Prepared
    from dagster_gptimg.engine.record.results import Result, RunResults
    from dagster_gptimg.engine.reports import Reports
    from dagster_gptimg.store.receipts.facts import Attempt

WIND_DOWN = 8.0
"""Maximum seconds in which an interrupted run ends its submits and cancels queued requests."""

A_TURN = 500
"""Rows that are processed before other tasks get a turn."""


class Feeder:
    """Gives the requests of one run to its worker.

    Attributes:
        done: requests that have come to a result in this run.
        searching: whether something was found that an earlier run has to be looked after for still.
        store_failed: whether the store could not be used.
        odd: the images that look wrong.
    """

    def __init__(self, run: Prepared) -> None:
        """`run`: what was prepared."""
        self._job, self._planned, self._receipts, self._results = run.job, run.planned, run.receipts, run.results
        self._clock, self._stop, self._budget, self._worker = run.job.runtime.clock, run.stop, run.budget, run.worker
        self._in_flight_limit, self._reports, self._total = run.in_flight_limit, run.reports, run.total
        self._tasks: set[asyncio.Task[None]] = set()
        self._failed = 0
        self._crash: BaseException | None = None
        self._crashed = asyncio.Event()
        self.done = 0
        self.searching, self.store_failed = False, False
        self.odd = Odd()

    def close(self) -> None:
        """Close everything."""
        for task in self._tasks:
            task.cancel()

    async def work(self, interrupt: asyncio.Event) -> None:
        """Feed the workers until nothing is left, the run is stopped, or it is interrupted."""
        if interrupt.is_set():  # interrupted before the work began
            self._stop.because("interrupted", "interrupted before anything was sent")
            return
        feeding = asyncio.create_task(self._feed())
        signals = [asyncio.create_task(event.wait()) for event in (interrupt, self._crashed)]
        await asyncio.wait({feeding, *signals}, return_when=asyncio.FIRST_COMPLETED)
        if interrupt.is_set() or self._crash is not None:
            self._stop.because(
                "interrupted", "interrupted; requests at fal are on record, and the next run collects them"
            )
            await self._wind_down(feeding)
        for signal in signals:
            signal.cancel()
        await asyncio.gather(feeding, *signals, return_exceptions=True)
        if self._crash is None and not feeding.cancelled() and (error := feeding.exception()) is not None:
            self._stop.because("interrupted", f"the rows could not be read completely: {words_for(error)}")
            await self._wind_down(feeding)
            raise error
        if self._crash is not None:
            raise self._crash

    async def _feed(self) -> None:
        """Start with the requests that were paid for; then buy, as far as the limits allow."""
        begun = set[str]()  # a second worker for a request that may be bought would count its cost again
        for request, buys in self._receipts.first(self._planned):
            if buys:
                begun.add(request.key)
            await self._start(request, buys=buys)
        for number, row in enumerate(self._planned if self._total else ()):
            if not number % A_TURN:
                await self._clock.sleep(0)  # let requests in flight proceed
            wanted = [key for key in row.keys if key not in begun and self._is_wanted(key, row.row_id)]
            for request in row.requests if wanted else ():
                if request.key in wanted and not self._stop.reason:
                    await self._start(request, buys=True)
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _is_wanted(self, key: str, row_id: str) -> bool:
        """Return whether a request is to be bought, or its missing images may be fetched from fal."""
        return self._receipts.is_to_buy(key, row_id) or self._receipts.is_missing(key)

    async def _start(self, request: Request, *, buys: bool) -> None:
        """Give one request to a worker as soon as the in-flight limit allows it."""
        place = Place(self._in_flight_limit)
        await place.enter()
        task = asyncio.create_task(self._one(request, place, buys=buys))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Handle a worker's end. An unexpected error ends the run, and is raised when all others have stopped."""
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._crash = self._crash or error
            self._crashed.set()

    async def _one(self, request: Request, place: Place, *, buys: bool) -> None:
        """Process one request, from its facts to its result."""
        owns: Owns = self._receipts.owns(request.key)
        attempts: list[Attempt] | None = None
        try:
            attempts = await self._receipts.attempts(request)
            progress = self._progress(request, attempts, owns, place, buys=buys)
            result = await self._worker.run(progress)
            self.searching |= self._receipts.is_left_open(attempts, owns)
            self._take(request, result)
            self._reports.warn_of_double(request.row_id, paid_requests(attempts))
            await has_written_index(self._results, self._reports, if_due=True)
        except asyncio.CancelledError:
            self._results.leave(self._open_end(request, attempts, owns, "interrupted"))
            raise
        except Exception as error:  # noqa: BLE001 - any error concerns this row only
            if isinstance(error, GptImgError) and not isinstance(error, UnreadableError):
                # An error of the store or the key: nothing more can be recorded or read.
                self.store_failed |= isinstance(error, StoreError)
                self._stop.because("unusable", str(error))
            self._take(request, self._open_end(request, attempts, owns, words_for(error)))
        finally:
            place.leave()

    def _progress(
        self, request: Request, attempts: list[Attempt], owns: Owns, place: Place, *, buys: bool
    ) -> RequestProgress:
        """Return the state of one request for this run."""
        word = Word(id=self._job.options.word or self._results.run, run=self._results.run)
        return RequestProgress(
            request=request,
            attempts=attempts,
            owns=owns,
            price=model_at(request.endpoint, self._job.model).cost(request.arguments, request.sizes),
            buys=buys,
            left=self._job.options.attempts,
            place=place,
            word=word,
            again_applies_to=(
                self._receipts.again_applies_to(request.key, attempts, word) if self._job.options.again else 0
            ),
            seen_at=self._receipts.read_at,
            is_missing=self._results.is_missing(request.key),
        )

    def _open_end(self, request: Request, attempts: list[Attempt] | None, owns: Owns, why: str) -> Result:
        """Return the recorded state of a request whose worker had to stop.

        Args:
            request: the request.
            attempts: its attempts on record; None if its receipts are unreadable.
            owns: which request ids are its own.
            why: the reason, for its row.
        """
        if attempts is None:
            return Unsettled(key=request.key, status=RowStatus.HELD, error=why)
        view = state_of(attempts, owns)
        if self._results.is_missing(request.key) and view.state in {"done", "missing"}:
            return self._results.get(request.key) or Unsettled(
                key=request.key, status=RowStatus.NOT_SUBMITTED, error=why
            )
        if view.state == "in_flight":
            return Unsettled(
                key=request.key,
                status=RowStatus.IN_FLIGHT,
                error=why,
                request_id=view.request_id,
                bought_by=self._results.run,
            )
        if view.state == "held" or request.key in self._worker.sending:
            return Unsettled(
                key=request.key, status=RowStatus.HELD, error=view.reason or why, bought_by=self._results.run
            )
        return Unsettled(key=request.key, status=RowStatus.NOT_SUBMITTED, error=why)

    def _take(self, request: Request, result: Result) -> None:
        """Keep one result, and report it."""
        self.done += 1
        if isinstance(result, Unsettled) or result.kind == "missing":
            self._results.leave(result)
        else:
            self._results.record(result)
            self.odd.look_at(request.row_id, result, self._results.run)
        if result.status.is_trouble:
            self._failed += 1
            self._reports.tell(Noticed(request.row_id, result.request_id, result.status, result.error or ""))
        flying = len(self._worker.in_flight)
        ahead = self._worker.others_ahead
        self._reports.tell(Progress(self.done, self._total, flying, self._failed, self._budget.spent, ahead))

    async def _wind_down(self, feeding: asyncio.Task[None]) -> None:
        """End the submits of an interrupted run, cancel queued requests, and leave the others on record."""
        feeding.cancel()
        await self._worker.sent(WIND_DOWN / 2)
        flying = dict(self._worker.in_flight)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await cancel_queued(self._job, self._results, flying, WIND_DOWN / 2)


async def has_written_index(results: RunResults, reports: Reports, *, if_due: bool = False) -> bool:
    """Write a piece of the index (`if_due`: when enough has come together).

    A failure only causes a warning, as the index is derived.
    """
    try:
        await (results.checkpoint_if_due() if if_due else results.checkpoint())
    except Exception as error:  # noqa: BLE001 - the next one, and the run's end, try again
        reports.warn_once(f"the settled index cannot be written now: {words_for(error)}. The receipts are complete")
        return False
    return True
