"""JSON as no library would write it: numbers without a bound, half characters, a hundred thousand levels."""

from __future__ import annotations

import json
from typing import Any


class Raw:
    """Stands in a JSON value for bytes that are written as they are."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __repr__(self) -> str:
        return f"Raw({self.data[:40]!r})"


def encode(value: Any) -> bytes:
    """A value as a JSON text in ASCII, but for what is `Raw` in it. Keys are texts."""
    raws: list[bytes] = []

    def default(found: object) -> str:
        assert isinstance(found, Raw), found
        raws.append(found.data)
        return f"\0{len(raws) - 1}\0"

    data = json.dumps(value, separators=(",", ":"), default=default).encode()
    for number, raw in enumerate(raws):
        data = data.replace(b'"\\u0000%d\\u0000"' % number, raw)
    return data


def decode(data: bytes) -> Any:
    """The value of a JSON text; None where it is none."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
