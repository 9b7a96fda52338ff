"""Verdicts in the image table: written with it, and laid over it again whenever it is read.

A verdict is never changed, and has its number in its name. So what a table says of verdict number n stays right, and
listing the names tells whether it is the last one: only verdicts that are newer than the table are opened. The cost of
a read is one listing of the verdicts, however many records there are; without any verdict it is one call.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from dagster_gptimg.base.row_status import RowStatus
from dagster_gptimg.store.manifest_columns import VERDICT_COLUMNS
from dagster_gptimg.store.verdicts.verdicts import ImageId, Verdicts, image_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dagster_gptimg.store.dataset import Dataset

REPLACED = "a verdict was given on another image, which this one has replaced: it does not count"
UNREADABLE = "its last verdict, number {}, cannot be read: it counts as none"

_UNREADABLE = re.compile(re.escape(UNREADABLE).replace(re.escape("{}"), r"\d+"))
_NONE: Mapping[str, Any] = dict.fromkeys(VERDICT_COLUMNS)
_NEEDED = ("status", "request_key", "uri", "sha256", "notes", *VERDICT_COLUMNS)
KNOWN = ["request_key", "uri", "sha256", *VERDICT_COLUMNS]

OF_IMAGES = ["status", "request_key", "uri", "sha256"]
"""The columns by which the verdicts on a table's images are found."""

DIGITS = 20
NO_VERDICTS = "0" * DIGITS
"""The digest of the verdicts on images that have none."""


class VerdictsUsed(NamedTuple):
    """The last verdicts on some images.

    Attributes:
        images: number of images with a verdict, cleared ones too.
        digest: changes when one of these images has a new verdict, or another image has one; `NO_VERDICTS` without any.
    """

    images: int
    digest: str


def is_on_verdict(note: str) -> bool:
    """Return whether a note in an image table says of a verdict that it does not count."""
    return note == REPLACED or _UNREADABLE.fullmatch(note) is not None


