"""Parsing of image headers: size, and the position of the pixels. Pillow parses those of pictures."""

from __future__ import annotations

import io
import struct
from contextlib import suppress
from itertools import islice
from typing import IO, TYPE_CHECKING, Any, Literal, cast

from PIL import Image, ImageFile, ImageSequence

from dagster_gptimg.store.images.decoding import readable
from dagster_gptimg.store.images.formats.kinds import SVG
from dagster_gptimg.store.images.formats.svg import svg_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagster_gptimg.store.images.formats.kinds import Data, Kind

_PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"

_MOST_DIRECTORIES = 1000
"""Maximum number of directories of a TIFF file that are read."""


_MOST_SIDE = 2**31 - 1
"""Maximum pixels of a side: what PNG allows, and what a column of the image table holds."""


def size_of(kind: Kind, data: Data) -> tuple[int | None, int | None]:
    """Return width and height in pixels from the header; None if the kind has none, or it is not possible."""
    width, height = svg_size(data) if kind == SVG else _size(data)
    is_possible = width is not None and height is not None and 0 < width <= _MOST_SIDE and 0 < height <= _MOST_SIDE
    return (width, height) if is_possible else (None, None)


def _size(data: Data) -> tuple[int | None, int | None]:
    if data[:16] == _PNG:  # Pillow reads all chunks before the picture into memory
        width, height = struct.unpack_from(">II", data, 16) if len(data) >= 24 else (None, None)  # noqa: PLR2004
        return width, height
    image = _header(data)
    return image.size if image is not None else (None, None)


def bmp_hole(data: Data) -> str:
    """Return in words what proves that pixels of an uncompressed BMP file are missing; empty if nothing does."""
    image = _header(data)
    for codec, box, offset, args in image.tile if image is not None else ():
        if codec == "raw" and isinstance(args, tuple) and box and offset + args[1] * box[3] > len(data):
            return "it is cut off within its pixels"
    return ""


def tiff_hole(data: Data) -> str:
    """Return in words what proves that strips or tiles of a TIFF file are missing; empty if nothing does."""
    order: Literal["little", "big"] = "little" if data[:2] == b"II" else "big"
    address, count, entry = (8, 8, 20) if b"+" in data[2:4] else (4, 2, 12)
    first = int.from_bytes(data[address : 2 * address], order)
    entries = int.from_bytes(data[first : first + count], order)
    if first + count + entries * entry > len(data):  # Pillow goes on with half a directory
        return "it is cut off before the end of its directory"
    with suppress(Exception):  # Pillow raises about everything: then nothing is proved
        for tags in _directories(data):
            for starts, lengths in ((273, 279), (324, 325)):
                ends = map(int.__add__, tags.get(starts, ()), tags.get(lengths, ()))
                if max(ends, default=0) > len(data):
                    return "it is cut off before the end of what its directory names"
    return ""


def _directories(data: Data) -> Iterator[Any]:
    image = _header(data)
    for frame in islice(ImageSequence.Iterator(image), _MOST_DIRECTORIES) if image is not None else ():
        yield frame.tag_v2  # type: ignore[attr-defined]


def _header(data: Data) -> ImageFile.ImageFile | None:
    """Return an image of which only the header was read; None if Pillow cannot read it.

    `Image.open` refuses images with very many pixels, which does not matter for a header: nothing is decoded here.
    """
    for name in readable():
        factory, accepts = Image.OPEN[name]
        with suppress(Exception):  # Pillow raises about everything for bytes from outside
            if accepts is None or accepts(data[:16]) is True:
                file = io.BytesIO(data) if isinstance(data, bytes) else cast("IO[bytes]", data)  # a map needs no copy
                file.seek(0)
                return factory(file, "")
    return None
