"""Small images of a dataset's images, made once and kept beside it by the digest of the image (`store/layout.py`).

Derived data: they can be deleted at any time, and one that cannot be made is left out.
"""

from __future__ import annotations

import hashlib
import io
import logging
import re
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from PIL import Image

from dagster_gptimg.base.digest_columns import DigestMap
from dagster_gptimg.base.plain_text import words_of
from dagster_gptimg.errors import ImageError, StoreError, UnreadableError
from dagster_gptimg.store.gallery_layout import parse_thumbnail, thumbnail_name, thumbnails_folder
from dagster_gptimg.store.image_record import read_image
from dagster_gptimg.store.images.decoding import MOST_PIXELS, is_blank, small_webp
from dagster_gptimg.store.layout import THUMBNAILS, prefixes
from dagster_gptimg.store.parallel import side_by_side

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from dagster_gptimg.store.dataset import Dataset

PIXELS = 320
"""Maximum width and height of a thumbnail."""

SMALLEST = 600
"""Bytes. A thumbnail of a single colour has 250; only smaller ones than this are looked at for it."""

DARK = 8
"""Maximum value of each channel (0 to 255) of a black image."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_MADE = 0
_BLANK = 1
_BLACK = 2
_NONE = 3
_log = logging.getLogger(__name__)


class Thumbnail(NamedTuple):
    """What is known of one image's thumbnail.

    Attributes:
        exists: whether there is one.
        flag: `blank` or `black` for an image of a single colour; empty for any other.
    """

    exists: bool
    flag: str


_FOUND = {
    _MADE: Thumbnail(exists=True, flag=""),
    _BLANK: Thumbnail(exists=True, flag="blank"),
    _BLACK: Thumbnail(exists=True, flag="black"),
    _NONE: Thumbnail(exists=False, flag=""),
}


class Thumbnails:
    """The thumbnails of a dataset. All methods block.

    Attributes:
        made: number of those that were made.
        failed: number of images without one: their file is gone, changed, or cannot be decoded.
    """

    def __init__(self, dataset: Dataset) -> None:
        """List the existing ones. Raises `StoreError`."""
        self._dataset, self.made, self.failed = dataset, 0, 0
        self._sizes, self._seen, self._lock = DigestMap(), DigestMap(), threading.Lock()
        there = dataset.store.folders(f"{dataset.folder}/{THUMBNAILS}")
        listed = side_by_side(dataset.store, self._list, map(thumbnails_folder, prefixes(there)))
        for _, sizes in listed:
            for name, size in sizes.items():
                if size and (sha256 := parse_thumbnail(name)):
                    self._sizes.setdefault(bytes.fromhex(sha256), min(size, 2**32 - 1))

    def _list(self, folder: str) -> dict[str, int | None]:
        return self._dataset.store.sizes(f"{self._dataset.folder}/{folder}")

    def of(self, records: Iterable[Mapping[str, Any]]) -> Iterator[tuple[Mapping[str, Any], Thumbnail | None]]:
        """Yield each record with its thumbnail, which is made if it is missing; None for a record without an image.

        Raises `StoreError` if a thumbnail cannot be written.
        """
        for record, state in side_by_side(self._dataset.store, self._state, records):
            yield record, None if state is None else _FOUND[state]

    def _state(self, record: Mapping[str, Any]) -> int | None:
        if record["uri"] is None:
            return None
        sha256 = record["sha256"] or ""
        if not _SHA256.fullmatch(sha256):
            return _NONE
        digest = bytes.fromhex(sha256)
        with self._lock:
            known = self._seen.get(digest)
        if known is not None:
            return known
        state = self._look(record, digest)
        with self._lock:
            return self._seen.setdefault(digest, state)

    def _look(self, record: Mapping[str, Any], digest: bytes) -> int:
        name = f"{self._dataset.folder}/{thumbnail_name(record['sha256'])}"
        size = self._sizes.get(digest)
        try:
            if size is not None and size > SMALLEST:
                return _MADE
            data = self._make(record, name) if size is None else self._dataset.store.read(name)
            return _state_of(data)
        except UnreadableError as error:
            reason = words_of(error)
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - Pillow raises about everything for bytes from outside
            reason = words_of(error)
        with self._lock:
            self.failed += 1
        _log.info("no thumbnail of %s: %s", record["uri"], reason)
        return _NONE

    def _make(self, record: Mapping[str, Any], name: str) -> bytes:
        data = read_image(self._dataset, record["uri"])
        if hashlib.sha256(data).hexdigest() != record["sha256"]:
            raise ImageError("the file has other bytes than are on record")
        small = small_webp(data, (record["width"], record["height"]), MOST_PIXELS, PIXELS)
        self._dataset.store.write(name, small)
        with self._lock:
            self.made += 1
        return small


def _state_of(small: bytes) -> int:
    if len(small) > SMALLEST:
        return _MADE
    with Image.open(io.BytesIO(small), formats=["WEBP"]) as image:
        if not is_blank(image):
            return _MADE
        is_dark = all(high <= DARK for _, high in image.convert("RGB").getextrema())  # type: ignore[misc]
    return _BLACK if is_dark else _BLANK
