"""Stored images as checks and people look at them, by kind: pictures are decoded, an SVG is parsed and never drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import ImageSequence

from dagster_gptimg.errors import ImageError
from dagster_gptimg.store.images.decoding import decoding, is_blank
from dagster_gptimg.store.images.formats.kinds import SVG, kind_of
from dagster_gptimg.store.images.formats.svg import shapes_in

if TYPE_CHECKING:
    from PIL import Image

    from dagster_gptimg.store.images.decoding import Size
    from dagster_gptimg.store.images.formats import Data

FRAMES_MOST = 100_000_000
"""Maximum pixels of all decoded frames of an animation together: later frames are not decoded."""


def undrawn(content_type: str | None, size: int | None) -> str:
    """Return the words that stand for an image that is never drawn here; empty for one that is decoded.

    A viewer that draws an SVG may run its scripts and load what it names: neither its text nor a link to it is put
    into a page.
    """
    if content_type != SVG.content_type:
        return ""
    return "SVG, not drawn" if size is None else f"SVG, {size:,} bytes, not drawn"


def shows_nothing(data: Data, size: Size, most: int) -> bool:
    """Decode an image to its end; return whether each of its frames is blank. An SVG is blank without a shape.

    Args:
        data: the whole file.
        size: width and height from its header; not needed for an SVG.
        most: maximum pixels of a frame.

    Raises:
        ImageError: it is too large to be decoded, or of unknown size.
        Exception: it cannot be decoded, or is not well-formed: whatever the decoder raises.
    """
    if kind_of(data) == SVG:
        return not shapes_in(data)
    with decoding(data, size, most) as image:
        return _are_blank(image, most)


def _are_blank(image: Image.Image, most: int) -> bool:
    """Decode the frames of an image, as far as their number of pixels allows; return whether all of them are blank."""
    pixels, found = 0, True
    for frame in ImageSequence.Iterator(image):
        pixels += frame.width * frame.height
        if frame.width * frame.height > most:
            raise ImageError(f"a frame has {frame.width} x {frame.height} pixels; up to {most:,} are decoded")
        if pixels > FRAMES_MOST:
            break
        found = is_blank(frame) and found
    return found
