"""The size of a PNG, JPEG or WebP image from its header. No pixel is decoded, and no size is refused."""

from __future__ import annotations

import io
import struct
from contextlib import suppress

from PIL import Image, JpegImagePlugin, WebPImagePlugin

_PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_PNG_HEADER = 24
"""Bytes of a PNG file that hold its width and height."""


def image_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height in pixels; None if the bytes are no such image, or its header cannot be read."""
    if data.startswith(_PNG):
        width, height = struct.unpack_from(">II", data, 16) if len(data) >= _PNG_HEADER else (0, 0)
    else:
        width, height = _by_pillow(data)
    return (width, height) if width > 0 and height > 0 else None


def _by_pillow(data: bytes) -> tuple[int, int]:
    """Return the size by Pillow's readers, without `Image.open`, which refuses images with very many pixels."""
    for reader in (JpegImagePlugin.JpegImageFile, WebPImagePlugin.WebPImageFile):
        with suppress(Exception):  # Pillow raises about everything for bytes from outside
            image: Image.Image = reader(io.BytesIO(data))
            return image.size
    return 0, 0
