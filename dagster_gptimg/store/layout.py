"""Names as paths: untrusted names (datasets, partitions) are never used as they are.

Objects in a store may be written by others, too: an image's path is only accepted in the form of our own paths.
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
"""Names within a dataset, now or in the future: no other dataset may use them (`store/dataset_list.py`)."""

_IMAGE = re.compile(
    r"images/(?P<folder>[0-9a-f]{2})/(?P<key>(?P=folder)[0-9a-f]{62})-(?P<request_id>[A-Za-z0-9_-]{1,200})"
    r"-(?P<index>\d{1,5})(?:\.[a-z0-9]{1,10})?"
)
_AT_THE_END = re.compile(rf"(?:.*/)?(?P<path>{_IMAGE.pattern})", re.DOTALL)

WHOLE = "_whole"
"""The folder of a manifest without a partition. No partition is encoded to it: a leading "_" is escaped."""


def check_dataset(name: str) -> str:
    """Return a dataset's name if it is valid in a path.

    Raises:
        UsageError: it has other characters than letters, digits, `_`, `-`, `.` and `/` between parts.
    """
    if not _DATASET.fullmatch(name):
        msg = f"{name!r} cannot be a dataset's name: use letters, digits, '_', '-' and '.', and '/' between parts"
        raise UsageError(msg)
    return name


class ImageName(NamedTuple):
    """The parsed path of an image.

    Attributes:
        key: the request key.
        number: its position among the request's images, from 0.
    """

    key: str
    request_id: str
    number: int


def parse_image(path: str) -> ImageName | None:
    """Parse a path relative to a dataset if it is an image's: `images/ab/<key>-<request id>-<index>.png`; else None."""
    match = _IMAGE.fullmatch(path)
    return ImageName(match["key"], match["request_id"], int(match["index"])) if match else None


def image_in(uri: str) -> str | None:
    """Return the path, relative to its dataset, of the image in a URI; None if it is not a dataset's image.

    The store may have been moved or copied since, or have another address: the location of the dataset does not matter.
    """
    match = _AT_THE_END.fullmatch(uri)
    return match["path"] if match else None


def partition_folder(partition: str | None) -> str:
    """Encode a partition key as one path segment: readable if possible, unique, never empty, `.` or `..`."""
    if partition is None:
        return WHOLE
    text = quote(partition, safe=" ")
    if text[:1] in {"", ".", "_"}:
        text = f"%{ord(text[0]):02X}{text[1:]}" if text else "%"
    if len(text) <= _LONGEST:
        return text
    return f"{text[:_LONGEST]}-{hashlib.sha256(partition.encode()).hexdigest()[:16]}"
