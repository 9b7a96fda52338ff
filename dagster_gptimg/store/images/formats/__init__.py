"""The structure of image files: their format, size, end, and missing parts. No pixel is decoded.

Pillow reads the headers. The rest is implemented here: the proof that a file ends too early, or has bytes after its
end. Whether a decoder can decode a file does not matter for storing it (docs/receipts.md#images).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagster_gptimg.store.images.formats import kinds
from dagster_gptimg.store.images.formats.headers import bmp_hole, size_of, tiff_hole
from dagster_gptimg.store.images.formats.kinds import UNKNOWN, Data, Kind, called, contradiction, kind_of
from dagster_gptimg.store.images.formats.walks import (
    Walked,
    walk_boxes,
    walk_gif,
    walk_jpeg,
    walk_png,
    walk_svg,
    walk_webp,
)

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["UNKNOWN", "Data", "Kind", "Walked", "called", "contradiction", "kind_of", "size_of", "walk"]

_WALKS: dict[Kind, Callable[[Data], Walked]] = {
    kinds.PNG: walk_png,
    kinds.JPEG: walk_jpeg,
    kinds.WEBP: walk_webp,
    kinds.GIF: walk_gif,
    kinds.SVG: walk_svg,
    kinds.BMP: lambda data: Walked(hole=bmp_hole(data)),
    kinds.TIFF: lambda data: Walked(hole=tiff_hole(data)),
    **dict.fromkeys((kinds.AVIF, kinds.HEIC, kinds.JXL, kinds.JP2), walk_boxes),
}


def walk(kind: Kind, data: Data) -> Walked:
    """Check the structure of a file of this kind; for other kinds nothing is known."""
    walker = _WALKS.get(kind)
    return walker(data) if walker else Walked()
