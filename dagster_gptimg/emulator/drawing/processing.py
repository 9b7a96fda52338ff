"""What is made of an image that was sent: cut out of its background, the mask of that, or enlarged.

Real pixels of that image, changed by simple rules, so that a pipeline's next step has something to work on. The same
image and format always give the same bytes. Memory: about six bytes for each pixel of the larger image; no second copy
of it is made.
"""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw

from dagster_gptimg.emulator.drawing.captions import mark
from dagster_gptimg.emulator.drawing.pictures import SAVE
from dagster_gptimg.emulator.drawing.scenes import PALETTES

_EDGE = 512
"""Pixels of the longer side of the copy in which the foreground is looked for."""
_APART = 40
"""Difference of a colour channel, 0 to 255, from which on a pixel is foreground."""
_LEAST = 0.01
"""Share of foreground pixels below which nothing was found: an ellipse in the middle is taken then."""
_MOST = 0.99
"""Share of foreground pixels above which the background was not found, with the same consequence."""
_MARKED = 220
"""Pixels of the shorter side from which on the mark can be read."""


def cut_out(source: Path, form: str) -> bytes:
    """Return the image without its background, in its own size."""
    image = _pixels(source)
    image.putalpha(_foreground(image))
    return _saved(image, form)


def foreground_mask(source: Path, form: str) -> bytes:
    """Return the mask alone: white where the foreground is, black elsewhere."""
    found = _foreground(_pixels(source))
    return _saved(found.convert("RGB") if form == "webp" else found, form, is_marked=False)


def enlarged(source: Path, width: int, height: int, form: str) -> bytes:
    """Return the image in another size, with its transparency where the format has any."""
    small = _pixels(source)
    small = small if form != "jpeg" else small.convert("RGB")
    # Each pixel repeated: quick to make, and to compress.
    return _saved(small.resize((width, height), Image.Resampling.NEAREST), form)


def _pixels(source: Path) -> Image.Image:
    """The image as RGB, or as RGBA if anything of it may be transparent."""
    with Image.open(source) as opened:
        opened.load()  # What is loaded outlives the file, and is not copied.
        mode = "RGBA" if opened.has_transparency_data else "RGB"
        return opened if opened.mode == mode else opened.convert(mode)


def _saved(image: Image.Image, form: str, *, is_marked: bool = True) -> bytes:
    if is_marked and min(image.size) >= _MARKED:
        mark(image, PALETTES[0])
    out = io.BytesIO()
    image.save(out, form, **SAVE[form])
    return out.getvalue()


def _foreground(image: Image.Image) -> Image.Image:
    """The alpha channel of an image without its background: its own, or what differs from the image's corners."""
    own = image.getchannel("A") if image.mode == "RGBA" else None
    if own is not None and own.getextrema() != (255, 255):
        return own
    scale = min(1.0, _EDGE / max(image.size))
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    small = image.resize(size, Image.Resampling.NEAREST).convert("RGB")
    red, green, blue = ImageChops.difference(small, _background(small)).split()
    apart = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    found = apart.point([255 * (value >= _APART) for value in range(256)])
    share = found.histogram()[255] / (found.width * found.height)
    if not _LEAST <= share <= _MOST:
        found = _ellipse(small.size)
    return found.resize(image.size, Image.Resampling.BILINEAR)


def _background(image: Image.Image) -> Image.Image:
    """The colours of the four corners, each running into the next: a plain background, lit from one side or not."""
    width, height = image.size
    across, down = max(1, width // 25), max(1, height // 25)
    corners = Image.new("RGB", (2, 2))
    for x, left in enumerate((0, width - across)):
        for y, top in enumerate((0, height - down)):
            corner = image.crop((left, top, left + across, top + down))
            corners.paste(corner.resize((1, 1), Image.Resampling.BOX), (x, y))
    return corners.resize(image.size, Image.Resampling.BILINEAR)


def _ellipse(size: tuple[int, int]) -> Image.Image:
    width, height = size
    found = Image.new("L", size, 0)
    ImageDraw.Draw(found).ellipse((width * 0.15, height * 0.15, width * 0.85, height * 0.85), fill=255)
    return found
