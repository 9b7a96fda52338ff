"""Arrow's batches as rows of Python values."""

from __future__ import annotations

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


def rows_of(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """The rows of one batch."""
    columns = [_plain(column) for column in batch.columns]
    rows: list[dict[str, Any]] = pa.RecordBatch.from_arrays(columns, names=batch.schema.names).to_pylist()
    return rows


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
