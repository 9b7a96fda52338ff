"""Looking over a whole table: is every row valid, has every row a partition, and which partitions does it have."""

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
"""So many different values of rows without a partition are kept; all rows are counted."""

_DIGITS = 2**128

NO_ROWS = "0" * 20
"""The digest of no rows at all."""


@dataclass
class WholeTable:
    """A row filter that keeps every row, and counts those that no partition holds.

    Attributes:
        by: how a row's key is made.
        is_partition: whether a key is one of a partition.
        outside: rows without a partition, by their cells' text.
        outside_rows: all of them.
    """

    by: RowKey
    is_partition: Callable[[str], bool]
    outside: Counter[str] = field(default_factory=Counter)
    outside_rows: int = 0
    _known: dict[str, bool] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that must be there."""
        return self.by.columns

    def bounds(self) -> list[Bounds]:
        """Nothing is skipped."""
        return []

    def keeps(self, cells: Mapping[str, object]) -> bool:
        """Every row."""
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
    """What a look over a whole table found.

    Attributes:
        rows: valid rows.
        problems: what is wrong with the others; the first 10,000.
        message: that, as one text; empty when every row is valid.
        outside: rows that no partition holds, by their cells' text, most first; the first 1,000 values.
        outside_rows: all of them.
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
    """Check every row of a table, whatever its partition.

    Args:
        source: the table.
        spec: how rows become prompts; its filter and limit are left aside.
        by: how rows are cut into partitions, if they are.
        is_partition: whether a key is one of a partition.
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
    """Each row as (its partition's key, a 128-bit digest of its content, its cell in the column `watermark`).

    Rows that have no key, or are no rows, are left out: a run and the check of the whole table tell of them. A table
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
    """The rows of one partition, and the digest of those that were read: as a sensor sees it in the same table."""

    _sums: list[int] = field(default_factory=lambda: [0], compare=False)

    def keeps(self, cells: Mapping[str, object]) -> bool:
        """Whether a row is wanted. Raises `CellError` when a cell is no text, or no date."""
        if not (has_cells(self.by, cells) and self.by.of(cells) == self.key):
            return False
        self._sums[0] = sum_of(self._sums[0], _digest(cells))
        return True

    @property
    def digest(self) -> str:
        """Of the rows so far."""
        return digest_text(self._sums[0])


@dataclass(frozen=True)
class TableProfile:
    """What a table is like.

    Attributes:
        rows: how many it has.
        columns: each with the types of its values; a text file has only text.
        digest: of its content, whatever the order of its rows.
    """

    rows: int
    columns: dict[str, str]
    digest: str


def profile(source: Source, storage_options: Mapping[str, Any] | None = None) -> TableProfile:
    """Read a whole table for its columns, its rows and its digest.

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
    """Two rows' digests as one, whatever their order."""
    return (digest + other) % _DIGITS


def digest_text(total: int) -> str:
    """The digest of some rows, as run keys and tags have it."""
    return f"{total:032x}"[:20]


def _carried(value: object) -> Json:
    """A cell as JSON; the reason in its place, where it cannot be carried."""
    try:
        return json_of(value)
    except UnusableError as error:
        return str(error)


def _digest(cells: Mapping[str, object]) -> int:
    text = json.dumps({name: _carried(value) for name, value in cells.items()}, sort_keys=True)
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16], "big")
