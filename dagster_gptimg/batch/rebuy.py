"""The guard against buying everything again: a changed template, model or default moves every request key.

The previous manifest of the partition knows which rows have images, and the recipe (template, model, arguments) that
they were made with. Under another recipe, a row that has images and of which nothing is settled any more would be
bought again.
"""

from __future__ import annotations

import hashlib
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from dagster_gptimg.digests import SIZE, DigestCounts
from dagster_gptimg.errors import RebuyError, UnreadableError
from dagster_gptimg.fal.prices import Price
from dagster_gptimg.store.manifest import digests_of, scan_manifest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pyarrow as pa

    from dagster_gptimg.batch.job import Job
    from dagster_gptimg.batch.open_receipts import OpenReceipts
    from dagster_gptimg.batch.plan import Plan, PlannedRow

SHARE = Decimal("0.1")
"""The share of the rows with images that may be bought again without a word."""


class Rebuy(NamedTuple):
    """What would be bought again.

    Attributes:
        settled: rows that have images, made with another recipe.
        again: rows of these that would be bought again.
        low, high: US dollars for these.
    """

    settled: int
    again: int
    low: Decimal
    high: Decimal

    @property
    def is_too_much(self) -> bool:
        """Whether somebody should say that they mean it."""
        return self.again > SHARE * self.settled

    def __str__(self) -> str:
        return (
            f"{self.again} of the {self.settled} rows that have images would be bought again, for "
            f"{Price(self.low, self.high)}: they were "
            "made with another template, model or arguments"
        )


def guard(job: Job, planned: Plan, receipts: OpenReceipts) -> None:
    """Stop a run that would buy much of what is there again, unless that is allowed. Blocks.

    Raises:
        RebuyError: it would; nothing was sent.
        StoreError: the store cannot be read.
    """
    if job.options.allow_rebuy:
        return
    found = rebuy(job, planned, receipts)
    if found.is_too_much:
        msg = f"{found}. Nothing was sent. If you mean it, allow it: allow_rebuy in the run's config, or --allow-rebuy"
        raise RebuyError(msg)


def rebuy(job: Job, planned: Plan, receipts: OpenReceipts) -> Rebuy:
    """What a run would buy again because its recipe is another one. Blocks. Raises `StoreError`."""
    nothing = Rebuy(0, 0, Decimal(0), Decimal(0))
    try:
        recipe, _ = digests_of(job.dataset, job.partition)
        if recipe == job.options.recipe:
            return nothing
        earlier = _Earlier(scan_manifest(job.dataset, job.partition, list(_WANTED)))
    except (FileNotFoundError, UnreadableError):  # derived: what it would have told is not known
        return nothing
    again, low, high = 0, Decimal(0), Decimal(0)
    for row in planned if earlier.rows else ():
        if earlier.has(row) and all(receipts.is_to_buy(key, row.row_id) for key in row.keys):
            prices = row.prices
            again += 1
            low, high = low + sum(p.low for p in prices), high + sum(p.high for p in prices)
    return Rebuy(earlier.rows, again, low, high)


class _Earlier:
    """The rows of a manifest that have their images, to be known again: by their id, or by their content.

    A row's id may be derived from its prompt, so a new template changes it; then the row's other columns tell, when no
    two rows have the same.

    Attributes:
        rows: how many.
    """

    def __init__(self, batches: Iterable[pa.RecordBatch]) -> None:
        self.rows = 0
        self._known, self._columns = DigestCounts(), DigestCounts()
        last = ""
        for row_id, prompt, columns in _stored(batches):
            if row_id != last:
                self.rows += 1
                self._known.count(_digest("id", row_id))
                self._known.count(_digest("prompt", prompt))
                self._columns.count(_digest("columns", columns))
            last = row_id

    def has(self, row: PlannedRow) -> bool:
        """Whether a row had its images."""
        told = _digest("id", row.row_id), _digest("prompt", row.prompt)
        if any(self._known.of(digest) for digest in told):
            return True
        return row.columns != "{}" and self._columns.of(_digest("columns", row.columns)) == 1


def _stored(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[str, str, str]]:
    for batch in batches:
        for status, *row in zip(*(batch[name].to_pylist() for name in _WANTED), strict=True):
            if status == "stored":
                yield tuple(row)


_WANTED = ("status", "row_id", "prompt", "columns")


def _digest(what: str, text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=SIZE, person=what.encode()).digest()
