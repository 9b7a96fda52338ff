"""Cells as text and as JSON: the same whatever the source, so that a table has the same keys from all of them."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dagster_gptimg.fal.types import Json


def text_of(value: object) -> str:
    """A cell as it stands in a prompt or an id.

    1 is "1", also when pandas has read it as 1.0 because the column has gaps; other floats are as Python writes them;
    true and false in small letters; times in ISO 8601.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    return str(value)


def json_of(value: object) -> Json:
    """A cell as JSON, to be carried along: numbers and text as they are, everything else as readable text."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, Mapping):
        return {str(name): json_of(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_of(item) for item in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    return str(value) if isinstance(value, Decimal | timedelta) else text_of(value)


def _number(value: float) -> Json:
    """JSON has no NaN and no infinity; a whole number is one, whatever the source made of it."""
    if not math.isfinite(value):
        return None
    return int(value) if value.is_integer() else value


def not_utf8(text: str) -> bool:
    """True when a text cannot be sent: it holds bytes that were not UTF-8, or half of a surrogate pair."""
    return any("\ud800" <= letter <= "\udfff" for letter in text) if not text.isascii() else False
