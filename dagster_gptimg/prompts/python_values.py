"""Conversion of other libraries' values to Python's, so that they print and compare the same from every source.

Nothing is imported for it: a value of numpy, pandas or polars comes from a process that has imported the library.
"""

from __future__ import annotations

import mmap
from array import array
from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, UTC, date, datetime, timedelta
from typing import Any

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FOUR_CENTURIES = 146_097  # days, after which the calendar begins anew
_LIBRARIES = frozenset({"numpy", "pandas", "polars", "pyarrow"})
_DAYS = ("Y", "M", "W", "D")
_MONTHS = ("Y", "M")


@dataclass(frozen=True, slots=True)
class NoText:
    """A value that is carried along, but may not be part of a prompt, an id or a partition key.

    Attributes:
        carried: the value to carry instead.
        reason: why it may not, for people.
    """

    carried: object
    reason: str


@dataclass(frozen=True, slots=True)
class Unusable:
    """A value that cannot be carried along either.

    Attributes:
        reason: why not, for people.
    """

    reason: str


def native(value: Any) -> object:  # noqa: ANN401 - whatever a user's mappings hold
    """Convert a value to Python's types; values of unknown libraries are returned unchanged."""
    if isinstance(value, memoryview | array | bytearray | mmap.mmap):
        return _buffer(value)
    kind = type(value)
    library = kind.__module__.partition(".")[0]
    if library not in _LIBRARIES:
        return value
    return _NATIVE[library](value, kind.__name__)


def _numpy(value: Any, name: str) -> object:  # noqa: ANN401 - numpy has its own types
    if isinstance(value, str | bytes):
        return str.__str__(value) if isinstance(value, str) else bytes(value)
    if value.ndim or name == "MaskedConstant":
        return [native(item) for item in value] if value.ndim else None
    kind = value.dtype.kind
    if kind == "M":
        return _numpys_moment(value)
    if kind == "m":  # numpy returns nanoseconds as a plain number
        return _numpys_span(value)
    if kind == "V":
        return bytes(value.tobytes()) if value.dtype.names is None else value.tolist()
    # By the shortest text of half or single precision: as a double, 0.1 would print as 0.10000000149011612.
    return float(str(value)) if kind == "f" else value.tolist()


def _numpys_span(value: Any) -> object:  # noqa: ANN401 - numpy has its own types
    if value.dtype.str.partition("[")[2].rstrip("]") in _MONTHS:  # numpy would use the average length of a month
        return NoText(str(value), _NO_SPAN)
    span = value.astype("m8[us]").tolist()
    return span if span is None or isinstance(span, timedelta) else NoText(str(value), _NO_SPAN)


def _numpys_moment(value: Any) -> object:  # noqa: ANN401 - numpy has its own types
    """Convert a numpy `datetime64`; to a date if its unit is a day or longer, as Arrow does."""
    unit = "D" if value.dtype.str.partition("[")[2].rstrip("]") in _DAYS else "us"
    found = value.astype(f"M8[{unit}]")
    plain = found.tolist()
    if plain is None or isinstance(plain, date):
        return plain
    count = int(found.astype("i8"))
    return far_date(count) if unit == "D" else far_moment(count, has_zone=False)


def _pandas(value: Any, name: str) -> object:  # noqa: ANN401 - pandas has its own types
    if name in {"NAType", "NaTType"}:
        return None
    if name == "Timestamp":
        if MINYEAR <= value.year <= MAXYEAR:
            return value.to_pydatetime(warn=False)  # to the microsecond
        # Such a Timestamp is a datetime by its class, but its own year differs from the datetime's.
        return far_moment(int(value.asm8.astype("M8[us]").astype("i8")), has_zone=value.tzinfo is not None)
    return value.tolist() if hasattr(value, "tolist") else value


def _polars(value: Any, _: str) -> object:  # noqa: ANN401 - polars has its own types
    return value.to_list() if hasattr(value, "to_list") else value


def _arrow(value: Any, _: str) -> object:  # noqa: ANN401 - pyarrow has no types
    if hasattr(value, "as_py"):
        return value.as_py()
    return value.to_pylist() if hasattr(value, "to_pylist") else value


def _buffer(value: memoryview | array[Any] | bytearray | mmap.mmap) -> object:
    if isinstance(value, array):
        return value.tolist()
    return value.tobytes() if isinstance(value, memoryview) else bytes(value[:])


_NATIVE = {"numpy": _numpy, "pandas": _pandas, "polars": _polars, "pyarrow": _arrow}

_NO_SPAN = "a duration in months or years cannot be used as text"
_FAR = "a {} outside the years 1 to 9999 cannot be used as text"


def far_date(days: int) -> date | NoText:
    """Return the date `days` days after 1970-01-01; outside Python's range, a `NoText` with the ISO 8601 text."""
    year, month, day = _calendar(days)
    if MINYEAR <= year <= MAXYEAR:
        return date(year, month, day)
    return NoText(_far_day(days), _FAR.format("date"))


def far_moment(microseconds: int, *, has_zone: bool) -> datetime | NoText:
    """Return the time `microseconds` after 1970; outside Python's range, a `NoText` with the ISO 8601 text.

    Args:
        microseconds: since 1970-01-01T00:00:00, in UTC if the time has a time zone.
        has_zone: whether the time has a time zone.
    """
    days, rest = divmod(microseconds, 86_400_000_000)
    clock = (_EPOCH + timedelta(microseconds=rest)).timetz()
    found = far_date(days)
    if isinstance(found, date):
        return datetime.combine(found, clock if has_zone else clock.replace(tzinfo=None))
    text = (clock if has_zone else clock.replace(tzinfo=None)).isoformat()
    return NoText(f"{_far_day(days)}T{text}", _FAR.format("time"))


def _calendar(days: int) -> tuple[int, int, int]:
    """Return year, month and day; the year may be outside Python's range."""
    cycles, rest = divmod(days, _FOUR_CENTURIES)
    near = _EPOCH.date() + timedelta(days=rest)
    return near.year + 400 * cycles, near.month, near.day


def _far_day(days: int) -> str:
    year, month, day = _calendar(days)
    return f"{year:+07d}-{month:02d}-{day:02d}"
