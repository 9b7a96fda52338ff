"""Scan of a whole table: whether every row is valid and has a partition, and which partitions there are."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from dagster_gptimg.errors import RowProblem, TableError
from dagster_gptimg.fal.registry.model import is_missing
from dagster_gptimg.prompts.cell_values import CellError, UnusableError, json_of
from dagster_gptimg.prompts.partition_keys import OnePartition, has_cells
from dagster_gptimg.prompts.readers import sources
from dagster_gptimg.prompts.rows import read_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from dagster_gptimg.fal.types import Json
    from dagster_gptimg.prompts.partition_keys import Bounds, RowKey
    from dagster_gptimg.prompts.readers.sources import Source
    from dagster_gptimg.prompts.spec import PromptSpec

KEPT_VALUES = 1000
"""Maximum number of distinct values of rows without a partition that are kept; all rows are counted."""

_DIGITS = 2**128

NO_ROWS = "0" * 20
"""The digest of a table without rows."""


@dataclass
class WholeTable:
    """A row filter that keeps every row, and counts the rows without a partition.

    Attributes:
        by: computes a row's key.
        is_partition: returns whether a key is a partition's.
        outside: number of rows without a partition, by their cells' text.
        outside_rows: number of all rows without a partition.
    """

    by: RowKey
    is_partition: Callable[[str], bool]
    outside: Counter[str] = field(default_factory=Counter)
    outside_rows: int = 0
    _known: dict[str, bool] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that must exist."""
        return self.by.columns

    def bounds(self) -> list[Bounds]:
        """Return no bounds: nothing is skipped."""
        return []

    def keeps(self, cells: Mapping[str, object]) -> bool:
        """Keep every row."""
        if not self._is_held(cells):
            self.outside_rows += 1
            shown = ", ".join("" if is_missing(v) else str(_carried(v)) for v in map(cells.get, self.columns))
            if shown in self.outside or len(self.outside) < KEPT_VALUES:
                self.outside[shown] += 1
        return True

    def _is_held(self, cells: Mapping[str, object]) -> bool:
        if not has_cells(self.by, cells):
            return False
        try:
            key = self.by.of(cells)
        except CellError:
            return False
        if key not in self._known:
            self._known[key] = self.is_partition(key)
        return self._known[key]


@dataclass(frozen=True)
class TableReport:
    """The result of a scan of a whole table.

    Attributes:
        rows: number of valid rows.
        problems: the problems of invalid rows; the first 10,000.
        message: the problems as one text; empty if every row is valid.
        outside: number of rows without a partition by their cells' text, most first; the first 1,000 values.
        outside_rows: number of all rows without a partition.
    """

    rows: int
    problems: list[RowProblem]
    message: str
    outside: list[tuple[str, int]]
    outside_rows: int


def look_over(
    source: Source,
    spec: PromptSpec,
    by: RowKey | None,
    is_partition: Callable[[str], bool],
    storage_options: Mapping[str, Any] | None = None,
) -> TableReport:
    """Validate every row of a table, whatever its partition.

    Args:
        source: the table.
        spec: how rows become prompts; its filter and limit are ignored.
        by: how rows are assigned to partitions; None without partitions.
        is_partition: returns whether a key is a partition's.
        storage_options: passed to fsspec.

    Raises:
        TableError: the table as a whole cannot be read.
    """
    whole = None if by is None else WholeTable(by, is_partition)
    rows, problems, message = 0, [], ""
    try:
        for batch in read_rows(source, replace(spec, where=whole, limit=None), storage_options):
            rows += len(batch)
    except TableError as error:
        if not error.problems:
            raise
        problems, message = error.problems, str(error)
    outside = whole.outside.most_common() if whole else []
    return TableReport(rows, problems, message, outside, whole.outside_rows if whole else 0)


def digests(
    source: Source,
    by: RowKey | None,
    storage_options: Mapping[str, Any] | None = None,
    watermark: str | None = None,
) -> Iterator[tuple[str, int, object]]:
    """Yield each row as (partition key, 128-bit digest of its content, cell of the column `watermark`).

    Rows without a key and invalid rows are left out: a run, and the check of the whole table, report them. A table
    without partitions has the key "".

    Raises:
        TableError: the table cannot be read.
    """
    for item in sources.read(source, storage_options):
        if isinstance(item, RowProblem):
            continue
        cells = item[1]
        try:
            if by is None or has_cells(by, cells):
                yield "" if by is None else by.of(cells), _digest(cells), cells.get(watermark or "")
        except CellError:
            continue


@dataclass(frozen=True, slots=True)
class DigestedPartition(OnePartition):
    """Selects the rows of one partition, and computes the same digest of them that a sensor computes."""

    _sums: list[int] = field(default_factory=lambda: [0], compare=False)

    def keeps(self, cells: Mapping[str, object]) -> bool:
        """Return whether a row belongs to the partition.

        Raises `CellError` if a cell has no text form, or is not a date.
        """
        if not (has_cells(self.by, cells) and self.by.of(cells) == self.key):
            return False
        self._sums[0] = sum_of(self._sums[0], _digest(cells))
        return True

    @property
    def digest(self) -> str:
        """The digest of the rows read so far."""
        return digest_text(self._sums[0])


@dataclass(frozen=True)
class TableProfile:
    """A summary of a table's content.

    Attributes:
        rows: number of rows.
        columns: the types of values by column; a text file has only text.
        digest: digest of the content, independent of the order of the rows.
    """

    rows: int
    columns: dict[str, str]
    digest: str


def profile(source: Source, storage_options: Mapping[str, Any] | None = None) -> TableProfile:
    """Read a whole table for its columns, number of rows and digest.

    Raises:
        TableError: the table cannot be read.
    """
    rows, total, types = 0, 0, dict[str, dict[str, None]]()
    for item in sources.read(source, storage_options):
        rows += 1
        if isinstance(item, RowProblem):
            total = sum_of(total, _digest({"": str(item)}))
            continue
        total = sum_of(total, _digest(item[1]))
        for name, value in item[1].items():
            known = types.setdefault(name, {})
            if not is_missing(value):
                known[_TYPES.get(type(value).__name__, type(value).__name__)] = None
    columns = {name: " | ".join(found) or "null" for name, found in types.items()}
    return TableProfile(rows, columns, f"{total:032x}")


_TYPES = {
    "str": "string",
    "datetime": "timestamp",
    "Decimal": "decimal",
    "NoneType": "null",
    "NoText": "no text",
    "Unusable": "unusable",
}


def sum_of(digest: int, other: int) -> int:
    """Combine the digests of two sets of rows, independent of their order."""
    return (digest + other) % _DIGITS


def digest_text(total: int) -> str:
    """Return the digest of rows in the form used in run keys and tags."""
    return f"{total:032x}"[:20]


def _carried(value: object) -> Json:
    """Return a cell as JSON; if it cannot be converted, the reason instead."""
    try:
        return json_of(value)
    except UnusableError as error:
        return str(error)


def _digest(cells: Mapping[str, object]) -> int:
    text = json.dumps({name: _carried(value) for name, value in cells.items()}, sort_keys=True)
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16], "big")
