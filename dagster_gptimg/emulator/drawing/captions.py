"""The text on images: the prompt on a panel, and a mark that no model made this image."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont

from dagster_gptimg.emulator.drawing.scenes import Palette

MARK = "EMULATED - not the model's work"
ELLIPSIS = "..."
MAX_LINES = 5
_TYPOGRAPHIC = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "–": "-", "—": "-", "ß": "ss"})  # noqa: RUF001
_LOOKED_AT = 520
"""Characters of the prompt that are looked at; no more fit."""


@lru_cache(maxsize=32)
def _font(size: int) -> ImageFont.FreeTypeFont:
    """Return Pillow's own font; characters without a glyph become a box."""
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError("Pillow was built without FreeType")  # noqa: TRY004
    return font


def caption(canvas: Image.Image, prompt: str, palette: Palette) -> None:
    """Write the prompt on a panel at the foot of the picture."""
    width, height = canvas.size
    unit = min(width, height)
    margin, pad = unit // 24, unit // 26
    room = width - 2 * margin - 2 * pad
    size, lines = _fitted(clean(prompt), room, unit)
    step = round(size * 1.28)
    bottom = height - margin
    top = bottom - 2 * pad - step * len(lines)
    panel = (margin, top, width - margin, bottom)
    draw = _overlay(canvas)
    draw.rounded_rectangle(panel, radius=unit // 36, fill=(255, 255, 255, 232))
    rule = (margin + pad, top + pad * 0.5, margin + pad + unit // 9, top + pad * 0.5 + unit // 170)
    draw.rectangle(rule, fill=palette.accents[0])
    for number, line in enumerate(lines):
        draw.text((margin + pad, top + pad * 1.15 + number * step), line, palette.ink, _font(size))


def mark(canvas: Image.Image, palette: Palette) -> None:
    """Say what this is, in the upper left corner."""
    unit = min(canvas.size)
    size, margin = unit // 44, unit // 24
    width = _font(size).getlength(MARK)
    box = (margin, margin, margin + width + size * 1.6, margin + size * 2.1)
    draw = _overlay(canvas)
    draw.rounded_rectangle(box, radius=size, fill=(*palette.ink, 215))
    draw.text((margin + size * 0.8, margin + size * 1.05), MARK, (255, 255, 255), _font(size), anchor="lm")


def _overlay(canvas: Image.Image) -> ImageDraw.ImageDraw:
    """Return a drawing context that blends with the canvas; on a transparent canvas it replaces pixels."""
    return ImageDraw.Draw(canvas, "RGBA") if canvas.mode == "RGB" else ImageDraw.Draw(canvas)


def clean(prompt: str) -> str:
    """Return text as one line of ASCII, which the font has. Accents are dropped; other scripts become boxes."""
    plain = unicodedata.normalize("NFKD", prompt[:_LOOKED_AT].translate(_TYPOGRAPHIC))
    shown = "".join(letter if letter.isprintable() else " " for letter in plain if not unicodedata.combining(letter))
    text = " ".join(shown.split())
    return f"{text or '(no prompt)'}{ELLIPSIS if len(prompt) > _LOOKED_AT else ''}"


def _fitted(text: str, room: float, unit: int) -> tuple[int, list[str]]:
    """The largest font in which the text needs few lines, and the lines; what does not fit is cut off."""
    for share, most in ((20, 2), (25, 3), (30, 4)):
        size = unit // share
        if _font(size).getlength(text) <= room * most:
            lines = wrapped(text, room, size)
            if len(lines) <= most:
                return size, lines
    size = unit // 36
    lines = wrapped(text, room, size)
    if len(lines) > MAX_LINES:
        lines = [*lines[: MAX_LINES - 1], shortened(lines[MAX_LINES - 1] + " " + ELLIPSIS, room, size)]
    return size, lines


def wrapped(text: str, room: float, size: int) -> list[str]:
    """The text in lines that fit; a word that is too long for a line is broken."""
    lines: list[str] = []
    line = ""
    for word in _breakable(text, room, size):
        longer = f"{line} {word}" if line else word
        if line and _font(size).getlength(longer) > room:
            lines.append(line)
            line = word
        else:
            line = longer
    return [*lines, line]


def _breakable(text: str, room: float, size: int) -> list[str]:
    words: list[str] = []
    for word in text.split(" "):
        rest = word
        while _font(size).getlength(rest) > room:
            part = _prefix(rest, room, size)
            words.append(part)
            rest = rest[len(part) :]
        words.append(rest)
    return words


def _prefix(word: str, room: float, size: int) -> str:
    """As many letters as fit, and at least one."""
    low, high = 1, len(word)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _font(size).getlength(word[:middle]) <= room else (low, middle - 1)
    return word[:low]


def shortened(line: str, room: float, size: int) -> str:
    """The line, with an ellipsis where it would not fit."""
    if _font(size).getlength(line) <= room:
        return line
    body = line.removesuffix(ELLIPSIS)
    while body and _font(size).getlength(body + ELLIPSIS) > room:
        body = body[:-1]
    return body.rstrip() + ELLIPSIS
