"""Decoding of images for people and for checks: limited in pixels, and one at a time.

Stored images are never decoded when they are stored (`store/images/formats`): a decoder allocates memory for the pixels
that a header declares, and a file of two megabytes may declare billions.
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
"""Decoders of Pillow that are used for untrusted bytes. The others are rare, and one of them (EPS) starts a program."""

MOST_PIXELS = 24_000_000
"""Maximum pixels of a decoded image if the requested size is not known: some 100 MB in memory."""

TIMES = 4
"""Maximum ratio of an image's pixels to the requested pixels for decoding."""

UNIFORM = 8
"""Maximum difference within each channel (0 to 255) of a blank image: JPEG causes that much."""

_one = threading.Lock()


def most_pixels(asked: tuple[int, int] | None) -> int:
    """Return the maximum pixels of a decoded image; `asked`: the requested size, if known."""
    return MOST_PIXELS if asked is None else TIMES * asked[0] * asked[1]


@contextmanager
def decoding(data: Data, size: Size, most: int) -> Iterator[Image.Image]:
    """Open an image for decoding; only one is open at a time in the whole process.

    Args:
        data: the whole file.
        size: width and height from the file's header.
        most: maximum pixels.

    Raises:
        ImageError: it has more pixels, or an unknown number.
        OSError: Pillow cannot read it. (Pillow also raises other errors, at any access of the image.)
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
    """Return those of `FORMATS` that this installation of Pillow can decode."""
    if not {"WEBP", "TIFF"} <= Image.OPEN.keys():
        Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def thumbnail(data: Data, size: Size, most: int, pixels: int) -> str:
    """Return `small_webp` as a data URI."""
    return f"data:image/webp;base64,{base64.b64encode(small_webp(data, size, most, pixels)).decode()}"


def small_webp(data: Data, size: Size, most: int, pixels: int) -> bytes:
    """Return a small WebP of an image, at most `pixels` wide and high; transparent images on white.

    Raises as `decoding` does.
    """
    with decoding(data, size, most) as image:
        image.thumbnail((pixels, pixels))
        small = image.convert("RGBA")
    flat = Image.alpha_composite(Image.new("RGBA", small.size, "white"), small).convert("RGB")
    buffer = io.BytesIO()
    flat.save(buffer, "WEBP", quality=60, method=4)
    return buffer.getvalue()


def is_blank(image: Image.Image) -> bool:
    """Decode an image completely; return whether it has a single colour, or is completely transparent.

    A white shape on a transparent background is neither.
    """
    is_plain = image.mode in {"RGB", "RGBA"} and "transparency" not in image.info
    plain = image if is_plain else image.convert("RGBA")  # another copy, of kinds that have less of each pixel
    channels = cast("tuple[tuple[int, int], ...]", plain.getextrema())
    is_uniform = all(high - low <= UNIFORM for low, high in channels)
    return is_uniform or (plain.mode == "RGBA" and channels[-1][1] <= UNIFORM)


_BLACK_PIXELS = 17_000_000
"""Pixels of an image that is looked at for being black, at most: 4096 x 4096."""

_OPAQUE = 255 - UNIFORM

_PIXELS_A_BYTE = 16
"""A picture that is black everywhere is compressed to fewer bytes than its pixels by this factor."""

_MORE_BYTES = 32 * 1024
"""Bytes besides, for metadata."""


def is_black(data: Data, size: Size) -> bool:
    """Return whether an image is opaque and black everywhere, as censored images are.

    Only a file that is small enough for its pixels is decoded; a black image without compression is not found.
    """
    pixels = (size[0] or 0) * (size[1] or 0)
    if not 0 < pixels <= _BLACK_PIXELS or len(data) > pixels // _PIXELS_A_BYTE + _MORE_BYTES:
        return False
    try:
        with decoding(data, size, _BLACK_PIXELS) as image:
            if getattr(image, "n_frames", 1) > 1:  # an animation may begin in black
                return False
            is_plain = image.mode == "RGB" and "transparency" not in image.info
            plain = image if is_plain else image.convert("RGBA")
            channels = cast("tuple[tuple[int, int], ...]", plain.getextrema())
    except Exception:  # noqa: BLE001 - Pillow raises about everything for bytes from outside
        return False
    is_opaque = plain.mode == "RGB" or channels[-1][0] >= _OPAQUE
    return is_opaque and all(high <= UNIFORM for _, high in channels[:3])


_PADDING = 8
"""Bytes that let a decoder finish the last block of a scan, since it reads ahead."""

_LARGEST = 80_000_000
"""Maximum pixels of an image that is decoded at an eighth of its size; above, Pillow itself warns."""


def decodes_to_its_end(data: Data) -> bool:
    """Return whether a sequential JPEG without an end marker has all its pixels, by decoding it.

    It is decoded at an eighth of its size, row by row, so its memory does not grow with its pixels. If only a few bytes
    are missing, less than a block of 8 x 8 pixels, this may go unnoticed.
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
