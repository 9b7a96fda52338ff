"""The structure of SVG files: root element, size, well-formedness. An SVG is never drawn here.

An SVG is a program's text from outside: it may hold scripts, addresses, and entities that expand. For storing, only the
first tag is read, by a regular expression. For a check it is parsed by expat, which builds no tree, loads nothing from
elsewhere, and is stopped at the first declared entity.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.parsers import expat

from dagster_gptimg.errors import ImageError
from dagster_gptimg.store.images.formats.kinds import svg_from

if TYPE_CHECKING:
    from dagster_gptimg.store.images.formats.kinds import Data

BYTES_MOST = 8 * 1024 * 1024
"""Maximum bytes of an SVG that is parsed for a check: some 200 MB in memory, if all of them are attributes."""

_NAMESPACE = "http://www.w3.org/2000/svg"
_SHAPES = frozenset(
    f"{_NAMESPACE} {name}"
    for name in ("circle", "ellipse", "image", "line", "path", "polygon", "polyline", "rect", "text", "use")
) | {f"{_NAMESPACE} foreignObject"}
"""Elements that put something on the canvas (https://www.w3.org/TR/SVG2/intro.html, graphics elements)."""

_ROOT = re.compile(r"""<((?:[A-Za-z_][\w.-]*:)?svg)(?=[\s/>])((?:[^"'>]|"[^"]*"|'[^']*')*)>""")
_ATTRIBUTE = re.compile(r"""(?<![^\s"'])([^\s=/"']++)\s*+=\s*+(?:"([^"]*+)"|'([^']*+)')""")
"""Possessive, and from the beginning of a name only: the time does not grow with the square of a long name."""

_PIXELS = re.compile(r"\s*\+?(\d{1,12}(?:\.\d*)?|\.\d+)(?:px)?\s*", re.ASCII)
_RELATIVE = re.compile(r"\s*(?:auto|[\d.]+%)\s*", re.ASCII)


def root_of(data: Data) -> re.Match[str] | None:
    """Return the whole first tag: its name, and the text of its attributes; None if it does not end where it should."""
    return _ROOT.match(svg_from(data))


def svg_size(data: Data) -> tuple[int | None, int | None]:
    """Return width and height in pixels of CSS, rounded: of the attributes, or of the viewBox where there are none.

    None for both if the file is no SVG, has no size, or has it in another unit or for one side only: then a viewer
    chooses the size.
    """
    root = root_of(data)
    found = {match[1]: match[2] or match[3] or "" for match in _ATTRIBUTE.finditer(root[2])} if root else {}
    sides = [found[name] for name in ("width", "height") if not _RELATIVE.fullmatch(found.get(name, "auto"))]
    if not sides:
        box = re.split(r"\s*,\s*|\s+", found.get("viewBox", "").strip())
        sides = box[2:] if len(box) == 4 else []  # noqa: PLR2004 - x, y, width, height
    known = [round(float(match[1])) for match in map(_PIXELS.fullmatch, sides) if match]
    return (known[0], known[1]) if len(known) == 2 and min(known) > 0 else (None, None)  # noqa: PLR2004 - two sides


def shapes_in(data: Data) -> int:
    """Return the number of graphic elements of an SVG, which is parsed to its end.

    Raises:
        ImageError: it has more bytes than are parsed.
        ValueError: it declares an entity, which is never expanded, or its root element is not SVG's own.
        ExpatError: it is not well-formed XML.
    """
    if len(data) > BYTES_MOST:
        raise ImageError(f"it has {len(data):,} bytes; up to {BYTES_MOST:,} of an SVG are parsed")
    parser, depth, shapes = expat.ParserCreate(namespace_separator=" "), 0, 0

    def begin(name: str, _attributes: object) -> None:
        nonlocal depth, shapes
        if depth == 0 and name != f"{_NAMESPACE} svg":
            raise ValueError("its root element is not SVG's own")
        depth, shapes = depth + 1, shapes + (name in _SHAPES)

    def refuse(*_declared: object) -> None:
        raise ValueError("it declares an entity")

    parser.StartElementHandler, parser.EntityDeclHandler = begin, refuse
    parser.Parse(data[:], True)  # noqa: FBT003 - in one piece: an older expat reads a long token anew with each piece
    return shapes
