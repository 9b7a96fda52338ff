"""Conversion of Arrow batches to columns and rows of Python values, which print the same as from any other source."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc

from dagster_gptimg.errors import TableError
from dagster_gptimg.prompts.python_values import NoText, Unusable, far_date, far_moment
from dagster_gptimg.prompts.quoting import listed

Values = list[Any]

DEEPEST_TYPE = 60
"""Maximum nesting of a column's type; Arrow's own streams allow 64."""

_EXTENSION = b"ARROW:extension:name"
_A_DAY = {"s": 86_400, "ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}
_PER_US = {"s": -1_000_000, "ms": -1_000, "us": 1, "ns": 1_000}
_FIRST_DAY = -719_162  # 0001-01-01, in days from 1970-01-01
_LAST_DAY = 2_932_896  # 9999-12-31, in days from 1970-01-01
_FIRST_US = _FIRST_DAY * _A_DAY["us"]
_LAST_US = (_LAST_DAY + 1) * _A_DAY["us"] - 1


def check_names(names: list[str], source: str) -> None:
    """Check that every column has a unique name; Arrow allows duplicates, of which a row could keep only the last.

    Raises:
        TableError: two columns have the same name, or one has none.
    """
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice or "" in names:
        words = "a column has no name" if "" in names else f"the column name {listed(twice)} is used twice"
        msg = f"{source}: {words}; give each column a unique name"
        raise TableError(msg)


@dataclass(frozen=True, slots=True)
class Columns:
    """Rows from a source that stores columns.

    Attributes:
        number: the number of the first row, from 1.
        cells: the values by column, all of the same length.
    """

    number: int
    cells: dict[str, list[Any]]

    def lines(self) -> Iterator[tuple[int, dict[str, object]]]:
        """Return the rows with their numbers."""
        rows = zip(*self.cells.values(), strict=True)
        return enumerate((dict(zip(self.cells, row, strict=True)) for row in rows), self.number)


def columns_of(batch: pa.RecordBatch, number: int) -> Columns:
    """Return the rows of one batch, whose first row has this number."""
    found: dict[str, Values] = {}
    for field, column in zip(batch.schema, batch.columns, strict=True):
        if _depth(field.type) > DEEPEST_TYPE:
            reason = f"the value is nested more than {DEEPEST_TYPE} levels deep"
            found[field.name] = [Unusable(reason) if there else None for there in column.is_valid().to_pylist()]
            continue
        values = values_of(column)
        name = (field.metadata or {}).get(_EXTENSION)  # set if the extension type is not registered in this process
        found[field.name] = values if name is None else _extended(values, name.decode("utf-8", "replace"), field.type)
    return Columns(number, found)


def values_of(array: pa.Array) -> Values:
    """Return the values of an array as Python values, or `NoText` if there is none or it has no text form."""
    return next((read(array) for fits, read in _READERS if fits(array.type)), None) or array.to_pylist()


# -- values that print differently in Python than elsewhere, or not at all


def _texts(array: pa.Array) -> Values:
    try:
        return list(array.to_pylist())
    except UnicodeDecodeError:
        # One by one: bytes that are not UTF-8 become surrogates, and are reported as for every other source.
        binary = array.cast(pa.large_binary()).to_pylist()
        return [None if text is None else text.decode("utf-8", "surrogateescape") for text in binary]


def _half_floats(array: pa.Array) -> Values:
    return [None if value is None else _shortest_half(float(value)) for value in array.to_pylist()]


def _shortest_half(value: float) -> float:
    """Return the float of a half float's shortest text, as numpy prints it; Arrow has only the text as a double."""
    texts = (f"{value:.{digits}g}" for digits in range(1, 6))
    packed = struct.pack("e", value)
    return next((float(text) for text in texts if _as_half(float(text)) == packed), value)


def _as_half(value: float) -> bytes:
    try:
        return struct.pack("e", value)
    except OverflowError:  # rounded up beyond the largest half float
        return b""


def _single_floats(array: pa.Array) -> Values:
    # By the shortest text of single precision: as a double, 0.1 would print as 0.10000000149011612.
    return list(array.cast(pa.string()).cast(pa.float64()).to_pylist())


