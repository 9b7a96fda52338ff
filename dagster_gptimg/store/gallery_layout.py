"""Where thumbnails and galleries lie in a dataset: names of their files and folders are built and parsed here."""

from __future__ import annotations

import re

from dagster_gptimg.store.layout import GALLERY, THUMBNAILS, partition_folder, prefix_of

_THUMBNAIL = re.compile(r"(?P<sha256>[0-9a-f]{64})\.webp")
_PAGE_DATA = re.compile(r"[0-9a-f]{16}\.js")


def thumbnails_folder(prefix: str) -> str:
    """Return the path of the folder of the thumbnails of images whose digests have this prefix."""
    return f"{THUMBNAILS}/{prefix}"


def thumbnail_name(sha256: str) -> str:
    """Return the path of the thumbnail of the image with this digest."""
    return f"{thumbnails_folder(prefix_of(sha256))}/{sha256}.webp"


def parse_thumbnail(name: str) -> str | None:
    """Return the digest in the name of an object in a thumbnails folder; None if it is not a thumbnail."""
    match = _THUMBNAIL.fullmatch(name)
    return match["sha256"] if match else None


GALLERIES_OF_PARTITIONS = f"{GALLERY}/partitions"
"""The folder of the galleries of one partition each."""

PAGE_DATA = "data"
"""The folder of a gallery's records, within the gallery."""


def gallery_folder(partition: str | None) -> str:
    """Return the path of the gallery of one partition; None: of all records."""
    return GALLERY if partition is None else f"{GALLERIES_OF_PARTITIONS}/{partition_folder(partition)}"


def page_data_name(digest: str) -> str:
    """Return the path, within a gallery, of records by the digest of the file: a new build never changes a file."""
    return f"{PAGE_DATA}/{digest[:16]}.js"


def is_page_data(name: str) -> bool:
    """Return whether an object in a gallery's folder of records is one of `page_data_name`."""
    return _PAGE_DATA.fullmatch(name) is not None
