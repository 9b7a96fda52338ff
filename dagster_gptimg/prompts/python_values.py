"""Values of other libraries as Python's, which print and compare like those of every other source.

Nothing is imported for it: a value of numpy, pandas or polars comes from a process that has the library.
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
_DAYS, _MONTHS = ("Y", "M", "W", "D"), ("Y", "M")


@dataclass(frozen=True, slots=True)
class NoText:
    """A value that is carried along, and may not stand in a prompt, an id or a partition's key.

    Attributes:
        carried: what is carried in its place.
        reason: why it may not, for people.
    """

    carried: object
    reason: str


@dataclass(frozen=True, slots=True)
class Unusable:
    """A value that cannot even be carried along.

    Attributes:
        reason: why not, for people.
    """

    reason: str


def native(value: Any) -> object:  # noqa: ANN401 - whatever a user's mappings hold
    """A value as Python has it; what is known here of no library stays as it is."""
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
    if kind == "m":  # nanoseconds would come as a bare number
        return _numpys_span(value)
    if kind == "V":
        return bytes(value.tobytes()) if value.dtype.names is None else value.tolist()
    # Half and single precision by their own shortest text: widened, 0.1 would print as 0.10000000149011612.
    return float(str(value)) if kind == "f" else value.tolist()


def _numpys_span(value: Any) -> object:  # noqa: ANN401 - numpy has its own types
    if value.dtype.str.partition("[")[2].rstrip("]") in _MONTHS:  # numpy would take their length on average
        return NoText(str(value), _NO_SPAN)
    span = value.astype("m8[us]").tolist()
    return span if span is None or isinstance(span, timedelta) else NoText(str(value), _NO_SPAN)


def _numpys_moment(value: Any) -> object:  # noqa: ANN401 - numpy has its own types
    """A date where it counts days, as Arrow has it."""
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
        # Such a Timestamp is a datetime by its class, with a year of its own that is not the datetime's.
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

_NO_SPAN = "a span of months or years is no text"
_FAR = "a {} outside the years 1 to 9999 is no text"


def far_date(days: int) -> date | NoText:
    """The date so many days after 1970-01-01; one that Python has no date for is carried as ISO 8601 writes it."""
    year, month, day = _calendar(days)
    if MINYEAR <= year <= MAXYEAR:
        return date(year, month, day)
    return NoText(_far_day(days), _FAR.format("date"))


def far_moment(microseconds: int, *, has_zone: bool) -> datetime | NoText:
    """The moment so many microseconds after 1970; one that Python has no datetime for is carried as ISO 8601 has it.

    Args:
        microseconds: since 1970-01-01T00:00:00, in UTC where the moment has a time zone.
        has_zone: whether it has one.
    """
    days, rest = divmod(microseconds, 86_400_000_000)
    clock = (_EPOCH + timedelta(microseconds=rest)).timetz()
    found = far_date(days)
    if isinstance(found, date):
        return datetime.combine(found, clock if has_zone else clock.replace(tzinfo=None))
    text = (clock if has_zone else clock.replace(tzinfo=None)).isoformat()
    return NoText(f"{_far_day(days)}T{text}", _FAR.format("moment"))


def _calendar(days: int) -> tuple[int, int, int]:
    """Year, month and day, of which the year may be any."""
    cycles, rest = divmod(days, _FOUR_CENTURIES)
    near = _EPOCH.date() + timedelta(days=rest)
    return near.year + 400 * cycles, near.month, near.day


def _far_day(days: int) -> str:
    year, month, day = _calendar(days)
    return f"{year:+07d}-{month:02d}-{day:02d}"
