"""Names as paths: those from outside (datasets, partitions) are data, so nothing of them is taken as it is.

What lies in a store may have been written by others, too: an image's path is one only if it has the shape that ours
have.
"""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple
from urllib.parse import quote

from dagster_gptimg.errors import UsageError

_DATASET = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}(/[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}){0,7}")
_LONGEST = 180  # file systems allow 255 bytes; an encoded letter takes up to 12

RESERVED = frozenset(
    {"receipts", "images", "runs", "settled", "manifests", "uploads", "inbox", "dataset.json"}
    | {"takes", "verdicts", "thumbnails"}
)
"""What lies in a dataset, now or later: no other dataset may lie in there (`store/dataset_list.py`)."""

_IMAGE = re.compile(
    r"images/(?P<folder>[0-9a-f]{2})/(?P<key>(?P=folder)[0-9a-f]{62})-(?P<request_id>[A-Za-z0-9_-]{1,200})"
    r"-(?P<index>\d{1,5})(?:\.[a-z0-9]{1,10})?"
)
_AT_THE_END = re.compile(rf"(?:.*/)?(?P<path>{_IMAGE.pattern})", re.DOTALL)

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


class ImageName(NamedTuple):
    """What the path of an image says.

    Attributes:
        key: the request key.
        number: its place among the request's images, from 0.
    """

    key: str
    request_id: str
    number: int


def parse_image(path: str) -> ImageName | None:
    """What a path relative to a dataset says, if it is that of an image: `images/ab/<key>-<request id>-<index>.png`."""
    match = _IMAGE.fullmatch(path)
    return ImageName(match["key"], match["request_id"], int(match["index"])) if match else None


def image_in(uri: str) -> str | None:
    """The path, relative to its dataset, of the image that a URI names; None when it names no image of a dataset.

    A store may have been moved or copied since the URI was written, or be reached by another address: where the
    dataset is does not matter.
    """
    match = _AT_THE_END.fullmatch(uri)
    return match["path"] if match else None


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
