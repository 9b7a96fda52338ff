"""Names from outside (datasets, partitions) as paths: they are data, so nothing of them is taken as it is."""

from __future__ import annotations

import hashlib
import re
from urllib.parse import quote

from dagster_gptimg.errors import UsageError

_DATASET = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}(/[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}){0,7}")
_LONGEST = 180  # file systems allow 255 bytes; an encoded letter takes up to 12

WHOLE = "_whole"
"""The folder of a manifest that has no partition. No partition can be encoded to it: "_" at the start is escaped."""


def check_dataset(name: str) -> str:
    """The dataset's name itself, when it can stand in a path.

    Raises:
        UsageError: it has other characters than letters, digits, `_`, `-`, `.` and `/` between parts.
    """
    if not _DATASET.fullmatch(name):
        msg = f"{name!r} cannot be a dataset's name: use letters, digits, '_', '-' and '.', and '/' between parts"
        raise UsageError(msg)
    return name


def partition_folder(partition: str | None) -> str:
    """A partition key as one path segment: readable where it can be, never empty, `.` or `..`, never twice the same."""
    if partition is None:
        return WHOLE
    text = quote(partition, safe=" ")
    if text[:1] in {"", ".", "_"}:
        text = f"%{ord(text[0]):02X}{text[1:]}" if text else "%"
    if len(text) <= _LONGEST:
        return text
    return f"{text[:_LONGEST]}-{hashlib.sha256(partition.encode()).hexdigest()[:16]}"
