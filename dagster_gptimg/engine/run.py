"""A run: plan, follow what was paid for, buy what is missing, write down what is there.

One async iterator of events; the last one is `Finished`.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from dagster_gptimg.base.plain_text import plain_lines, words_of
from dagster_gptimg.base.row_status import RowStatus
from dagster_gptimg.engine.again import heed
from dagster_gptimg.engine.collect.odd_images import Odd
from dagster_gptimg.engine.events import Event, Finished, Noticed, Planned, Progress, Warned
from dagster_gptimg.engine.follow.status_streams import AT_ONCE as STREAMS
from dagster_gptimg.engine.plan.model_choice import check_choice
from dagster_gptimg.engine.plan.plan import Plan, Request
from dagster_gptimg.engine.rebuy_guard import guard, rebuy
from dagster_gptimg.engine.record.image_table import write_image_table
from dagster_gptimg.engine.record.manifest_rows import Content, Records
from dagster_gptimg.engine.record.results import Result, RunResults, Unsettled
from dagster_gptimg.engine.record.state_table import Owns, state_of
from dagster_gptimg.engine.recover.cancel_queued import cancel_queued
from dagster_gptimg.engine.recover.open_receipts import OpenReceipts, paid_requests
from dagster_gptimg.engine.request_progress import RequestProgress
from dagster_gptimg.engine.submit.budget import Budget
from dagster_gptimg.engine.submit.in_flight_limit import InFlightLimit, Place
from dagster_gptimg.engine.submit.stop import Stop
from dagster_gptimg.engine.worker import Worker
from dagster_gptimg.errors import GptImgError, StoreError, UnreadableError
from dagster_gptimg.fal.registry.builtin import model_at
from dagster_gptimg.store.dataset import FirstModel
from dagster_gptimg.store.dataset_list import check_place
from dagster_gptimg.store.manifest import about_manifest, manifest_name
from dagster_gptimg.store.receipts.facts import Word
from dagster_gptimg.temporary_files import check_room

_log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from dagster_gptimg.engine.job import Job, Options
    from dagster_gptimg.engine.record.summary import Summary, Tally
    from dagster_gptimg.store.receipts.facts import Attempt

T = TypeVar("T")

WIND_DOWN = 8.0
"""Seconds that an interrupted run takes at most to end its submits and cancel what is still queued."""

CLOCK_OFF = 60.0
"""Seconds by which this machine's clock may differ from fal's before a run says so."""

A_TURN = 500
"""Rows that are looked at in one go while other tasks wait."""

NOT_EXCLUSIVE = (
    "this store has no exclusive create: two runs at once could buy a row twice. See to it yourself that only one run "
    "uses this dataset at a time"
)


async def generate(job: Job, interrupt: asyncio.Event) -> AsyncIterator[Event]:
    """Turn a job's rows into images.

    Args:
        job: what to do.
        interrupt: set it to have the run end orderly within 10 s: queued requests are cancelled, the rest is on record.

    Yields:
        `Planned`, then `Progress` and `Noticed`, then `Finished`; nothing when it was interrupted before it began.

    Raises:
        UsageError: something has to be mended first; nothing was sent.
        StoreError: the store cannot be used; nothing was sent. (Later, it ends the run with `stop="unusable"`.)
    """
    run = await unless(interrupt, _Run.begin(job))
    if run is None:
        return
    try:
        working = asyncio.create_task(run.work(interrupt))
        async for event in run.events(working):
            yield event
        await working
        end = await run.finish()
        while not run.queue.empty():
            yield run.queue.get_nowait()
        yield end
    finally:
        run.close()


async def unless(interrupt: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """What some work comes to that sends nothing; None when it was interrupted before its end.

    It is not waited for then: it may hang in a store.
    """
    working, interrupted = asyncio.create_task(work), asyncio.create_task(interrupt.wait())
    try:
        await asyncio.wait({working, interrupted}, return_when=asyncio.FIRST_COMPLETED)
        return await working if working.done() else None
    finally:
        working.cancel()
        interrupted.cancel()


async def plan(job: Job) -> Summary:
    """What `generate` would buy and reuse, and what that costs. Needs no key and no network; buys nothing.

    Raises:
        UsageError: something has to be mended first.
        StoreError: the store cannot be read.
    """
    clock = job.runtime.clock
    began = clock.monotonic()
    results = RunResults(job.dataset, job.runtime.io, "plan")
    with await job.runtime.io(Plan, job.rows, job.model) as planned:
        await job.runtime.io(check_place, job.dataset)
        receipts = await OpenReceipts.read(job, results)
        await results.look_at_images()
        told = await job.runtime.io(heed, job, planned, receipts)
        again = await job.runtime.io(rebuy, job, planned, receipts)
        message = str(again) if again.again else ""
        if again.is_too_much:
            message = f"{message}; a run stops there unless it is allowed"
        message = ". ".join(filter(None, (message, told)))
        return receipts.forecast(planned).summary(clock.monotonic() - began, message=message)


def most_in_flight(options: Options) -> int | None:
    """Requests in flight at most: where fal tells by streams, each has a connection."""
    if options.watch != "stream":
        return options.max_in_flight
    return min(options.max_in_flight or STREAMS, STREAMS)


class _Run:
    """One run's parts, and how they come together."""

    def __init__(self, job: Job, planned: Plan, results: RunResults) -> None:
        self.job, self.planned, self.results = job, planned, results
        self.clock, self.io = job.runtime.clock, job.runtime.io
        self.stop = Stop(job.runtime.clock)
        self.budget = Budget(job.options.max_cost)
        self.in_flight_limit = InFlightLimit(most_in_flight(job.options))
        self.queue: asyncio.Queue[Event] = asyncio.Queue()
        self.worker = Worker(job, results, self.budget, self.stop, self.in_flight_limit, self.queue.put_nowait)
        self.done = self.total = self.failed = 0
        self.searching, self.exclusive, self.store_failed = False, True, False
        self.tasks: set[asyncio.Task[None]] = set()
        self.warned: set[str] = set()
        self.odd = Odd()
        self.crash: BaseException | None = None
        self.crashed = asyncio.Event()
        self.began = self.clock.monotonic()
        self.receipts: OpenReceipts
        self.forecast: Tally
        self.content = self.new_content()

    @classmethod
    async def begin(cls, job: Job) -> _Run:
        """Check everything that can be checked before a cent is spent."""
        io, clock = job.runtime.io, job.runtime.clock
        planned = await io(Plan, job.rows, job.model)
        try:
            await io(check_place, job.dataset)
            await job.fal.check(job.model.endpoint)
            await io(job.dataset.open, await job.fal.origin(), FirstModel(job.model.name, job.model.endpoint))
            if job.options.is_model_chosen:
                check_choice(job.dataset, job.model)
            run_id = f"{clock.now():%Y%m%dT%H%M%S}-{job.runtime.token()[:8]}"
            run = cls(job, planned, RunResults(job.dataset, io, run_id))
            run.receipts = await OpenReceipts.read(job, run.results)
            await run.results.look_at_images()
            run.worker.expect(run.receipts.in_doubt())
            if words := await io(heed, job, planned, run.receipts):
                run.warn_once(words)
            await io(guard, job, planned, run.receipts)
            run.forecast = await io(run.receipts.forecast, planned, run.content)
            run.total = run.forecast.open_requests
            if run.total:
                await io(run.worker.know, run.receipts.request_ids())
                await io(check_room, 2 * planned.size)
                await io(job.dataset.try_folders)
            await io(job.dataset.store.remove_parts)
            run.exclusive = await io(job.dataset.start_run, run_id)
        except BaseException:
            planned.__exit__()
            raise
        return run

    def close(self) -> None:
        """Leave nothing behind."""
        for task in self.tasks:
            task.cancel()
        self.worker.close()
        self.planned.__exit__()

    # -- the work

    async def events(self, working: asyncio.Task[None]) -> AsyncIterator[Event]:
        """What happens, until the work is done."""
        if not self.exclusive:
            yield Warned(NOT_EXCLUSIVE)
        offset = self.job.fal.clock_offset or 0.0
        if abs(offset) > CLOCK_OFF:
            off = f"{abs(offset):.0f} s {'behind' if offset > 0 else 'ahead of'} fal's"
            yield Warned(
                f"this machine's clock is {off}: set it right. What is searched at fal is searched by fal's time"
            )
        yield Planned(self.forecast.summary(self.clock.monotonic() - self.began))
        for row_id, paid in self.receipts.paid_twice:
            self.warn_of_double(row_id, paid)
        while not working.done() or not self.queue.empty():
            getting = asyncio.create_task(self.queue.get())
            await asyncio.wait({getting, working}, return_when=asyncio.FIRST_COMPLETED)
            if getting.done():
                yield getting.result()
            else:
                getting.cancel()

    async def work(self, interrupt: asyncio.Event) -> None:
        """Feed the workers until there is nothing left, the run is stopped, or somebody interrupts it."""
        if interrupt.is_set():  # somebody ended the run before its work began
            self.stop.because("interrupted", "interrupted before anything was sent")
            return
        feeding = asyncio.create_task(self.feed())
        signals = [asyncio.create_task(event.wait()) for event in (interrupt, self.crashed)]
        await asyncio.wait({feeding, *signals}, return_when=asyncio.FIRST_COMPLETED)
        if interrupt.is_set() or self.crash is not None:
            self.stop.because("interrupted", "interrupted; what fal has is on record, and the next run collects it")
            await self.wind_down(feeding)
        for signal in signals:
            signal.cancel()
        await asyncio.gather(feeding, *signals, return_exceptions=True)
        if self.crash is None and not feeding.cancelled() and (error := feeding.exception()) is not None:
            self.stop.because("interrupted", f"the rows could not be read to their end: {self.words_of(error)}")
            await self.wind_down(feeding)
            raise error
        if self.crash is not None:
            raise self.crash

    async def feed(self) -> None:
        """Start with what was paid for; then buy, as far as the window allows."""
        for request, buys in self.receipts.first(self.planned):
            await self.start(request, buys=buys)
        for number, row in enumerate(self.planned if self.total else ()):
            if not number % A_TURN:
                await self.clock.sleep(0)  # what is in flight wants a turn, too
            wanted = [key for key in row.keys if self.is_wanted(key, row.row_id)]
            for request in row.requests if wanted else ():
                if request.key in wanted and not self.stop.reason:
                    await self.start(request, buys=True)
        while self.tasks:
            await asyncio.wait(self.tasks)

    def is_wanted(self, key: str, row_id: str) -> bool:
        """Whether a request is to be bought, or its images are gone and may be had from fal."""
        return self.receipts.is_to_buy(key, row_id) or self.receipts.is_missing(key)

    async def start(self, request: Request, *, buys: bool) -> None:
        """Give one request to a worker as soon as the window has room."""
        place = Place(self.in_flight_limit)
        await place.enter()
        task = asyncio.create_task(self.one(request, place, buys=buys))
        self.tasks.add(task)
        task.add_done_callback(self.ended)

    def ended(self, task: asyncio.Task[None]) -> None:
        """A worker's end. An error that nobody expected ends the run, and is raised when all others have stopped."""
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.crash = self.crash or error
            self.crashed.set()

    async def one(self, request: Request, place: Place, *, buys: bool) -> None:
        """One request, from its facts to its result."""
        owns: Owns = self.receipts.owns(request.key)
        attempts: list[Attempt] | None = None
        try:
            attempts = await self.receipts.attempts(request)
            progress = self.progress(request, attempts, owns, place, buys=buys)
            result = await self.worker.run(progress)
            self.searching |= self.receipts.is_left_open(attempts, owns)
            self.take(request, result)
            self.warn_of_double(request.row_id, paid_requests(attempts))
            await self.has_written_index(if_due=True)
        except asyncio.CancelledError:
            self.results.leave(self.open_end(request, attempts, owns, "interrupted"))
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this row's, and no other's
            if isinstance(error, GptImgError) and not isinstance(error, UnreadableError):
                # The store, or the key: nothing more can be recorded or read.
                self.store_failed |= isinstance(error, StoreError)
                self.stop.because("unusable", str(error))
            self.take(request, self.open_end(request, attempts, owns, self.words_of(error)))
        finally:
            place.leave()

    def words_of(self, error: BaseException) -> str:
        """What a row shows of an error; one that nobody expected is logged with its trace."""
        if not isinstance(error, GptImgError):
            trace = plain_lines("".join(traceback.format_exception(error)))
            _log.error("a request ended in an error that nobody expected\n%s", trace)
        return f"{type(error).__name__}: {words_of(error)}" if not isinstance(error, GptImgError) else str(error)

    def progress(
        self, request: Request, attempts: list[Attempt], owns: Owns, place: Place, *, buys: bool
    ) -> RequestProgress:
        """One request on its way through this run."""
        word = Word(id=self.job.options.word or self.results.run, run=self.results.run)
        return RequestProgress(
            request=request,
            attempts=attempts,
            owns=owns,
            price=model_at(request.endpoint, self.job.model).cost(request.arguments),
            buys=buys,
            left=self.job.options.attempts,
            place=place,
            word=word,
            spoken=self.receipts.spoken_of(request.key, attempts, word) if self.job.options.again else 0,
            seen_at=self.receipts.read_at,
            is_missing=self.results.is_missing(request.key),
        )

    def open_end(self, request: Request, attempts: list[Attempt] | None, owns: Owns, why: str) -> Result:
        """What stands on record of a request whose worker had to stop in the middle.

        `attempts`: None where its receipts could not be read: what they say may be anything.
        """
        if attempts is None:
            return Unsettled(request.key, RowStatus.HELD, None, why)
        view = state_of(attempts, owns)
        if self.results.is_missing(request.key) and view.state in {"done", "missing"}:
            return self.results.get(request.key) or Unsettled(request.key, RowStatus.NOT_SUBMITTED, None, why)
        if view.state == "in_flight":
            return Unsettled(request.key, RowStatus.IN_FLIGHT, None, why, view.request_id, bought_by=self.results.run)
        if view.state == "held" or request.key in self.worker.sending:
            return Unsettled(request.key, RowStatus.HELD, None, view.reason or why, bought_by=self.results.run)
        return Unsettled(request.key, RowStatus.NOT_SUBMITTED, None, why)

    def take(self, request: Request, result: Result) -> None:
        """Keep one result, and report it."""
        self.done += 1
        if isinstance(result, Unsettled) or result.kind == "missing":
            self.results.leave(result)
        else:
            self.results.record(result)
            self.odd.look_at(request.row_id, result, self.results.run)
        if result.status.is_trouble:
            self.failed += 1
            self.queue.put_nowait(Noticed(request.row_id, result.request_id, result.status, result.error or ""))
        flying = len(self.worker.in_flight)
        self.queue.put_nowait(Progress(self.done, self.total, flying, self.failed, self.budget.spent))

    async def has_written_index(self, *, if_due: bool = False) -> bool:
        """Write a piece of the index (`if_due`: when enough has come together).

        It is derived: a failure of it is only told.
        """
        try:
            await (self.results.checkpoint_if_due() if if_due else self.results.checkpoint())
        except Exception as error:  # noqa: BLE001 - the next one, and the run's end, try again
            self.warn_once(f"the settled index cannot be written now: {self.words_of(error)}. Receipts have everything")
            return False
        return True

    def warn_once(self, message: str) -> None:
        """Tell something about the whole run, once."""
        if message not in self.warned:
            self.warned.add(message)
            self.queue.put_nowait(Warned(message))

    def warn_of_double(self, row_id: str, paid: list[str]) -> None:
        """A second purchase that happened all the same is collected, counted, and never passed over in silence."""
        if len(paid) > 1:
            words = f"requests {', '.join(paid)} were all billed for it; their sum stands in the image table"
            self.queue.put_nowait(Noticed(row_id, paid[-1], "paid_twice", words))

    async def wind_down(self, feeding: asyncio.Task[None]) -> None:
        """Interrupted: end the submits, cancel what still waits in fal's queue, leave the rest on record."""
        feeding.cancel()
        await self.worker.sent(WIND_DOWN / 2)
        flying = dict(self.worker.in_flight)
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await cancel_queued(self.job, self.results, flying, WIND_DOWN / 2)

    # -- the end

    async def finish(self) -> Finished:
        """Write index and manifest, and mark the run's end when nothing is open."""
        if words := str(self.odd):
            self.warn_once(words)
        if (uri := await self.unchanged()) is not None:
            if await self.has_written_index():
                await self.end_marks()
            return Finished(self.forecast.summary(self.clock.monotonic() - self.began), uri)
        records = self.records()
        try:
            await self.results.checkpoint()
            uri = await self.io(write_image_table, self.job, self.planned, records)
            await self.end_marks()
        except Exception as error:  # noqa: BLE001 - index and image table are derived: what was paid for is on record
            self.warn_once(
                f"index or image table could not be written: {self.words_of(error)}. Run again to write them"
            )
            if isinstance(error, GptImgError):
                self.store_failed |= isinstance(error, StoreError)
                self.stop.because("unusable", str(error))
            if uri is None:  # count all the same
                records = self.records()
                try:
                    await self.io(records.count)
                except GptImgError:
                    self.warn_once("not everything could be counted: run again to see what is there")
        seconds = self.clock.monotonic() - self.began
        summary = records.tally.summary(seconds, self.stop.reason, self.stop.message)
        summary = replace(summary, refetched=self.worker.refetched)
        return Finished(summary, uri, self.store_failed, self.budget.spent)

    async def unchanged(self) -> str | None:
        """Where the manifest is, if it says what it would say now; None when it has to be written."""
        if self.total or self.done or self.stop.reason or not str(self.content):
            return None
        dataset, partition = self.job.dataset, self.job.partition
        try:
            about = await self.io(about_manifest, dataset, partition)
        except (FileNotFoundError, StoreError):
            return None
        return dataset.uri(manifest_name(partition)) if about.content == str(self.content) else None

    def new_content(self) -> Content:
        """What a manifest of this run's rows says; nothing is added yet."""
        return Content(self.job.dataset, self.job.partition, self.planned.digest, self.job.options)

    def records(self) -> Records:
        """The manifest's records, to be written or only counted."""
        return Records(self.job.dataset, self.job.partition, self.planned, self.results, self.new_content())

    async def end_marks(self) -> None:
        """A run whose mark has no end makes the next one list all receipts."""
        if self.results.unsettled or self.searching or self.stop.reason in {"unusable", "interrupted"}:
            return
        await self.io(self.job.dataset.end_runs, [self.results.run])
        yesterday = f"{self.clock.now() - timedelta(days=1):%Y%m%dT%H%M%S}"
        await self.io(self.job.dataset.end_runs, self.receipts.ended_runs(yesterday))
        if self.results.index.lost and not self.stop.reason and self.receipts.has_nothing_open():
            await self.io(self.results.index.drop_lost)
        await self.io(self.results.index.merge, f"{self.results.run}-merged")