class LastVerdicts:
    """The number of the last verdict on each image of a dataset, from one listing.

    Attributes:
        digest: changes when there is a new verdict; empty without any.
    """

    def __init__(self, dataset: Dataset) -> None:
        """List the names of the verdicts. Blocks. Raises `StoreError`."""
        self._verdicts = Verdicts(dataset)
        self._last: dict[str, dict[tuple[int, str], int]] = {}
        self._known: dict[ImageId, dict[str, Any]] = {}
        digest = 0
        for name in self._verdicts.every_name():
            images = self._last.setdefault(name.key, {})
            image = name.place, name.sha256
            images[image] = max(name.number, images.get(image, 0))
            digest ^= int.from_bytes(hashlib.blake2b(repr(name).encode(), digest_size=16).digest())
        self.digest = f"{digest:032x}" if self._last else ""
        self._keys = pa.array(self._last.keys(), pa.string())

    def number(self, image: ImageId) -> int:
        """Return the number of the last verdict on an image; 0 if there is none."""
        return self._last.get(image.key, {}).get((image.place, image.sha256), 0)

    def has_any(self, key: str) -> bool:
        """Return whether there are verdicts on images of a request."""
        return key in self._last

    def used_in(self, tables: Iterable[pa.Table | pa.RecordBatch]) -> VerdictsUsed:
        """Return which verdicts are the last ones on the stored images of tables. No verdict is opened.

        `tables`: with the columns `OF_IMAGES`.
        """
        keys, found = pa.array(self._last.keys(), pa.string()), set[tuple[ImageId, int]]()
        for table in tables:
            concerned = table.filter(pc.is_in(table["request_key"], keys)) if self._last else table.slice(0, 0)
            for record in concerned.to_pylist():
                image = image_of(record) if record["status"] == RowStatus.STORED else None
                if image is not None and (number := self.number(image)):
                    found.add((image, number))
        if not found:
            return VerdictsUsed(0, NO_VERDICTS)
        lines = "\n".join(sorted(f"{'-'.join(map(str, image))}.{number}" for image, number in found))
        return VerdictsUsed(len(found), hashlib.sha256(lines.encode()).hexdigest()[:DIGITS])

    def has_replaced(self, image: ImageId) -> bool:
        """Return whether there are verdicts on another image of the same request at the same place, and none on it."""
        places = {place for place, sha256 in self._last.get(image.key, {}) if sha256 != image.sha256}
        return not self.number(image) and image.place in places

    def know(self, batches: Iterable[pa.RecordBatch]) -> None:
        """Take the last verdicts that an earlier image table has, so that they need not be opened.

        `batches`: of the columns `KNOWN`.
        """
        for batch in batches:
            if "verdict_number" not in batch.schema.names:  # written by an earlier release
                continue
            for record in batch.filter(pc.is_valid(batch["verdict_number"])).to_pylist():
                image = image_of(record)
                if image is not None and record["verdict_number"] == self.number(image):
                    self._known[image] = {name: record[name] for name in VERDICT_COLUMNS}

    def settle(self, records: Iterable[dict[str, Any]]) -> None:
        """Set the columns of verdicts in records of an image table to the last verdicts.

        Those that a record has are kept where they are the last ones; others are opened, side by side. Raises
        `StoreError`.
        """
        opened: dict[ImageId, list[dict[str, Any]]] = {}
        for record in records:
            image = image_of(record) if self._last and record["status"] == RowStatus.STORED else None
            number = self.number(image) if image is not None else 0
            if image is None or not number:
                record.update(_NONE)
            elif image in self._known:
                record.update(self._known[image])
            elif record.get("verdict_number") != number:
                opened.setdefault(image, []).append(record)
        for (image, number), found in self._verdicts.read_all([(image, self.number(image)) for image in opened]):
            told: dict[str, Any] = {**_NONE, "verdict_number": number}
            if found is not None and found.verdict != "cleared":
                told |= {"verdict": found.verdict, "verdict_note": found.note, "verdict_by": found.by}
                told["verdict_at"] = found.recorded_at
            for record in opened[image]:
                record.update(told)
                if found is None:
                    # A table without the number has the next reader open it again.
                    record["verdict_number"] = None
                    record["unreadable_verdict"] = number

    def settled(self, table: pa.Table) -> pa.Table:
        """Return an image table with the last verdicts, as `settle` sets them. Raises `StoreError`."""
        concerned = self._concerned(table)
        if not pc.any(concerned).as_py():
            return table
        records = table.select(_NEEDED).filter(concerned).to_pylist()
        self.settle(records)
        return _with(table, concerned, records, VERDICT_COLUMNS)

    def laid_over(self, table: pa.Table) -> pa.Table:
        """Return an image table with the last verdicts. Records whose verdicts do not count say so in their notes.

        Raises `StoreError`.
        """
        concerned = self._concerned(table)
        if not pc.any(concerned).as_py():
            return table
        records = table.select(_NEEDED).filter(concerned).to_pylist()
        self.settle(records)
        for record in records:
            self._note(record)
        return _with(table, concerned, records, ("notes", *VERDICT_COLUMNS))

    def _concerned(self, table: pa.Table) -> pa.ChunkedArray:
        """Return for each record whether it has a verdict, or another one of its request has."""
        concerned = pc.is_valid(table["verdict_number"])
        if not self._last:
            return concerned
        return pc.or_(concerned, pc.fill_null(pc.is_in(table["request_key"], self._keys), fill_value=False))

    def _note(self, record: dict[str, Any]) -> None:
        image = image_of(record) if record["status"] == RowStatus.STORED else None
        if image is None:
            return
        unreadable = record.get("unreadable_verdict")
        record["verdict_number"] = record["verdict_number"] or unreadable
        words = UNREADABLE.format(unreadable) if unreadable else REPLACED if self.has_replaced(image) else None
        record["notes"] = "; ".join(filter(None, (record["notes"], words))) or None


def _with(
    table: pa.Table, concerned: pa.ChunkedArray, records: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> pa.Table:
    """Return a table with some columns of some of its records as they are in `records`."""
    mask = pc.if_else(concerned, True, False).combine_chunks()  # noqa: FBT003 - Arrow's values
    for name in names:
        place = table.schema.get_field_index(name)
        field = table.schema.field(place)
        values = pa.array([record[name] for record in records], field.type)
        column = pc.replace_with_mask(table[name].combine_chunks(), mask, values)
        table = table.set_column(place, field, column)
    return table
