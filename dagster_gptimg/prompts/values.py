"""Cells as text and as JSON: the same whatever the source, so that a table has the same keys from all of them."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from dagster_gptimg.fal.model import is_missing

if TYPE_CHECKING:
    from dagster_gptimg.fal.types import Json

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
    decimals without an exponent; true and false in small letters; times in ISO 8601.

    Raises:
        TypeError: it is no text, nor a number or a time: `str()` would put Python's own words (`b'cup'`, `['cup']`)
            into a prompt, and they would be bought.
    """
    if isinstance(value, str):
        return str.__str__(value)  # also of a subclass (an enum) its text
    if isinstance(value, int | float | Decimal):
        return _number_text(value)
    if isinstance(value, datetime):
        return datetime.isoformat(value)  # to the microsecond; pandas' own would add nanoseconds
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta | UUID):
        return timedelta.__str__(value) if isinstance(value, timedelta) else str(value)
    raise TypeError(f"a value of type {type(value).__name__} is no text")


def _number_text(value: float | Decimal) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return int.__repr__(value)
    if not math.isfinite(value):
        raise TypeError(f"{value} is no number that can stand in a text")
    if isinstance(value, Decimal):
        return format(value, "f")
    return str(int(value)) if value.is_integer() else float.__repr__(value)


def json_of(value: object) -> Json:
    """A cell as JSON, to be carried along: numbers and text as they are, bytes as base64, the rest as readable text."""
    if isinstance(value, str | bool | int):
        return value
    if isinstance(value, Mapping):
        return {str(name): json_of(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_of(item) for item in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if is_missing(value):
        return None
    return _number(value) if isinstance(value, float) else _readable(value)


def json_object(cells: Mapping[str, Json]) -> str:
    """Cells as a JSON object. Most are texts: then no encoder is set up for the row."""
    parts = list[str]()
    for name, value in cells.items():
        if type(value) is not str:
            return _encode(cells)
        parts.append(f"{encode_basestring(name)}: {encode_basestring(value)}")
    return f"{{{', '.join(parts)}}}"


def json_objects(columns: Mapping[str, Sequence[object]]) -> list[str] | None:
    """That for each row of some columns (one at least, all of one length), and what is no JSON as `json_of` has it.

    None when a value cannot be written as UTF-8.
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
    values = [json_of(cell) for cell in cells]
    return list(map(_encode, values)) if unsendable(values) is None else None


def _readable(value: object) -> str:
    try:
        return text_of(value)
    except TypeError:
        return str(value)


def _number(value: float) -> Json:
    """JSON has no infinity; a whole number is one, whatever the source made of it."""
    if not math.isfinite(value):
        return None
    return int(value) if value.is_integer() else value


def native(value: Any) -> object:  # noqa: ANN401 - whatever a user's mappings hold
    """Values of numpy as Python's, which print and compare like those of every other source."""
    if not type(value).__module__.startswith("numpy") or isinstance(value, str | bytes):
        return value
    if value.dtype.kind in "mM":  # nanoseconds would come as a bare number
        return value.astype(f"{value.dtype.kind}8[us]").tolist()
    # Half and single precision by their own shortest text: widened, 0.1 would print as 0.10000000149011612.
    return float(str(value)) if value.ndim == 0 and value.dtype.kind == "f" else value.tolist()


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
