"""Approved images: publishing those of a partition, and what of it still stands. Buys nothing, and reads no receipt.

Publishing reads the verdicts once, and writes the table of approved images from them. What stands is judged by the
image table and the verdicts as they are at that moment: an image that was published and is approved no more is
withdrawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from dagster_gptimg.base.row_status import RowStatus
from dagster_gptimg.errors import UsageError
from dagster_gptimg.store.approved_table import read_approved, write_approved
from dagster_gptimg.store.layout import partition_folder
from dagster_gptimg.store.manifest import has_manifest, read_manifest, read_manifest_in, scan_manifest
from dagster_gptimg.store.verdicts.verdict_columns import OF_IMAGES, LastVerdicts, VerdictsUsed
from dagster_gptimg.store.verdicts.verdicts import image_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta

    from dagster_gptimg.store.dataset import Dataset
    from dagster_gptimg.store.verdicts.verdicts import ImageId

_NAMED = ["row_id", "image_index", *OF_IMAGES[1:]]


@dataclass(frozen=True)
class Published:
    """The approved images of a partition that were published.

    Attributes:
        uri: the address of their table.
        table: the table: the records of the image table that have an approved image.
        images: number of stored images that the image table has.
        rejected: number of these that are rejected.
        used: the verdicts that it was made from.
    """

    uri: str
    table: pa.Table
    images: int
    rejected: int
    used: VerdictsUsed

    @property
    def reviewed(self) -> float:
        """The share of images (0 to 1) with a verdict; 1 without any image."""
        return (self.table.num_rows + self.rejected) / self.images if self.images else 1.0


@dataclass(frozen=True)
class Standing:
    """What stands of a partition's review, and of what was published of it.

    Attributes:
        images: number of stored images.
        approved: number of these that are approved.
        rejected: number of these that are rejected.
        overdue: rows of the images without a verdict that have been there for too long.
        withdrawn: rows of the published images that are approved no more, or were replaced.
        unpublished: number of approved images that were not published yet.
        is_published: whether approved images were published at all.
    """

    images: int
    approved: int
    rejected: int
    overdue: tuple[str, ...]
    withdrawn: tuple[str, ...]
    unpublished: int
    is_published: bool

    @property
    def without_verdict(self) -> int:
        """The number of images without a verdict."""
        return self.images - self.approved - self.rejected

    @property
    def in_time(self) -> float:
        """The share of images (0 to 1) that have a verdict or are not overdue yet; 1 without any image."""
        return 1 - len(self.overdue) / self.images if self.images else 1.0


def publish(dataset: Dataset, partition: str | None) -> Published:
    """Write the table of a partition's approved images, from one reading of the verdicts. Blocks.

    Raises:
        UsageError: there is no image table yet; nothing was written.
        UnreadableError: the image table cannot be read; nothing was written.
        StoreError: the store cannot be used.
    """
    verdicts = LastVerdicts(dataset)
    try:
        table = verdicts.laid_over(read_manifest_in(dataset, partition_folder(partition)))
    except FileNotFoundError:
        raise _no_table(dataset, partition) from None
    stored = _stored(table)
    approved = stored.filter(_has(stored, "approved"))
    return Published(
        uri=write_approved(dataset, partition, approved),
        table=approved,
        images=stored.num_rows,
        rejected=stored.filter(_has(stored, "rejected")).num_rows,
        used=verdicts.used_in([table]),
    )


def standing(
    dataset: Dataset, partition: str | None, overdue_after: timedelta | None = None, now: datetime | None = None
) -> Standing:
    """Return what stands of a partition's review, by the verdicts that there are now. Blocks.

    Args:
        dataset: the dataset.
        partition: its key, or None.
        overdue_after: how long an image may be stored without a verdict; None: no time at all.
        now: the time; by default the clock's.

    Raises:
        UsageError: there is no image table yet.
        UnreadableError: a table cannot be read.
        StoreError: the store cannot be used.
    """
    try:
        stored = _stored(read_manifest(dataset, partition))
    except FileNotFoundError:
        raise _no_table(dataset, partition) from None
    approved = stored.filter(_has(stored, "approved"))
    try:
        published, is_published = read_approved(dataset, partition), True
    except FileNotFoundError:
        published, is_published = stored.slice(0, 0), False
    stands, was = dict(_images(approved)), dict(_images(published))
    return Standing(
        images=stored.num_rows,
        approved=approved.num_rows,
        rejected=stored.filter(_has(stored, "rejected")).num_rows,
        overdue=tuple(_overdue(stored, overdue_after, now or datetime.now(UTC))),
        withdrawn=tuple(row for image, row in was.items() if image not in stands),
        unpublished=len(stands.keys() - was.keys()),
        is_published=is_published,
    )


def verdicts_used(dataset: Dataset, verdicts: LastVerdicts, partition: str | None) -> VerdictsUsed | None:
    """Return the last verdicts on the images of a partition; None if it has no image table. No verdict is opened.

    Raises:
        UnreadableError: the image table cannot be read.
        StoreError: the store cannot be used.
    """
    if not has_manifest(dataset, partition):
        return None
    return verdicts.used_in(scan_manifest(dataset, partition, OF_IMAGES))


def _no_table(dataset: Dataset, partition: str | None) -> UsageError:
    where = f"partition {partition!r} of dataset" if partition is not None else "dataset"
    return UsageError(
        f"{where} {dataset.name!r} has no image table yet, so nothing can be approved: materialize the images first. "
        "Nothing was published"
    )


def _stored(table: pa.Table) -> pa.Table:
    return table.filter(pc.and_(pc.equal(table["status"], RowStatus.STORED.value), pc.is_valid(table["uri"])))


def _has(table: pa.Table, verdict: str) -> pa.ChunkedArray:
    return pc.fill_null(pc.equal(table["verdict"], verdict), fill_value=False)


def _images(table: pa.Table) -> Iterator[tuple[ImageId, str]]:
    """Yield the images of a table, each with the name of its row: `ROW`, or `ROW:INDEX` of a further image."""
    for record in table.select(_NAMED).to_pylist():
        image = image_of(record)
        if image is not None:
            yield image, _name(record)


def _name(record: dict[str, Any]) -> str:
    return f"{record['row_id']}:{record['image_index']}" if record["image_index"] else str(record["row_id"])


def _overdue(stored: pa.Table, after: timedelta | None, now: datetime) -> Iterator[str]:
    waiting = stored.filter(pc.is_null(stored["verdict"]))
    if after is not None:
        # An image of which nobody knows when it was stored has waited long enough.
        since = pa.scalar(now - after, waiting["stored_at"].type)
        waiting = waiting.filter(pc.fill_null(pc.less(waiting["stored_at"], since), fill_value=True))
    yield from map(_name, waiting.select(["row_id", "image_index"]).to_pylist())
