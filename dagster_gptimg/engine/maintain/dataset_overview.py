"""What a dataset has, in a few numbers, from its image tables, its receipts (dollars) and the marks of its runs."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from dagster_gptimg.base.row_status import RowStatus
from dagster_gptimg.engine.maintain.costs import costs_of, dollars
from dagster_gptimg.store.layout import RUNS, parse_runs
from dagster_gptimg.store.manifest import manifest_folders, scan_manifest_in

if TYPE_CHECKING:
    from dagster_gptimg.store.dataset import Dataset


@dataclass(slots=True)
class Overview:
    """A dataset in a few numbers.

    Attributes:
        name: the dataset's.
        origin: `fal`, or `emulator:<id>`.
        rows: number of rows in its image tables.
        images: number of images in its image tables.
        bytes: size of these images; those that partitions share count once.
        billed_usd: exact US dollars that fal has billed, of all receipts.
        estimated_usd: worst case of requests whose cost is not known, if it has a bound.
        unknown: number of requests whose cost has no known bound.
        last_run: when the last run began; None if there was none.
        without_images: number of rows by status, of those without images.
    """

    name: str
    origin: str | None
    rows: int = 0
    images: int = 0
    bytes: int = 0
    billed_usd: Decimal = Decimal(0)
    estimated_usd: Decimal = Decimal(0)
    unknown: int = 0
    last_run: datetime | None = None
    without_images: Counter[str] = field(default_factory=Counter)

    def as_json(self) -> dict[str, object]:
        """Return the numbers as one object for JSON; dollars are texts, so that no digit is lost."""
        return {
            "dataset": self.name,
            "origin": self.origin,
            "rows": self.rows,
            "images": self.images,
            "bytes": self.bytes,
            "billed_usd": dollars(self.billed_usd),
            "estimated_usd": dollars(self.estimated_usd),
            "unknown": self.unknown,
            "last_run": None if self.last_run is None else self.last_run.isoformat(),
            **{status.value: self.without_images[status] for status in RowStatus if status is not RowStatus.STORED},
        }


def overview_of(dataset: Dataset) -> Overview:
    """Return what a dataset has. Blocks.

    Raises:
        UnreadableError: an image table cannot be read.
        StoreError: the store cannot be used.
    """
    found = Overview(dataset.name, dataset.origin(), last_run=_last_run(dataset))
    for folder in manifest_folders(dataset):
        _count(dataset, folder, found)
    total = costs_of([dataset]).total
    found.billed_usd, found.estimated_usd, found.unknown = total.billed_usd, total.estimated_usd, total.unknown
    return found


def _count(dataset: Dataset, folder: str, found: Overview) -> None:
    row: str | None = None  # the records of a row follow one another
    statuses = set[str]()
    for records in scan_manifest_in(dataset, folder):
        for record in records:
            if record["row_id"] != row:
                _end_row(found, statuses)
                row, statuses = record["row_id"], set()
            statuses.add(record["status"])
            if record["uri"]:
                found.images += 1
                found.bytes += 0 if record["shared_with"] is not None else record["bytes"] or 0
    _end_row(found, statuses)


def _end_row(found: Overview, statuses: set[str]) -> None:
    found.rows += bool(statuses)
    without = [status for status in RowStatus if status in statuses and status is not RowStatus.STORED]
    if without:
        found.without_images[min(without, key=lambda status: status.rank)] += 1


def _last_run(dataset: Dataset) -> datetime | None:
    begun, _ = parse_runs(dataset.store.names(f"{dataset.folder}/{RUNS}"))
    for run in reversed(begun):
        with suppress(ValueError):
            return datetime.strptime(run[:15], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    return None
