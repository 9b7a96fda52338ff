"""A dataset's images as a sequence: its records, data frames of them, verdicts, a gallery, its costs. Buys nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, overload

import pyarrow as pa
import pyarrow.compute as pc

from dagster_gptimg.argument_rules import check_arguments, check_said
from dagster_gptimg.base.plain_text import counted, plain
from dagster_gptimg.base.row_status import RowStatus
from dagster_gptimg.engine import operations
from dagster_gptimg.engine.export.options import ExportOptions
from dagster_gptimg.engine.gallery.notebook_html import notebook_html
from dagster_gptimg.engine.maintain.all_takes import with_all_takes
from dagster_gptimg.engine.maintain.costs import costs_of
from dagster_gptimg.engine.maintain.review import Reviewed, review_images
from dagster_gptimg.errors import UsageError
from dagster_gptimg.options import check
from dagster_gptimg.store.dataset import Dataset
from dagster_gptimg.store.image_record import ImageRecord, records_of
from dagster_gptimg.store.manifest import SCHEMA
from dagster_gptimg.store.root import Store
from dagster_gptimg.store.verdicts.verdict_columns import LastVerdicts

if TYPE_CHECKING:
    from dagster_gptimg.engine.export.options import Exported, Layout, Only
    from dagster_gptimg.engine.gallery.build import Gallery
    from dagster_gptimg.engine.maintain.costs import By, Costs
    from dagster_gptimg.store.verdicts.verdicts import Kind


def open_dataset(store: str | os.PathLike[str], dataset: str, partition: str | None = None) -> StoredImages:
    """Open a dataset without its prompt table: its records, data frames of them, a gallery, its costs. Buys nothing.

    Args:
        store: a folder (also a mounted one), `s3://...`, `gs://...` or `abfs://...`; their options come from the
            environment, or from fsspec's configuration (`FSSPEC_S3_ENDPOINT_URL`).
        dataset: the name of a set of images within the store.
        partition: the key of one of its partitions; None: all of them.

    Raises:
        UsageError: there is no such dataset or partition in the store.
        StoreError: the store cannot be used.
    """
    check_arguments(store=store, dataset=dataset, partition=partition)
    target = Dataset(Store(os.fspath(store)), dataset)
    return StoredImages(target, operations.image_table(target, partition), partition)


@dataclass(frozen=True, repr=False)
class StoredImages(Sequence[ImageRecord]):
    """The images of a dataset, or of one of its partitions, in the order of the table.

    A notebook shows them as a gallery. `pl.DataFrame(images.table)`, or what else reads Arrow, takes all records.

    Attributes:
        dataset: where the images are.
        table: the image table: one record per image, and one per row that has none.
        partition: the key of the partition; None: all, or a dataset without partitions.
    """

    dataset: Dataset
    table: pa.Table = field(default_factory=SCHEMA.empty_table)
    partition: str | None = None

    def __len__(self) -> int:
        return int(self._stored().num_rows)

    def __iter__(self) -> Iterator[ImageRecord]:
        return records_of(self._stored(), self.dataset)

    @overload
    def __getitem__(self, place: int) -> ImageRecord: ...
    @overload
    def __getitem__(self, place: slice) -> list[ImageRecord]: ...
    def __getitem__(self, place: int | slice) -> ImageRecord | list[ImageRecord]:
        if isinstance(place, slice):
            return list(records_of(self._stored().take(list(range(len(self))[place])), self.dataset))
        return next(records_of(self._stored().slice(range(len(self))[place], 1), self.dataset))

    @property
    def without_images(self) -> list[ImageRecord]:
        """The rows that have none: refused, failed, held, lost, ...; their `error` says why."""
        without = self.table.filter(pc.not_equal(self.table["status"], RowStatus.STORED.value))
        return list(records_of(without, self.dataset))

    def approve(self, *which: int | str | ImageRecord, note: str | None = None, by: str | None = None) -> Reviewed:
        """Approve images: the verdict is recorded in the store, and stands in the image table. Buys nothing.

        Args:
            which: places in this sequence, its records, or row ids (all images of the row).
            note: why.
            by: the reviewer.

        Returns:
            The numbers of verdicts that were `recorded`, or `unchanged` because they were on record; and `not_applied`,
            those on images that somebody has judged anew since, each with the reason.

        Raises:
            UsageError: there is no such image; nothing was recorded.
            StoreError: the store cannot be used; the message says how many verdicts were recorded.
        """
        return self._review("approved", which, note, by)

    def reject(self, *which: int | str | ImageRecord, note: str | None = None, by: str | None = None) -> Reviewed:
        """Reject images. The images stay. See `approve`.

        Args:
            which: places in this sequence, its records, or row ids (all images of the row).
            note: why.
            by: the reviewer.
        """
        return self._review("rejected", which, note, by)

    def clear(self, *which: int | str | ImageRecord, by: str | None = None) -> Reviewed:
        """Take back the last verdict on images. See `approve`.

        Args:
            which: places in this sequence, its records, or row ids (all images of the row).
            by: the reviewer.
        """
        return self._review("cleared", which, None, by)

    def _review(
        self, verdict: Kind, which: Sequence[int | str | ImageRecord], note: str | None, by: str | None
    ) -> Reviewed:
        meant = [record for one in which for record in self._meant(one)]
        found = review_images(self.dataset, meant, verdict, note, by)
        # The object shows the image table, so that it shows the new verdicts as well.
        object.__setattr__(self, "table", LastVerdicts(self.dataset).laid_over(self.table))
        return found

    def _meant(self, one: int | str | ImageRecord) -> list[ImageRecord]:
        if isinstance(one, ImageRecord):
            return [one]
        if not isinstance(one, str):
            return [self[one]]
        found = [record for record in self if record.row_id == one]
        if not found:
            raise UsageError(f"there is no image of a row {one!r} here. Nothing was recorded")
        return found

    @property
    def all_takes(self) -> StoredImages:
        """Also the images of the rows' other takes, behind these; an approved one is the current one from the next run.

        Raises `StoreError`.
        """
        return StoredImages(self.dataset, with_all_takes(self.dataset, self.table), self.partition)

    def gallery(self, to: str | os.PathLike[str] | None = None) -> Gallery:
        """Write a gallery of static files, in which a browser shows all images, compares them and takes verdicts.

        Args:
            to: a folder or fsspec root for a gallery with copies of all images. None: beside the dataset, with
                references to its images.

        Raises:
            UsageError: there is no image table yet, or `to` cannot be used.
            StoreError: the store cannot be used.
        """
        return operations.gallery(self.dataset, self.partition, None if to is None else os.fspath(to))

    def export(
        self,
        to: str | os.PathLike[str],
        *,
        layout: Layout = "folder",
        file_names: str | None = None,
        only: Only = "stored",
        links: int | None = None,
        shard_mb: int = 500,
    ) -> Exported:
        """Write the images as files that other programs open, with the columns beside them; only what is new.

        Args:
            to: a folder or fsspec root.
            layout: `folder`, `imagefolder`, `webdataset`, `parquet` or `zip`.
            file_names: the names of the images, with {column} fields; made of row ids by default.
            only: `stored`, or `approved`.
            links: seconds for which links in a column `link` are valid.
            shard_mb: maximum megabytes of images in a tar or Parquet file.

        Raises:
            UsageError: something has to be mended first; nothing was written.
            StoreError: a store cannot be used; the export is unfinished, and the next one goes on.
        """
        check_said(to=to)
        check(layout=layout, file_names=file_names, only=only, links=links, shard_mb=shard_mb)
        options = ExportOptions(layout, file_names, only, links, shard_mb)
        return operations.export(self.dataset, os.fspath(to), options, self.partition)

    def costs(self, by: By = "dataset") -> Costs:
        """Return what the whole dataset has cost so far, from all receipts. Raises `UsageError`, `StoreError`.

        Args:
            by: `dataset`, `partition`, `day`, `month` or `model`.
        """
        return costs_of([self.dataset], by)

    def _stored(self) -> pa.Table:
        return self.table.filter(pc.equal(self.table["status"], RowStatus.STORED.value))

    def _sentence(self) -> str:
        without = len(self.without_images)
        words = f"{counted(len(self), 'image')} of {self.dataset.name}"
        words += "" if self.partition is None else f", partition {self.partition}"
        return f"{words}; {counted(without, 'record')} without an image" if without else words

    def _where(self) -> str:
        return self.dataset.uri("")

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {plain(self._sentence())}>"

    def _repr_html_(self) -> str:
        """For Jupyter: counts, thumbnails, and the rows in trouble. All text from outside is escaped."""
        return notebook_html(self._sentence(), self, self.without_images, self._where())
