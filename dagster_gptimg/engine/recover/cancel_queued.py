"""Cancelling of queued requests when a run is interrupted."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING

from dagster_gptimg.base.row_status import RowStatus
from dagster_gptimg.engine.record.results import Unsettled
from dagster_gptimg.errors import GptImgError
from dagster_gptimg.fal.types import Queued
from dagster_gptimg.store.receipts.facts import CANCELLED, Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagster_gptimg.engine.job import Job
    from dagster_gptimg.engine.record.results import RunResults
    from dagster_gptimg.fal.types import Submitted

AT_ONCE = 16


async def cancel_queued(
    job: Job, results: RunResults, flying: Mapping[str, tuple[int, Submitted]], seconds: float
) -> None:
    """Cancel requests that wait in fal's queue, within `seconds`; note those that stay in flight.

    Running requests are not cancelled: it is not known whether that would save their price, and it would lose their
    image. A cancel counts only if fal says that the request left the queue.
    """
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(key: str, n: int, request: Submitted) -> None:
        async with slots:
            if await _cancelled(job, key, n, request):
                results.leave(
                    Unsettled(
                        key=key,
                        status=RowStatus.NOT_SUBMITTED,
                        error_type="cancelled",
                        error="cancelled in fal's queue, free of charge",
                    )
                )

    for key, (_, request) in flying.items():
        words = "interrupted while fal was processing it; the next run collects it"
        results.leave(
            Unsettled(
                key=key,
                status=RowStatus.IN_FLIGHT,
                error=words,
                request_id=request.request_id,
                bought_by=results.run,
            )
        )
    tasks = [asyncio.create_task(one(key, n, request)) for key, (n, request) in flying.items()]
    if tasks:
        _, late = await asyncio.wait(tasks, timeout=seconds)
        for task in late:
            task.cancel()


async def _cancelled(job: Job, key: str, n: int, request: Submitted) -> bool:
    try:
        if not isinstance(await job.fal.status(request), Queued):
            return False
        if not (await job.fal.cancel(request)).removed:
            return False
        now = job.runtime.clock.now()
        outcome = Outcome(
            request_id=request.request_id,
            kind="free",
            cost_usd=Decimal(0),
            error_type=CANCELLED,
            error="cancelled in fal's queue",
            evidence="fal said that it left the queue",
            completed_at=now,
            recorded_at=now,
        )
        await job.runtime.io(job.dataset.receipts.create_outcome, key, n, outcome)
    except GptImgError:
        return False  # it stays in flight, on record
    return True
