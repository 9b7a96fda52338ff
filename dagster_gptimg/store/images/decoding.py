"""Decoding images, for people to look at and for checks: bounded in pixels, and one at a time.

What is kept is never decoded (`store/images/formats`): a decoder takes memory by the pixels that a header speaks of,
and a file of two megabytes may speak of billions.
"""

from __future__ import annotations

import base64
import io
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias, cast

from PIL import Image

from dagster_gptimg.errors import ImageError

if TYPE_CHECKING:
    import mmap
    from collections.abc import Iterator

    Data: TypeAlias = bytes | mmap.mmap
    Size: TypeAlias = tuple[int | None, int | None]

FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000")
"""Pillow's decoders that are let at bytes from outside. Its others are rare, and one of them (EPS) starts a program."""

MOST_PIXELS = 24_000_000
"""Pixels of an image that is decoded, where nobody knows what size was asked for: some 100 MB in memory."""

TIMES = 4
"""An image is decoded when it has so many times the pixels that were asked for, at most."""

UNIFORM = 8
"""An image is blank when no channel differs by more than this, of 255, anywhere in it: JPEG leaves that much."""

_one = threading.Lock()


def most_pixels(asked: tuple[int, int] | None) -> int:
    """Pixels of an image that is decoded, at most; `asked`: the size that was asked for, where that is known."""
    return MOST_PIXELS if asked is None else TIMES * asked[0] * asked[1]


@contextmanager
def decoding(data: Data, size: Size, most: int) -> Iterator[Image.Image]:
    """An image, open for decoding; only one is, at any moment, in the whole process.

    Args:
        data: the whole file.
        size: width and height, as the file's header has them.
        most: pixels at most.

    Raises:
        ImageError: it has more pixels, or nobody knows how many.
        OSError: it is no image that can be read here. (Pillow raises other errors, too, at any touch of the image.)
    """
    width, height = size
    if width is None or height is None:
        raise ImageError("its size is not known, so it is not decoded")
    if width * height > most:
        raise ImageError(f"it has {width} x {height} pixels; up to {most:,} are decoded")
    with _one, Image.open(io.BytesIO(data), formats=readable()) as image:
        if image.width * image.height > most:
            raise ImageError(f"it has {image.width} x {image.height} pixels; up to {most:,} are decoded")
        yield image


def readable() -> list[str]:
    """Those of `FORMATS` that this Pillow has."""
    if not {"WEBP", "TIFF"} <= Image.OPEN.keys():
        Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def thumbnail(data: Data, size: Size, most: int, pixels: int) -> str:
    """A small WebP of an image, at most so many `pixels` wide and high, as a data URI; transparent ones on white.

    Raises what `decoding` does.
    """
    with decoding(data, size, most) as image:
        image.thumbnail((pixels, pixels))
        small = image.convert("RGBA")
    flat = Image.alpha_composite(Image.new("RGBA", small.size, "white"), small).convert("RGB")
    buffer = io.BytesIO()
    flat.save(buffer, "WEBP", quality=60, method=4)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def is_blank(image: Image.Image) -> bool:
    """Decode an image to its last pixel: whether it is one colour all over, or there is nothing to be seen at all.

    A white shape on a transparent ground is neither.
    """
    is_plain = image.mode in {"RGB", "RGBA"} and "transparency" not in image.info
    plain = image if is_plain else image.convert("RGBA")  # another copy, of kinds that have less of each pixel
    channels = cast("tuple[tuple[int, int], ...]", plain.getextrema())
    is_uniform = all(high - low <= UNIFORM for low, high in channels)
    return is_uniform or (plain.mode == "RGBA" and channels[-1][1] <= UNIFORM)


_PADDING = 8
"""Bytes that let a decoder finish the last block of a scan: it looks ahead of what it uses."""

_LARGEST = 80_000_000
"""Pixels of an image that is decoded at an eighth of its size, at most; beyond, Pillow itself warns."""


def decodes_to_its_end(data: Data) -> bool:
    """Whether a sequential JPEG without an end marker has its pixels: a decoder that runs out of bytes says so.

    It is decoded at an eighth of its size, row by row, so its memory does not grow with its pixels. A cut of a few
    bytes, which is worth less than a block of 8 x 8 pixels, may go unnoticed.
    """
    whole = io.BytesIO(data)
    whole.seek(0, io.SEEK_END)
    whole.write(bytes(_PADDING))
    try:
        with _one, Image.open(whole, formats=["JPEG"]) as image:
            if image.width * image.height > _LARGEST:
                return False
            image.draft(image.mode, (1, 1))
            image.load()
    except Exception:  # noqa: BLE001 - Pillow raises about everything for bytes from outside
        return False
    return True
