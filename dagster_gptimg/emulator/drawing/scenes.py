"""The scenes that pictures show: simple shapes in colours that go together."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from random import Random

from PIL import Image, ImageDraw, ImageOps

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Palette:
    """Colours that go together."""

    sky: Colour
    ground: Colour
    accents: tuple[Colour, Colour, Colour]
    ink: Colour
    """For text on white."""


def _palette(*codes: str) -> Palette:
    sky, ground, one, two, three, ink = (_colour(code) for code in codes)
    return Palette(sky, ground, (one, two, three), ink)


def _colour(code: str) -> Colour:
    red, green, blue = bytes.fromhex(code)
    return red, green, blue


PALETTES = (
    _palette("fde8d7", "f2a48b", "d95d39", "f0c808", "6b2d5c", "4a1f3d"),
    _palette("dff3f5", "7fb7be", "1b5e6b", "f4a259", "d3574c", "123f48"),
    _palette("f5e9ff", "a88fd8", "5b3a9d", "ff8fa3", "ffd166", "33205c"),
    _palette("fff4d6", "f7c873", "e07a1f", "3d7068", "b23a48", "5a3208"),
    _palette("e4f5e4", "8cc29a", "2f6b4f", "f2c14e", "f78154", "1b4332"),
    _palette("e3edfb", "8aaee0", "2b4c9b", "f9c74f", "ef6f6c", "1a2f66"),
    _palette("fbe4ea", "e792a8", "b23a6b", "5e60ce", "ffb86b", "5b1836"),
    _palette("f3efe6", "c9b79c", "7d5a3c", "4f772d", "d68c45", "3f2c1b"),
    _palette("dbe7f0", "6f8fae", "23395b", "e9b872", "c1666b", "182a44"),
    _palette("fdf0e6", "cfa6d8", "7a3e9d", "3fa7a3", "f6ae2d", "40205a"),
    _palette("e9f7f2", "79c7b0", "147a6c", "f25f5c", "ffe066", "0b4a41"),
    _palette("ffe9d2", "f08a6b", "8f2d56", "218380", "fbb13c", "4f1730"),
)


def mixed(one: Colour, other: Colour, share: float) -> Colour:
    """`one`, with `share` of `other` in it."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


@lru_cache(maxsize=1)
def _disc() -> Image.Image:
    """A mask of a disc; resized, its edge is smooth."""
    mask = Image.new("L", (512, 512), 0)
    ImageDraw.Draw(mask).ellipse((0, 0, 511, 511), fill=255)
    return mask


@lru_cache(maxsize=1)
def _light() -> Image.Image:
    """Light that falls from the upper left onto a ball: bright 0, dark 255."""
    return Image.radial_gradient("L").transform(
        (256, 256), Image.Transform.AFFINE, (0.56, 0, 76, 0, 0.56, 84), Image.Resampling.BILINEAR
    )


def _ball(canvas: Image.Image, x: float, y: float, radius: float, colour: Colour) -> None:
    """A ball with light on it, centred at x, y."""
    side = max(2, round(2 * radius))
    shaded = ImageOps.colorize(
        _light(), mixed(colour, (255, 255, 255), 0.55), mixed(colour, (20, 10, 40), 0.45), colour
    ).resize((side, side), Image.Resampling.BILINEAR)
    canvas.paste(shaded, (round(x - radius), round(y - radius)), _disc().resize((side, side)))


def _shadow(canvas: Image.Image, x: float, y: float, width: float, palette: Palette) -> None:
    """A flat shadow on the floor."""
    draw = ImageDraw.Draw(canvas, "RGBA") if canvas.mode == "RGB" else ImageDraw.Draw(canvas)
    for step, alpha in ((1.0, 26), (0.82, 34), (0.64, 44)):
        half = width * step / 2
        draw.ellipse((x - half, y - half * 0.16, x + half, y + half * 0.16), fill=(*palette.ink, alpha))


