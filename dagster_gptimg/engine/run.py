"""A run: plan, follow paid requests, buy missing images, write index and manifest.

One async iterator of events; the last one is `Finished`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from dagster_gptimg.engine.events import Planned, Warned
from dagster_gptimg.engine.feeder import Feeder
from dagster_gptimg.engine.finisher import Finisher
from dagster_gptimg.engine.forecast import forecast
from dagster_gptimg.engine.named_rows import check_named_rows
from dagster_gptimg.engine.plan.plan import Plan
from dagster_gptimg.engine.prepare import prepare
from dagster_gptimg.engine.rebuy_guard import rebuy
from dagster_gptimg.engine.record.results import RunResults
from dagster_gptimg.engine.recover.open_receipts import OpenReceipts
from dagster_gptimg.engine.submit.store_guard import BY_YOUR_WORD
from dagster_gptimg.engine.takes import choose
from dagster_gptimg.store.dataset_list import check_place

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from dagster_gptimg.engine.events import Event
    from dagster_gptimg.engine.job import Job
    from dagster_gptimg.engine.prepare import Prepared
    from dagster_gptimg.engine.record.summary import Summary

T = TypeVar("T")

CLOCK_OFF = 60.0
"""Seconds by which this machine's clock may differ from fal's before a run warns."""


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
    run = await unless(interrupt, prepare(job))
    if run is None:
        return
    feeder = Feeder(run)
    try:
        working = asyncio.create_task(feeder.work(interrupt))
        async for event in _events(run, working):
            yield event
        await working
        end = await Finisher(run, feeder).finish()
        while not run.reports.queue.empty():
            yield run.reports.queue.get_nowait()
        yield end
    finally:
        feeder.close()
        run.worker.close()
        run.planned.__exit__()


async def _events(run: Prepared, working: asyncio.Task[None]) -> AsyncIterator[Event]:
    """Yield events until the work is done."""
    if not run.is_exclusive:
        yield Warned(BY_YOUR_WORD)
    offset = run.job.fal.clock_offset or 0.0
    if abs(offset) > CLOCK_OFF:
        off = f"{abs(offset):.0f} s {'behind' if offset > 0 else 'ahead of'} fal's"
        yield Warned(f"this machine's clock is {off}: correct it. Searches at fal use fal's time")
    yield Planned(run.forecast_now())
    for row_id, paid in run.receipts.paid_twice:
        run.reports.warn_of_double(row_id, paid)
    queue = run.reports.queue
    while not working.done() or not queue.empty():
        getting = asyncio.create_task(queue.get())
        await asyncio.wait({getting, working}, return_when=asyncio.FIRST_COMPLETED)
        if getting.done():
            yield getting.result()
        else:
            getting.cancel()


async def unless(interrupt: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """Return the result of work that sends nothing; None if it was interrupted before its end.

    An interrupted work is not awaited: it may hang in a store.
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
        takes = await job.runtime.io(choose, job, planned, receipts, results)
        told = await job.runtime.io(check_named_rows, job, planned, receipts)
        again = await job.runtime.io(rebuy, job, planned, receipts)
        message = str(again) if again.again else ""
        if again.is_too_much:
            message = f"{message}; a run stops here unless this is allowed"
        message = ". ".join(filter(None, (message, takes.opened, takes.refused, told)))
        return forecast(job, planned, receipts, results).summary(clock.monotonic() - began, message=message)
