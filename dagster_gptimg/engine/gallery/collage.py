"""A collage of a gallery's thumbnails, small enough to stand in an event."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

from PIL import Image, ImageOps

from dagster_gptimg.errors import UnreadableError
from dagster_gptimg.store.gallery_layout import thumbnail_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagster_gptimg.store.dataset import Dataset

A_ROW = 10
WIDTHS = (80, 56, 40, 24)
"""Widths of one image in pixels, tried in this order until the collage is small enough."""


def collage(dataset: Dataset, sample: Sequence[str], most_bytes: int) -> str:
    """Return a collage as a WebP data URI; empty if there is no thumbnail, or none is small enough. Blocks.

    Args:
        dataset: the dataset.
        sample: SHA-256 digests of its images, in order.
        most_bytes: maximum length of the data URI.
    """
    tiles = [tile for sha256 in sample if (tile := _tile(dataset, sha256)) is not None]
    for width in WIDTHS if tiles else ():
        buffer = io.BytesIO()
        _sheet(tiles, width).save(buffer, "WEBP", quality=60)
        found = f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
        if len(found) <= most_bytes:
            return found
    return ""


def _tile(dataset: Dataset, sha256: str) -> Image.Image | None:
    try:
        data = dataset.store.read(f"{dataset.folder}/{thumbnail_name(sha256)}")
        with Image.open(io.BytesIO(data), formats=["WEBP"]) as image:
            return ImageOps.fit(image.convert("RGB"), (WIDTHS[0], WIDTHS[0]))
    except (FileNotFoundError, UnreadableError, OSError):  # a collage is only derived
        return None


def _sheet(tiles: Sequence[Image.Image], width: int) -> Image.Image:
    columns = min(A_ROW, len(tiles))
    sheet = Image.new("RGB", (columns * width, -(-len(tiles) // columns) * width), "white")
    for place, tile in enumerate(tiles):
        sheet.paste(tile.resize((width, width)), (place % columns * width, place // columns * width))
    return sheet
