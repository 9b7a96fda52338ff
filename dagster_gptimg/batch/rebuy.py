"""The guard against buying everything again: a changed template, model or default moves every request key.

The previous manifest of the partition knows which rows have images, and the recipe (template, model, arguments) that
they were made with. Under another recipe, a row that has images and of which nothing is settled any more would be
bought again.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from dagster_gptimg.errors import RebuyError, UnreadableError
from dagster_gptimg.fal.prices import Price
from dagster_gptimg.store.manifest import read_manifest, recipe_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from dagster_gptimg.batch.job import Job
    from dagster_gptimg.batch.open_receipts import OpenReceipts
    from dagster_gptimg.batch.plan import Plan, PlannedRow

SHARE = Decimal("0.1")
"""The share of the rows with images that may be bought again without a word."""

_BATCH = 4096


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
        table = read_manifest(job.dataset, job.partition)
    except (FileNotFoundError, UnreadableError):  # derived: what it would have told is not known
        return nothing
    if recipe_of(table) == job.options.recipe:
        return nothing
    earlier = _Earlier(table)
    again, low, high = 0, Decimal(0), Decimal(0)
    for row in planned if earlier.rows else ():
        if earlier.has(row) and all(receipts.is_to_buy(request) for request in row.requests):
            prices = [planned.price(request) for request in row.requests]
            again += 1
            low, high = low + sum(p.low for p in prices), high + sum(p.high for p in prices)
    return Rebuy(earlier.rows, again, low, high)


class _Earlier:
    """The rows of a manifest that have their images, to be known again: by their id, or by their content.

    A row's id may be derived from its prompt, so a new template changes it; then the row's other columns tell, when no
    two rows have the same. 16 bytes stand for each.

    Attributes:
        rows: how many.
    """

    def __init__(self, table: pa.Table) -> None:
        self.rows = 0
        self._ids, self._columns = set[bytes](), Counter[bytes]()
        last = ""
        for row_id, prompt, columns in _stored(table):
            if row_id == last:
                continue
            last = row_id
            self.rows += 1
            self._ids |= {_digest("id", row_id), _digest("prompt", prompt)}
            self._columns[_digest("columns", columns)] += 1

    def has(self, row: PlannedRow) -> bool:
        """Whether a row had its images."""
        import json

        columns = _digest("columns", json.dumps(row.columns, ensure_ascii=False))
        return (
            _digest("id", row.row_id) in self._ids
            or _digest("prompt", row.prompt) in self._ids
            or (bool(row.columns) and self._columns[columns] == 1)
        )


def _stored(table: pa.Table) -> Iterator[tuple[str, str, str]]:
    wanted = table.select(["row_id", "prompt", "columns", "status"])
    for batch in wanted.to_batches(_BATCH):
        for row in batch.to_pylist():
            if row["status"] == "stored":
                yield row["row_id"], row["prompt"], row["columns"]


def _digest(what: str, text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16, person=what.encode()).digest()
