"""Drawing of one image in the requested size, format and background, which cannot be mistaken for the model's.

The image's name determines its bytes, so that a download can be repeated. Most of the time is spent on PNG compression.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from html import escape
from random import Random

from PIL import Image, ImageOps

from dagster_gptimg.emulator.drawing.captions import MARK, caption, clean, mark
from dagster_gptimg.emulator.drawing.scenes import PALETTES, SCENES, Colour, Palette

MOST_SHOWN = 4
"""References that are shown; no more fit above the text."""

SAVE: dict[str, dict[str, int]] = {
    "png": {"compress_level": 1, "compress_type": 3},
    "jpeg": {"quality": 88},
    "webp": {"quality": 85, "method": 0},
    "gif": {},
}
"""Quick to compress: what counts is that the bytes are right, not that they are few."""

_FRAMES = 3
"""Frames of a GIF that is drawn: each is an animation."""
_FRAME_MS = 200


@dataclass(frozen=True)
class Picture:
    """The specification of an image to draw."""

    name: str
    """Decides scene, colours and places."""
    prompt: str
    width: int
    height: int
    form: str
    """`png`, `jpeg`, `webp`, `gif` or `svg`."""
    transparent: bool = False
    references: tuple[bytes, ...] = ()
    """Thumbnails of the images that an edit was made from, as PNG; they are shown."""


def paint(picture: Picture) -> bytes:
    """The bytes of the picture."""
    dice = Random(picture.name)  # noqa: S311 - colours, no secrets
    palette = dice.choice(PALETTES)
    if picture.form == "svg":
        return _vectors(picture, palette, dice)
    canvas, out = _drawn(picture, palette, dice), io.BytesIO()
    if picture.form == "gif":
        more = [_drawn(picture, palette, dice) for _ in range(_FRAMES - 1)]
        canvas.save(out, "gif", save_all=True, append_images=more, duration=_FRAME_MS, loop=0)
    else:
        canvas.save(out, picture.form, **SAVE[picture.form])
    return out.getvalue()


def _drawn(picture: Picture, palette: Palette, dice: Random) -> Image.Image:
    canvas = _scene(picture, palette, dice)
    caption(canvas, picture.prompt, palette)
    mark(canvas, palette)
    _show(canvas, picture.references)
    return canvas


def _vectors(picture: Picture, palette: Palette, dice: Random) -> bytes:
    """Return an SVG: a ground unless it is transparent, a disc, the prompt, and the mark."""
    width, height, unit = picture.width, picture.height, min(picture.width, picture.height)
    ground = "" if picture.transparent else f'<rect width="{width}" height="{height}" fill="{_hex(palette.ground)}"/>'
    x, y = round(width * dice.uniform(0.3, 0.7)), round(height * dice.uniform(0.3, 0.5))
    font = f'font-family="sans-serif" fill="{_hex(palette.ink)}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
        f'{ground}<circle cx="{x}" cy="{y}" r="{unit // 5}" fill="{_hex(palette.accents[0])}"/>'
        f'<text x="{unit // 24}" y="{unit // 12}" font-size="{unit // 40}" {font}>{MARK}</text>'
        f'<text x="{unit // 24}" y="{height - unit // 12}" font-size="{unit // 24}" {font}>'
        f"{escape(clean(picture.prompt))}</text></svg>\n"
    ).encode()


def _hex(colour: Colour) -> str:
    return "#" + bytes(colour).hex()


def _show(canvas: Image.Image, references: tuple[bytes, ...]) -> None:
    """The references in a column at the upper right, each framed."""
    unit = min(canvas.size)
    edge, margin = unit // 6, unit // 24
    for number, data in enumerate(references[:MOST_SHOWN]):
        with Image.open(io.BytesIO(data)) as image:
            framed = ImageOps.expand(ImageOps.fit(image.convert("RGB"), (edge, edge)), border=unit // 120, fill="white")
        canvas.paste(framed, (canvas.width - margin - framed.width, margin + number * (framed.height + margin // 2)))


def _scene(picture: Picture, palette: Palette, dice: Random) -> Image.Image:
    """The scene at half the size, each pixel taken four times: a quarter of the work, and quick to compress."""
    size = ((picture.width + 1) // 2, (picture.height + 1) // 2)
    if picture.transparent:
        canvas = Image.new("RGBA", size, (*palette.sky, 0))
        scenes = [scene for scene, stands_alone in SCENES if stands_alone]
    else:
        canvas = _gradient(size, palette, dice.uniform(-35, 35))
        scenes = [scene for scene, _ in SCENES]
    dice.choice(scenes)(canvas, palette, dice)
    return canvas.resize((picture.width, picture.height), Image.Resampling.NEAREST)


def _gradient(size: tuple[int, int], palette: Palette, angle: float) -> Image.Image:
    """Two colours that run into one another, somewhat tilted."""
    # The middle of the rotated ramp: its corners are empty.
    ramp = Image.linear_gradient("L").rotate(angle, Image.Resampling.BICUBIC).crop((46, 46, 210, 210))
    return ImageOps.colorize(ramp, palette.sky, palette.ground).resize(size, Image.Resampling.BILINEAR)
