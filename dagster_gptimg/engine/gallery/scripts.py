"""Data for a page as JavaScript files: a page that is opened from disk can load scripts, and nothing else."""

from __future__ import annotations

import hashlib
import json
from typing import Any

_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})

CALLS = frozenset({"describe", "receive"})
"""The functions of the page (`page/data.js`) that take data."""


def script(call: str, *values: Any) -> bytes:  # noqa: ANN401 - any JSON
    """Return a script that calls a function of the page with values.

    The file is ASCII, and has no character that could end a script or begin markup. Objects are never written, only
    lists and plain values: a hostile name of a property (`__proto__`) could change others.

    Raises:
        ValueError: a value holds an object, or the function is not one of `CALLS`.
    """
    if call not in CALLS:
        raise ValueError(call)
    _check(values)
    texts = (json.dumps(value, separators=(",", ":")).translate(_ESCAPES) for value in values)
    return f"gallery.{call}({','.join(texts)});\n".encode("ascii")


def digest_of(data: bytes) -> str:
    """Return the digest that names a file of data."""
    return hashlib.sha256(data).hexdigest()


def _check(value: object) -> None:
    if isinstance(value, list | tuple):
        for inner in value:
            _check(inner)
    elif not (value is None or isinstance(value, str | int | float | bool)):
        raise ValueError(f"{type(value).__name__} is not for a page")
