"""Image files: checked before they are recorded, kept as they came, named so that a late writer harms nothing."""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING

from PIL import Image

from dagster_gptimg.errors import ImageError, UnreadableError
from dagster_gptimg.store.facts import StoredImage

if TYPE_CHECKING:
    from dagster_gptimg.store.root import Store

_TYPES = {"PNG": ("image/png", "png"), "JPEG": ("image/jpeg", "jpg"), "WEBP": ("image/webp", "webp")}


def store_image(store: Store, folder: str, stem: str, data: bytes) -> StoredImage:
    """Check one image and write it below the dataset's `folder` as `images/ab/<stem>.<ending>`.

    The bytes are kept as they came (re-encoding would strip the C2PA credentials). The ending follows what the bytes
    are, not what fal's answer calls them: its own example has a `.jpg` where `png` was asked for.

    Args:
        store: where to.
        folder: the dataset's.
        stem: `<key>-<request id>-<index>`: two requests never write the same file.
        data: the bytes.

    Raises:
        ImageError: the bytes are not a whole image; nothing was written.
        StoreError: it could not be written.
    """
    found = _about(f"images/{stem[:2]}/{stem}", data)
    store.write(f"{folder}/{found.path}", data)
    return found


def _about(path: str, data: bytes) -> StoredImage:
    """What is to be recorded of an image; its ending is added to `path`. Raises `ImageError`."""
    kind, width, height = inspect(data)
    content_type, ending = _TYPES[kind]
    path = f"{path.removesuffix(f'.{ending}')}.{ending}"
    digest = hashlib.sha256(data).hexdigest()
    return StoredImage(path=path, sha256=digest, bytes=len(data), width=width, height=height, content_type=content_type)


def find_image(store: Store, folder: str, stem: str) -> StoredImage | None:
    """An image that was stored under this stem before, if it is there and whole. Raises `StoreError`."""
    for name in store.names(f"{folder}/images/{stem[:2]}", stem):
        if not name.startswith(f"{stem}."):
            continue
        path = f"images/{stem[:2]}/{name}"
        try:
            return _about(path, store.read(f"{folder}/{path}"))
        except (ImageError, UnreadableError, FileNotFoundError):
            continue
    return None


def inspect(data: bytes) -> tuple[str, int, int]:
    """The format, width and height of an image whose bytes are whole.

    A PNG's chunks are walked with their CRCs, which is far cheaper than decoding it. JPEG and WebP have no checksums:
    they are decoded, and their ends are looked at, because a decoder forgives a cut tail.

    Raises:
        ImageError: it is something else, or not whole.
    """
    try:
        with Image.open(io.BytesIO(data), formats=list(_TYPES)) as image:
            kind, (width, height) = str(image.format), image.size
            if kind == "PNG":
                image.verify()
            else:
                image.load()
    except Exception as error:  # Pillow raises about everything for bytes from outside
        msg = f"not a whole PNG, JPEG or WebP image ({len(data)} bytes): {error}"
        raise ImageError(msg) from error
    if not _ends_well(kind, data):
        msg = f"a {kind} image that is cut off ({len(data)} bytes)"
        raise ImageError(msg)
    return kind, width, height


def _ends_well(kind: str, data: bytes) -> bool:
    if kind == "PNG":
        return data.endswith(b"\0\0\0\0IEND\xaeB`\x82")  # whole: Pillow does not look at it
    if kind == "JPEG":
        return data.rstrip(b"\0").endswith(b"\xff\xd9")
    return len(data) >= int.from_bytes(data[4:8], "little") + 8