def _dates(array: pa.Array) -> Values:
    is_days = pa.types.is_date32(array.type)
    counts = array.view(pa.int32() if is_days else pa.int64())
    if is_days and _within(counts, _FIRST_DAY, _LAST_DAY):
        return list(array.to_pylist())
    days = ((count if is_days or count is None else count // _A_DAY["ms"]) for count in counts.to_pylist())
    return [None if day is None else far_date(day) for day in days]


def _moments(array: pa.Array) -> Values:
    """Convert times to datetimes with microseconds; in UTC if they have a time zone."""
    zone = None if array.type.tz is None else "UTC"
    counts, per = array.view(pa.int64()), _PER_US[array.type.unit]
    low, high = (bound * per if per > 0 else bound // -per for bound in (_FIRST_US, _LAST_US))
    if not _within(counts, low, high):
        wide = ((None if count is None else _microseconds(count, per)) for count in counts.to_pylist())
        return [None if count is None else far_moment(count, has_zone=zone is not None) for count in wide]
    return list(_to_microseconds(counts, per).view(pa.timestamp("us", zone)).to_pylist())


def _spans(array: pa.Array) -> Values:
    counts, per = array.view(pa.int64()), _PER_US[array.type.unit]
    days = 999_999_999 * _A_DAY["us"]
    if per > 0 or _within(counts, days // per, -days // per):
        return list(_to_microseconds(counts, per).view(pa.duration("us")).to_pylist())
    return [None if count is None else _span(_microseconds(count, per)) for count in counts.to_pylist()]


def _span(microseconds: int) -> timedelta | NoText:
    try:
        return timedelta(microseconds=microseconds)
    except OverflowError:
        return NoText(f"{microseconds} microseconds", "a duration of more than 999,999,999 days cannot be used as text")


def _times(array: pa.Array) -> Values:
    unit = array.type.unit
    counts = array.view(pa.int32() if pa.types.is_time32(array.type) else pa.int64())
    if _within(counts, 0, _A_DAY[unit] - 1):
        return list(_to_microseconds(counts.cast(pa.int64()), _PER_US[unit]).view(pa.time64("us")).to_pylist())
    return [None if count is None else _time(count, unit) for count in counts.to_pylist()]


def _time(count: int, unit: str) -> object:
    if 0 <= count < _A_DAY[unit]:
        return far_moment(_microseconds(count, _PER_US[unit]), has_zone=False).time()  # type: ignore[union-attr]
    return NoText(f"{count} {unit}", "a time of day outside 24 hours cannot be used as text")


def _intervals(array: pa.Array) -> Values:
    return [None if value is None else _interval(*value) for value in array.to_pylist()]


def _interval(months: int, days: int, nanoseconds: int) -> timedelta | NoText:
    """Convert an interval to a duration, as databases return it, unless it has months, which have no fixed length."""
    if not months:
        return _span(days * _A_DAY["us"] + nanoseconds // 1000)
    seconds = Decimal(nanoseconds) / 1_000_000_000
    reason = "an interval with months cannot be used as text: cast it to text in the query"
    return NoText(f"P{months}M{days}DT{seconds:f}S", reason)


def _within(counts: pa.Array, low: int, high: int) -> bool:
    found = pc.min_max(counts).as_py()
    return found["min"] is None or (low <= found["min"] and found["max"] <= high)


def _to_microseconds(counts: pa.Array, per: int) -> pa.Array:
    if per < 0:
        return pc.multiply(counts, -per)
    if per == 1:
        return counts
    whole = pc.divide(counts, per)  # rounds towards zero: before 1970, that is up
    return pc.subtract(whole, pc.less(counts, pc.multiply(whole, per)).cast(pa.int64()))


def _microseconds(count: int, per: int) -> int:
    return count * -per if per < 0 else count // per


# -- nested types


def _chosen(array: pa.Array) -> Values:
    values = values_of(array.dictionary)
    return [None if place is None else values[place] for place in array.indices.to_pylist()]


def _runs(array: pa.Array) -> Values:
    return values_of(pc.run_end_decode(array))


def _lists(array: pa.Array) -> Values:
    rest = iter(values_of(array.flatten()))
    return [None if n is None else [next(rest) for _ in range(n)] for n in pc.list_value_length(array).to_pylist()]


def _maps(array: pa.Array) -> Values:
    """Convert maps to dicts if every key is a unique text; otherwise to lists of pairs."""
    ends = array.offsets.to_pylist()
    first, last = (ends[0], ends[-1]) if ends else (0, 0)
    pairs = list(zip(*(values_of(part.slice(first, last - first)) for part in (array.keys, array.items)), strict=True))
    bounds = zip(array.is_valid().to_pylist(), ends, ends[1:], strict=False)
    return [_map(pairs[start - first : end - first]) if there else None for there, start, end in bounds]


def _map(pairs: list[tuple[object, object]]) -> object:
    found = {key: value for key, value in pairs if isinstance(key, str)}
    return found if len(found) == len(pairs) else [list(pair) for pair in pairs]


def _structs(array: pa.Array) -> Values:
    names = [array.type.field(n).name for n in range(array.type.num_fields)]
    rows = zip(*map(values_of, array.flatten()), strict=True) if names else iter([()] * len(array))
    made = (lambda row: dict(zip(names, row, strict=True))) if len(set(names)) == len(names) else _pairs(names)
    return [made(row) if there else None for there, row in zip(array.is_valid().to_pylist(), rows, strict=True)]


def _pairs(names: list[str]) -> Callable[[tuple[Any, ...]], object]:
    return lambda row: [list(pair) for pair in zip(names, row, strict=True)]


def _unions(array: pa.Array) -> Values:
    """Convert the values one by one: unions are rare, and their parts are stored separately."""
    found = Values()
    for scalar in array:
        value = scalar.value if scalar.is_valid else None
        found += [None] if value is None else values_of(pa.array([value], value.type))
    return found


def _extensions(array: pa.Array) -> Values:
    name = getattr(array.type, "extension_name", "")
    values = values_of(array.storage)
    if name == "arrow.uuid":
        return [None if value is None else UUID(bytes=value) for value in values]
    if name == "arrow.bool8":
        return [None if value is None else bool(value) for value in values]
    return _extended(values, name, array.type.storage_type)


def _extended(values: Values, name: str, storage: pa.DataType) -> Values:
    """Convert the values of an extension type. The meaning of a number is known to the extension type only."""
    if name == "arrow.timestamp_with_offset":
        return [value and value["timestamp"] for value in values]
    if not (pa.types.is_integer(storage) or pa.types.is_floating(storage)):
        return values
    reason = f"a value of type {name[:80]} cannot be used as text: convert it to a text or number first"
    return [None if value is None else NoText(value, reason) for value in values]


def _depth(kind: pa.DataType) -> int:
    """Return the nesting depth of a type. Not recursive: an untrusted type may have thousands of levels."""
    level, parts = 0, [kind]
    while parts:
        parts = [inner for part in parts for inner in _parts(part)]
        level += 1
    return level


def _parts(kind: pa.DataType) -> list[pa.DataType]:
    if isinstance(kind, pa.BaseExtensionType):
        return [kind.storage_type]
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return [kind.value_type]
    return [kind.field(n).type for n in range(kind.num_fields)] if pa.types.is_nested(kind) else []


def _is_list(kind: pa.DataType) -> bool:
    return any(fits(kind) for fits in _LISTS)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


_LISTS = (
    pa.types.is_list,
    pa.types.is_large_list,
    pa.types.is_fixed_size_list,
    pa.types.is_list_view,
    pa.types.is_large_list_view,
)
_READERS: tuple[tuple[Callable[[pa.DataType], bool], Callable[[pa.Array], Values]], ...] = (
    (_is_text, _texts),
    (lambda kind: isinstance(kind, pa.BaseExtensionType), _extensions),
    (pa.types.is_float16, _half_floats),
    (pa.types.is_float32, _single_floats),
    (pa.types.is_date, _dates),
    (pa.types.is_timestamp, _moments),
    (pa.types.is_time, _times),
    (pa.types.is_duration, _spans),
    (pa.types.is_interval, _intervals),
    (pa.types.is_dictionary, _chosen),
    (pa.types.is_run_end_encoded, _runs),
    (pa.types.is_map, _maps),
    (_is_list, _lists),
    (pa.types.is_struct, _structs),
    (pa.types.is_union, _unions),
)
