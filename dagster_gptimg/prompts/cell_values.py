"""Cells as text and as JSON, independent of the source: a table has the same request keys from every source."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, cast
from uuid import UUID

from dagster_gptimg.fal.registry.model import is_missing
from dagster_gptimg.prompts.python_values import NoText, Unusable, far_moment, native

if TYPE_CHECKING:
    from dagster_gptimg.fal.types import Json

DEEPEST = 200
"""Maximum nesting of lists and mappings in a cell: each level costs a stack frame wherever it is parsed again."""

LONGEST_NUMBER = 100_000
"""Maximum characters of a number's text: `Decimal("1E+999999999")` is short, but its text would fill the memory."""

_DIGITS_PER_BIT = math.log10(2)
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - to count from
_PYTHONS_DIGITS = 4_300  # an `int` with more has no text of its own in Python, by its guard against slow conversions
_PLACE = re.compile(r" at 0x[0-9A-Fa-f]+")
_encode = json.JSONEncoder(ensure_ascii=False).encode  # `json.dumps` would make an encoder for each row


class CellError(ValueError):
    """A cell that cannot be converted to text.

    Attributes:
        column: the cell's column.
        reason: what is wrong with it.
    """

    def __init__(self, column: str, reason: str) -> None:
        self.column, self.reason = column, reason
        super().__init__(f"{column}: {reason}")


class UnusableError(ValueError):
    """A value that can be neither part of a prompt nor carried along as JSON; the message says why."""


def cell_text(cells: Mapping[str, object], column: str) -> str:
    """Return a cell's text for a prompt, an id or a partition key.

    Raises:
        CellError: the cell is empty, or has no text form (a list, a mapping, bytes, an infinite number).
    """
    value = cells.get(column)
    if is_missing(value):
        raise CellError(column, "the cell is empty")
    try:
        return text_of(value)
    except TypeError as error:
        raise CellError(column, str(error)) from error


def text_of(value: object) -> str:
    """Convert a value to text.

    1 is "1", also if pandas has read it as 1.0 because the column has gaps. Other floats are formatted as in Python,
    decimals without an exponent, true and false in lower case, dates and times as ISO 8601. A time with a time zone is
    converted to UTC: the zone in which a session shows it is not part of the value.

    Raises:
        TypeError: the value is not a text, number or time: `str()` would put Python's notation (`b'cup'`, `['cup']`)
            into a prompt, which would be bought.
    """
    if isinstance(value, str):
        return str.__str__(value)  # the plain text, also of a subclass such as an enum
    if isinstance(value, int | float | Decimal):
        return _number_text(value)
    value = native(value)
    if isinstance(value, datetime):
        value = moment_of(value)
    if isinstance(value, datetime):
        return datetime.isoformat(value)  # to the microsecond
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta | UUID):
        return timedelta.__str__(value) if isinstance(value, timedelta) else str(value)
    if isinstance(value, str | int | float | Decimal):
        return text_of(value)
    if isinstance(value, NoText | Unusable):
        raise TypeError(value.reason)
    raise TypeError(f"a value of type {type(value).__name__} cannot be used as text")


def moment_of(value: datetime) -> datetime | NoText:
    """Convert a time with a time zone to UTC; return any other time unchanged."""
    try:
        return in_utc(value)
    except OverflowError:
        since = value.replace(tzinfo=None) - _EPOCH - (value.utcoffset() or timedelta())
        return far_moment(since // timedelta(microseconds=1), has_zone=True)
    except Exception:  # noqa: BLE001 - a time zone is third-party code
        return NoText(value.replace(tzinfo=None).isoformat(), "a time with an unknown time zone cannot be used as text")


def in_utc(value: datetime) -> datetime:
    """Convert a time with a time zone to UTC; return any other time unchanged.

    Raises:
        OverflowError: the UTC time is outside the years 1 to 9999.
    """
    return value if value.utcoffset() is None else value.astimezone(UTC)


def _number_text(value: float | Decimal) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return _whole_text(value)
    if not _is_finite(value):
        raise TypeError(f"the number {value} cannot be used as text")
    if isinstance(value, Decimal):
        _, digits, exponent = value.as_tuple()
        if len(digits) + abs(cast("int", exponent)) > LONGEST_NUMBER:
            raise TypeError(f"a number of more than {LONGEST_NUMBER:,} digits cannot be used as text")
        return format(value, "f")
    return str(int(value)) if value.is_integer() else float.__repr__(value)


def _is_finite(value: object) -> bool:
    """Return whether a value is finite; `math.isfinite` alone takes a large decimal for infinite."""
    if isinstance(value, Decimal):
        return value.is_finite()
    return not isinstance(value, float) or math.isfinite(value)


def _whole_text(value: int) -> str:
    digits = value.bit_length() * _DIGITS_PER_BIT
    if digits < _PYTHONS_DIGITS - 1:
        return int.__repr__(value)
    if digits > LONGEST_NUMBER:
        raise TypeError(f"a number of more than {LONGEST_NUMBER:,} digits cannot be used as text")
    return format(Decimal(value), "f")


def json_of(value: object, depth: int = 0) -> Json:
    """Convert a cell to JSON, to be carried along: numbers and text unchanged, bytes as base64, anything else as text.

    Args:
        value: the cell.
        depth: the number of lists and mappings around it.

    Raises:
        UnusableError: the cell is nested deeper than `DEEPEST`, or cannot be converted.
    """
    if isinstance(value, str | bool):
        return value
    if isinstance(value, int):
        return int(value) if value.bit_length() * _DIGITS_PER_BIT < _PYTHONS_DIGITS - 1 else _long(value)
    value = native(value)
    if isinstance(value, Mapping | Sequence | AbstractSet) and not isinstance(value, str | bytes):
        return _nested(value, depth + 1)
    if isinstance(value, str | int):  # a subclass from some library
        return json_of(value, depth)
    return _plain(value)


def _plain(value: object) -> Json:
    """Convert a value that is not a text, whole number, list or mapping."""
    if isinstance(value, Unusable):
        raise UnusableError(value.reason)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, datetime):
        value = moment_of(value)
    if isinstance(value, NoText):
        return json_of(value.carried)
    if is_missing(value) or not _is_finite(value):
        return None  # JSON has no infinity
    if isinstance(value, float):  # an integral float is a whole number, whatever type the source gave it
        return int(value) if value.is_integer() else float(value)
    return _readable(value)


