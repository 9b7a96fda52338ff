"""The row ids in `again`: each must be a row of the table, and one that has its images is reported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagster_gptimg.base.plain_text import counted
from dagster_gptimg.base.row_status import AGAIN
from dagster_gptimg.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dagster_gptimg.engine.job import Job
    from dagster_gptimg.engine.plan.plan import Plan
    from dagster_gptimg.engine.recover.open_receipts import OpenReceipts

NAMED = 10


def check_named_rows(job: Job, planned: Plan, receipts: OpenReceipts) -> str:
    """Check the row ids in `again`; return a message about those that have their images and are not bought. Blocks.

    Raises:
        UsageError: no row of the table has such an id: a misspelt word must not pass for "nothing to do".
    """
    wanted, regenerate = job.options.again.difference(AGAIN), job.options.regenerate
    if strange := regenerate - ({row.row_id for row in planned} if regenerate else set()):
        raise UsageError(f"regenerate: no row has the id {_names(strange)}. Nothing was sent")
    rows = [row for row in planned if row.row_id in wanted] if wanted else []
    if unknown := wanted - {row.row_id for row in rows}:
        msg = f"again: no row has the id {_names(unknown)}; use {', '.join(sorted(AGAIN))} or a row's id"
        raise UsageError(msg)
    had = {row.row_id for row in rows if all(receipts.has_images(key) for key in row.keys)}
    if not had:
        return ""
    what = f"again: {counted(len(had), 'row')} ({_names(had)}) had all images before, and nothing is bought for them"
    return f"{what}: a stored image is never bought again. `regenerate` buys another take of a row"


def _names(row_ids: Iterable[str]) -> str:
    return ", ".join(repr(name[:80]) for name in sorted(row_ids)[:NAMED])
