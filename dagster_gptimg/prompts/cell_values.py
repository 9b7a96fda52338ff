"""Cells as text and as JSON: the same whatever the source, so that a table has the same keys from all of them."""

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
"""Lists and mappings within one another that a cell may have: each level costs a frame wherever it is read again."""

LONGEST_NUMBER = 100_000
"""Characters of a number's text: `Decimal("1E+999999999")` is short, and its text would fill the memory."""

_DIGITS_PER_BIT = math.log10(2)
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - to count from
_PYTHONS_DIGITS = 4_300  # an `int` with more has no text of its own in Python, by its guard against slow conversions
_PLACE = re.compile(r" at 0x[0-9A-Fa-f]+")
_encode = json.JSONEncoder(ensure_ascii=False).encode  # `json.dumps` would make an encoder for each row


class CellError(ValueError):
    """A cell that cannot be used as text.

    Attributes:
        column: the cell's column.
        reason: what is wrong with it.
    """

    def __init__(self, column: str, reason: str) -> None:
        self.column, self.reason = column, reason
        super().__init__(f"{column}: {reason}")


class UnusableError(ValueError):
    """A value that can neither stand in a prompt nor be carried along; the message says why."""


def cell_text(cells: Mapping[str, object], column: str) -> str:
    """A cell as it stands in a prompt, an id or a partition's key.

    Raises:
        CellError: it is empty, or it is no text (a list, a mapping, bytes, an infinite number).
    """
    value = cells.get(column)
    if is_missing(value):
        raise CellError(column, "the cell is empty")
    try:
        return text_of(value)
    except TypeError as error:
        raise CellError(column, str(error)) from error


def text_of(value: object) -> str:
    """A value as text.

    1 is "1", also when pandas has read it as 1.0 because the column has gaps; other floats are as Python writes them,
    decimals without an exponent; true and false in small letters; dates and times in ISO 8601. A moment with a time
    zone is told in UTC: the zone in which a session shows it is no part of what it is.

    Raises:
        TypeError: it is no text, nor a number or a time: `str()` would put Python's own words (`b'cup'`, `['cup']`)
            into a prompt, and they would be bought.
    """
    if isinstance(value, str):
        return str.__str__(value)  # also of a subclass (an enum) its text
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
    raise TypeError(f"a value of type {type(value).__name__} is no text")


def moment_of(value: datetime) -> datetime | NoText:
    """A moment with a time zone in UTC; any other as it stands."""
    try:
        return in_utc(value)
    except OverflowError:
        since = value.replace(tzinfo=None) - _EPOCH - (value.utcoffset() or timedelta())
        return far_moment(since // timedelta(microseconds=1), has_zone=True)
    except Exception:  # noqa: BLE001 - a time zone is code of somebody else's
        return NoText(value.replace(tzinfo=None).isoformat(), "a moment whose time zone cannot be told is no text")


def in_utc(value: datetime) -> datetime:
    """A moment with a time zone in UTC; any other as it stands.

    Raises:
        OverflowError: it lies outside the years 1 to 9999 there.
    """
    return value if value.utcoffset() is None else value.astimezone(UTC)


def _number_text(value: float | Decimal) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return _whole_text(value)
    if not _is_finite(value):
        raise TypeError(f"{value} is no number that can stand in a text")
    if isinstance(value, Decimal):
        _, digits, exponent = value.as_tuple()
        if len(digits) + abs(cast("int", exponent)) > LONGEST_NUMBER:
            raise TypeError(f"a number of more than {LONGEST_NUMBER:,} digits is no text")
        return format(value, "f")
    return str(int(value)) if value.is_integer() else float.__repr__(value)


def _is_finite(value: object) -> bool:
    """Not by `math.isfinite` alone: that takes a large decimal for infinite."""
    if isinstance(value, Decimal):
        return value.is_finite()
    return not isinstance(value, float) or math.isfinite(value)


def _whole_text(value: int) -> str:
    digits = value.bit_length() * _DIGITS_PER_BIT
    if digits < _PYTHONS_DIGITS - 1:
        return int.__repr__(value)
    if digits > LONGEST_NUMBER:
        raise TypeError(f"a number of more than {LONGEST_NUMBER:,} digits is no text")
    return format(Decimal(value), "f")


def json_of(value: object, depth: int = 0) -> Json:
    """A cell as JSON, to be carried along: numbers and text as they are, bytes as base64, the rest as readable text.

    Args:
        value: the cell.
        depth: how many lists and mappings it stands in.

    Raises:
        UnusableError: it is nested deeper than `DEEPEST`, or cannot be carried.
    """
    if isinstance(value, str | bool):
        return value
    if isinstance(value, int):
        return int(value) if value.bit_length() * _DIGITS_PER_BIT < _PYTHONS_DIGITS - 1 else _long(value)
    value = native(value)
    if isinstance(value, Mapping | Sequence | AbstractSet) and not isinstance(value, str | bytes):
        return _nested(value, depth + 1)
    if isinstance(value, str | int):  # some library's own
        return json_of(value, depth)
    return _plain(value)


def _plain(value: object) -> Json:
    """What is neither text, nor a whole number, nor nested."""
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
    if isinstance(value, float):  # a whole number is one, whatever the source made of it
        return int(value) if value.is_integer() else float(value)
    return _readable(value)


def _long(value: int) -> Json:
    try:
        return _whole_text(value)
    except TypeError as error:
        raise UnusableError(str(error)) from error


def _nested(value: Mapping[object, object] | Sequence[object] | AbstractSet[object], depth: int) -> Json:
    if depth > DEEPEST:
        raise UnusableError(f"it is nested more than {DEEPEST} deep")
    if isinstance(value, Mapping):
        return {_name(name): json_of(item, depth) for name, item in value.items()}
    items = [json_of(item, depth) for item in value]
    # A set has no order of its own: it would be another one in each process.
    return sorted(items, key=_encode) if isinstance(value, AbstractSet) else items


def _name(name: object) -> str:
    return name if isinstance(name, str) else _readable(name)


def json_object(cells: Mapping[str, Json]) -> str:
    """Cells as a JSON object. Most are texts: then no encoder is set up for the row."""
    parts = list[str]()
    for name, value in cells.items():
        if type(value) is not str:
            return _encode(cells)
        parts.append(f"{encode_basestring(name)}: {encode_basestring(value)}")
    return f"{{{', '.join(parts)}}}"


def json_objects(columns: Mapping[str, Sequence[object]]) -> list[str] | None:
    """A JSON object for each row of some columns (one at least, all of one length), with values as `json_of` has them.

    None when a value cannot be carried, or not be written as UTF-8.
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
    """Cells of one column as JSON; None when one cannot be written."""
    if set(map(type, cells)) == {str}:
        texts = cast("Sequence[str]", cells)
        return list(map(encode_basestring, texts)) if unsendable("".join(texts)) is None else None
    try:
        values = [json_of(cell) for cell in cells]
    except UnusableError:
        return None
    return list(map(_encode, values)) if unsendable(values) is None else None


def _readable(value: object) -> str:
    """The text of a value, or else what its library prints, without its place in memory: that differs each time."""
    try:
        return text_of(value)
    except TypeError:
        pass
    try:
        return _PLACE.sub("", str(value))
    except Exception:  # noqa: BLE001 - how some other library's value prints is its own code
        return type(value).__name__


def unsendable(value: Json) -> str | None:
    """Why a value cannot be written as UTF-8, anywhere in it; None when it can."""
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
        return f"half of a surrogate pair, \\u{letter:04x}, is no character and cannot be sent"
    return None