def hills(canvas: Image.Image, palette: Palette, dice: Random) -> None:
    """A sun over layers of hills."""
    width, height = canvas.size
    sun = height * dice.uniform(0.09, 0.15)
    colour = dice.choice(palette.accents[1:])
    x, y = width * dice.uniform(0.2, 0.8), height * dice.uniform(0.18, 0.36)
    halo = ImageDraw.Draw(canvas, "RGBA")
    for size, alpha in ((2.0, 22), (1.6, 30), (1.28, 44)):
        halo.ellipse((x - sun * size, y - sun * size, x + sun * size, y + sun * size), fill=(*colour, alpha))
    halo.ellipse((x - sun, y - sun, x + sun, y + sun), fill=mixed(colour, (255, 255, 255), 0.35))
    for layer in range(4):
        near = (layer + 1) / 4
        shade = mixed(mixed(palette.ground, (255, 255, 255), 0.25), palette.accents[0], near)
        _ridge(canvas, height * (0.36 + 0.14 * layer), height * 0.075, mixed(shade, palette.ink, near * 0.35), dice)


def _ridge(canvas: Image.Image, base: float, swing: float, colour: Colour, dice: Random) -> None:
    width, height = canvas.size
    waves = [(dice.uniform(0.6, 1.1), dice.uniform(0, 6.3), 1.0), (dice.uniform(1.8, 3.0), dice.uniform(0, 6.3), 0.35)]
    line = [
        (x, base + swing * sum(share * math.sin(x / width * 6.3 * often + at) for often, at, share in waves))
        for x in range(0, width + 16, 16)
    ]
    ImageDraw.Draw(canvas).polygon([(0, height), *line, (width, height)], fill=colour)


def still_life(canvas: Image.Image, palette: Palette, dice: Random) -> None:
    """Something on a pedestal, as in a catalogue."""
    width, height = canvas.size
    floor, middle = height * 0.6, width / 2
    half, tall = min(width, height) * dice.uniform(0.2, 0.25), height * dice.uniform(0.1, 0.16)
    if canvas.mode == "RGB":
        _arch(canvas, middle, floor, half, palette)
    _shadow(canvas, middle, floor + half * 0.12, half * 3.1, palette)
    _drum(canvas, middle, floor, half, tall, mixed(palette.accents[0], (255, 255, 255), 0.12))
    top, size = floor - tall, half * dice.uniform(0.52, 0.66)
    first, second = dice.sample(palette.accents[1:], 2)
    if canvas.mode == "RGB":
        # On a transparent canvas ink replaces: this shadow would be a hole.
        _shadow(canvas, middle, top, size * 2, palette)
    _ball(canvas, middle, top - size * 0.98, size, first)
    small = size * dice.uniform(0.3, 0.42)
    side = dice.choice((-1, 1))
    _ball(canvas, middle + side * half * 0.72, top - small * 0.8, small, second)
    _ball(canvas, middle - side * half * 1.42, floor - small * 0.45, small * 0.85, palette.accents[0])


def _arch(canvas: Image.Image, middle: float, floor: float, half: float, palette: Palette) -> None:
    """An arched wall behind, and the floor."""
    width, height = canvas.size
    draw = ImageDraw.Draw(canvas, "RGBA")
    wide, top = half * 1.75, floor - half * 2.35
    light = (*mixed(palette.sky, (255, 255, 255), 0.5), 150)
    draw.pieslice((middle - wide, top - wide * 0.5, middle + wide, top + wide * 1.5), 180, 360, fill=light)
    draw.rectangle((middle - wide, top + wide * 0.5 + 1, middle + wide, floor), fill=light)
    draw.rectangle((0, floor - half * 0.18, width, height), fill=mixed(palette.ground, palette.ink, 0.16))


