"""Arrow's batches as columns and rows of Python values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from dagster_gptimg.errors import TableError


def check_names(names: list[str], source: str) -> None:
    """Every column has a name of its own; Arrow allows two of one name, and a row could only keep the last.

    Raises:
        TableError: two have the same name, or one has none.
    """
    for name in names:
        if not name or names.count(name) > 1:
            words = f"the column name {name!r} stands twice" if name else "a column has no name"
            msg = f"{source}: {words}; name every column once"
            raise TableError(msg)


@dataclass(frozen=True, slots=True)
class Columns:
    """Rows as a source has them that is laid out in columns.

    Attributes:
        number: the first row's, from 1.
        cells: by column, all of one length.
    """

    number: int
    cells: dict[str, list[Any]]

    def lines(self) -> Iterator[tuple[int, dict[str, object]]]:
        """The rows with their numbers."""
        rows = zip(*self.cells.values(), strict=True)
        return enumerate((dict(zip(self.cells, row, strict=True)) for row in rows), self.number)


def columns_of(batch: pa.RecordBatch, number: int) -> Columns:
    """The rows of one batch, of which the first has this number."""
    values = (_plain(column).to_pylist() for column in batch.columns)
    return Columns(number, dict(zip(batch.schema.names, values, strict=True)))


def _plain(column: pa.Array) -> pa.Array:
    """A column that prints as it does from other sources."""
    kind = column.type
    if pa.types.is_float16(kind) or pa.types.is_float32(kind):
        # By its own shortest text: widened, 0.1 in single precision would print as 0.10000000149011612.
        return column.cast(pa.string()).cast(pa.float64())
    if getattr(kind, "unit", None) == "ns":
        # Python's times have microseconds. Arrow would hand out pandas' types, but only where pandas is installed.
        return column.cast(_MICROSECONDS[type(kind)](kind), safe=False)
    return column


_MICROSECONDS: dict[type, Any] = {
    pa.TimestampType: lambda kind: pa.timestamp("us", kind.tz),
    pa.Time64Type: lambda _: pa.time64("us"),
    pa.DurationType: lambda _: pa.duration("us"),
}