def _long(value: int) -> Json:
    try:
        return _whole_text(value)
    except TypeError as error:
        raise UnusableError(str(error)) from error


def _nested(value: Mapping[object, object] | Sequence[object] | AbstractSet[object], depth: int) -> Json:
    if depth > DEEPEST:
        raise UnusableError(f"the value is nested more than {DEEPEST} levels deep")
    if isinstance(value, Mapping):
        return {_name(name): json_of(item, depth) for name, item in value.items()}
    items = [json_of(item, depth) for item in value]
    # A set is sorted: its own order differs from process to process.
    return sorted(items, key=_encode) if isinstance(value, AbstractSet) else items


def _name(name: object) -> str:
    return name if isinstance(name, str) else _readable(name)


def json_object(cells: Mapping[str, Json]) -> str:
    """Return cells as a JSON object. Most cells are texts, for which no encoder is needed."""
    parts = list[str]()
    for name, value in cells.items():
        if type(value) is not str:
            return _encode(cells)
        parts.append(f"{encode_basestring(name)}: {encode_basestring(value)}")
    return f"{{{', '.join(parts)}}}"


def json_objects(columns: Mapping[str, Sequence[object]]) -> list[str] | None:
    """Return one JSON object per row, from columns of equal length (at least one), with values converted by `json_of`.

    None if a value cannot be converted, or cannot be encoded as UTF-8.
    """
    parts = list[list[str]]()
    for name, cells in columns.items():
        texts = _texts(cells)
        if texts is None:
            return None
        named = encode_basestring(name)
        parts.append([f"{named}: {text}" for text in texts])
    return [f"{{{', '.join(row)}}}" for row in zip(*parts, strict=True)]


def _texts(cells: Sequence[object]) -> list[str] | None:
    """Return the cells of one column as JSON texts; None if one cannot be converted."""
    if set(map(type, cells)) == {str}:
        texts = cast("Sequence[str]", cells)
        return list(map(encode_basestring, texts)) if unsendable("".join(texts)) is None else None
    try:
        values = [json_of(cell) for cell in cells]
    except UnusableError:
        return None
    return list(map(_encode, values)) if unsendable(values) is None else None


def _readable(value: object) -> str:
    """Return the text of a value, or else its `str()` without the memory address, which differs each time."""
    try:
        return text_of(value)
    except TypeError:
        pass
    try:
        return _PLACE.sub("", str(value))
    except Exception:  # noqa: BLE001 - `__str__` is third-party code
        return type(value).__name__


def unsendable(value: Json) -> str | None:
    """Return why a value, or any part of it, cannot be encoded as UTF-8; None if it can."""
    if isinstance(value, str):
        return None if value.isascii() else _odd_letter(value)
    if isinstance(value, list):
        return next(filter(None, map(unsendable, value)), None)
    if isinstance(value, dict):
        return unsendable([*value, *value.values()])
    return None


def _odd_letter(text: str) -> str | None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        letter = ord(text[error.start])
        if 0xDC80 <= letter <= 0xDCFF:  # noqa: PLR2004 - how `surrogateescape` marks a byte that it could not decode
            byte = f"0x{letter - 0xDC00:02x}"
            return f"byte {byte} is not UTF-8: save the table as UTF-8 (iconv -f WINDOWS-1252 -t UTF-8 OLD > NEW)"
        return f"\\u{letter:04x} is half of a surrogate pair, not a character, and cannot be sent"
    return None