def _drum(canvas: Image.Image, x: float, y: float, half: float, tall: float, colour: Colour) -> None:
    """Draw a low cylinder that stands on y, lit from the left."""
    flat = half * 0.2
    width, height = round(2 * half), round(tall + 2 * flat)
    body = Image.new("L", (width, height), 0)
    pen = ImageDraw.Draw(body)
    pen.rectangle((0, flat, width, flat + tall), fill=255)
    pen.ellipse((0, tall, width - 1, tall + 2 * flat), fill=255)
    ramp = Image.linear_gradient("L").transpose(Image.Transpose.ROTATE_90)
    lit, dark = mixed(colour, (255, 255, 255), 0.12), mixed(colour, (30, 15, 45), 0.42)
    corner = (round(x - half), round(y - tall - flat))
    canvas.paste(ImageOps.colorize(ramp, lit, dark).resize((width, height)), corner, body)
    top = (corner[0], corner[1], corner[0] + width - 1, corner[1] + 2 * flat)
    ImageDraw.Draw(canvas).ellipse(top, fill=mixed(colour, (255, 255, 255), 0.25))


def orbits(canvas: Image.Image, palette: Palette, dice: Random) -> None:
    """Balls on rings around a larger one."""
    width, height = canvas.size
    x, y, unit = width / 2, height * 0.4, min(width, height)
    draw = ImageDraw.Draw(canvas, "RGBA") if canvas.mode == "RGB" else ImageDraw.Draw(canvas)
    light = mixed(palette.accents[0], (255, 255, 255), 0.3)
    for ring in range(3):
        radius = unit * (0.19 + 0.08 * ring)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=(*light, 200), width=max(2, unit // 220))
    _ball(canvas, x, y, unit * dice.uniform(0.1, 0.14), palette.accents[0])
    for ring in range(3):
        radius, angle = unit * (0.19 + 0.08 * ring), dice.uniform(0, 6.3)
        ball = unit * dice.uniform(0.026, 0.052)
        colour = palette.accents[1 + ring % 2]
        _ball(canvas, x + radius * math.cos(angle), y + radius * math.sin(angle), ball, colour)


def tiles(canvas: Image.Image, palette: Palette, dice: Random) -> None:
    """Quarter circles and discs on a grid."""
    width, height = canvas.size
    across = 4 if width <= height else 6
    side = width / across
    draw = ImageDraw.Draw(canvas)
    colours = [*palette.accents, palette.ground, mixed(palette.sky, (255, 255, 255), 0.4), palette.ink]
    for row in range(math.ceil(height / side)):
        for column in range(across):
            ground, figure = dice.sample(colours, 2)
            x, y = column * side, row * side
            draw.rectangle((x, y, x + side, y + side), fill=ground)
            _figure(draw, (x, y, side), figure, dice)


_QUARTERS = {"upper left": (0, 0, 180), "upper right": (1, 0, 270), "lower left": (0, 1, 90), "lower right": (1, 1, 0)}
"""For each quarter circle: the position of its circle, in tiles to the left and up, and its start angle."""


def _figure(draw: ImageDraw.ImageDraw, tile: tuple[float, float, float], colour: Colour, dice: Random) -> None:
    x, y, side = tile
    kind = dice.choice(("disc", "corner", *_QUARTERS))
    if kind == "disc":
        draw.ellipse((x + side * 0.14, y + side * 0.14, x + side * 0.86, y + side * 0.86), fill=colour)
    elif kind == "corner":
        draw.polygon([(x, y + side), (x + side, y + side), (x + side, y)], fill=colour)
    else:
        right, down, start = _QUARTERS[kind]
        left, top = x - side * right, y - side * down
        draw.pieslice((left, top, left + 2 * side, top + 2 * side), start, start + 90, fill=colour)


Scene = Callable[[Image.Image, Palette, Random], None]
SCENES: tuple[tuple[Scene, bool], ...] = ((still_life, True), (hills, False), (orbits, True), (tiles, False))
"""Every scene, and whether it can stand alone on a transparent background."""
