"""What happens before a run spends a cent: everything is checked that can be checked, and read that it needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dagster_gptimg.engine.events import Stated
from dagster_gptimg.engine.follow.status_streams import AT_ONCE as STREAMS
from dagster_gptimg.engine.forecast import forecast
from dagster_gptimg.engine.named_rows import check_named_rows
from dagster_gptimg.engine.plan.model_choice import check_choice
from dagster_gptimg.engine.plan.plan import Plan
from dagster_gptimg.engine.rebuy_guard import guard
from dagster_gptimg.engine.record.manifest_rows import Content
from dagster_gptimg.engine.record.results import RunResults
from dagster_gptimg.engine.recover.open_receipts import OpenReceipts
from dagster_gptimg.engine.reports import Reports
from dagster_gptimg.engine.submit.budget import Budget
from dagster_gptimg.engine.submit.in_flight_limit import InFlightLimit
from dagster_gptimg.engine.submit.stop import Stop
from dagster_gptimg.engine.submit.store_guard import check_alone, not_exclusive
from dagster_gptimg.engine.takes import choose
from dagster_gptimg.engine.worker import Worker
from dagster_gptimg.errors import UsageError
from dagster_gptimg.store.dataset import FirstModel
from dagster_gptimg.store.dataset_list import check_place
from dagster_gptimg.store.verdicts.verdict_columns import LastVerdicts
from dagster_gptimg.temporary_files import check_room

if TYPE_CHECKING:
    from dagster_gptimg.engine.job import Job, Options
    from dagster_gptimg.engine.record.summary import Summary, Tally
    from dagster_gptimg.engine.takes import RunTakes


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A run that may begin to send.

    Attributes:
        planned: the rows and their requests.
        results: what is known of the requests' ends.
        receipts: what earlier runs left open.
        forecast: what the run is expected to come to.
        content: what a manifest of these rows says, as far as they have ended.
        verdicts: digest of the verdicts on the dataset's images when the run began.
        takes: the takes of the rows.
        is_exclusive: whether the store's exclusive create keeps other runs from the same rows.
        began: the clock's second.
    """

    job: Job
    planned: Plan
    results: RunResults
    receipts: OpenReceipts
    forecast: Tally
    content: Content
    verdicts: str
    takes: RunTakes
    worker: Worker
    budget: Budget
    stop: Stop
    in_flight_limit: InFlightLimit
    reports: Reports
    is_exclusive: bool
    began: float

    @property
    def total(self) -> int:
        """How many requests are open."""
        return self.forecast.open_requests

    def forecast_now(self) -> Summary:
        """What the run will come to, as a summary of the time until now."""
        return self.forecast.summary(self.job.runtime.clock.monotonic() - self.began)

    def new_content(self) -> Content:
        """What a manifest of these rows says; nothing is added yet."""
        return _content(self.job, self.planned, self.verdicts)


async def prepare(job: Job) -> Prepared:
    """Check everything that can be checked before anything is bought.

    Raises:
        UsageError: something has to be mended first; nothing was sent.
        StoreError: the store cannot be used; nothing was sent.
    """
    planned = await job.runtime.io(Plan, job.rows, job.model)
    try:
        return await _prepare(job, planned)
    except BaseException:
        planned.__exit__()
        raise


async def _prepare(job: Job, planned: Plan) -> Prepared:
    io, clock = job.runtime.io, job.runtime.clock
    await io(check_place, job.dataset)
    is_known = await io(check_alone, job)
    await job.fal.check(job.model.endpoint)
    await io(job.dataset.open, await job.fal.origin(), FirstModel(job.model.name, job.model.endpoint))
    if job.options.is_model_chosen:
        check_choice(job.dataset, job.model)
    run_id = f"{clock.now():%Y%m%dT%H%M%S}-{job.runtime.token()[:8]}"
    began, results, reports = clock.monotonic(), RunResults(job.dataset, io, run_id), Reports()
    stop, budget = Stop(clock), Budget(job.options.max_cost)
    in_flight_limit = InFlightLimit(_most_in_flight(job.options))
    worker = Worker(job, results, budget, stop, in_flight_limit, reports.tell)
    receipts, verdicts = await OpenReceipts.read(job, results), await io(_verdicts, job)
    content = _content(job, planned, verdicts)
    await results.look_at_images()
    takes = await io(choose, job, planned, receipts, results)
    worker.open_take = takes.record
    worker.expect(receipts.in_doubt())
    if takes.opened:
        reports.tell(Stated(takes.opened))
    if takes.refused:
        reports.warn_once(takes.refused)
    if words := await io(check_named_rows, job, planned, receipts):
        reports.warn_once(words)
    await io(guard, job, planned, receipts)
    expected = await io(forecast, job, planned, receipts, results, content)
    if expected.open_requests:
        await io(worker.know, receipts.request_ids())
        await io(check_room, 2 * planned.size)
        await io(job.dataset.try_folders)
    await io(job.dataset.store.remove_parts)
    is_exclusive = await _start(job, run_id) and is_known
    return Prepared(
        job=job,
        planned=planned,
        results=results,
        receipts=receipts,
        forecast=expected,
        content=content,
        verdicts=verdicts,
        takes=takes,
        worker=worker,
        budget=budget,
        stop=stop,
        in_flight_limit=in_flight_limit,
        reports=reports,
        is_exclusive=is_exclusive,
        began=began,
    )


async def _start(job: Job, run_id: str) -> bool:
    """Mark that the run has begun; return whether only one of several creators made the mark. Raises `StoreError`."""
    told = await job.runtime.io(job.dataset.start_run, run_id)
    if told.is_disproved and not job.options.alone:
        await job.runtime.io(job.dataset.end_runs, [run_id])  # nothing was touched
        raise UsageError(not_exclusive(job.dataset, f"has no exclusive create: {told}"))
    return not told.is_disproved


def _most_in_flight(options: Options) -> int | None:
    """Return the maximum requests in flight: with streams, each needs a connection."""
    if options.watch != "stream":
        return options.max_in_flight
    return min(options.max_in_flight or STREAMS, STREAMS)


def _content(job: Job, planned: Plan, verdicts: str) -> Content:
    return Content(job.dataset, job.partition, planned.digest, job.options, verdicts)


def _verdicts(job: Job) -> str:
    return LastVerdicts(job.dataset).digest
