"""Parsing of cells with reference images: one, a list, or several in one text, in the notations that people use."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

ReferenceTest = Callable[[str], bool]

_START = r"(?:[a-z][a-z0-9+.-]*://|data:)"
_BEGINS = re.compile(_START, re.IGNORECASE)
_BETWEEN = re.compile(rf"(?:\s*[,;|，；、]\s*|\s+)(?={_START})", re.IGNORECASE)  # noqa: RUF001 - as people write them
_BARE_COMMA = re.compile(rf"[,;，；、](?={_START})", re.IGNORECASE)  # noqa: RUF001
_AFTER = re.compile(r"[\s,;|，；、]+$")  # noqa: RUF001
_WORD = re.compile(r"\s(?:[^\s./]+|\W+)$")
"""Text after a URL and a blank that cannot be the end of a file name: `and`, `&`, `/`."""
_SEPARATOR = re.compile(r"\s*[\n\r|]\s*|\s*[,;]\s+|\s*[,;]\s*")
_ITEM = r"""(?:'[^'\\]*'|"[^"\\]*")"""
_PYTHONS_LIST = re.compile(rf"\[\s*(?:{_ITEM}\s*(?:,\s*{_ITEM}\s*)*,?\s*)?\]")
_AS_LIST = 'write several as a JSON list: ["first", "second"]'


def split(cell: str, is_known: ReferenceTest) -> list[str]:
    """Return the references in a cell.

    A JSON list, one reference, or several separated by a comma, `;`, `|`, blank or newline.

    A text is split only if each part is a reference by itself: a URL may contain commas, and a file name blanks.

    Args:
        cell: the text.
        is_known: returns whether a text that is not a URL names a readable image.

    Raises:
        ValueError: the cell is ambiguous; the message says how to write it.
    """
    text = cell.strip()
    if text.startswith("["):
        return list(_listed(text))
    text = _AFTER.sub("", text)
    if _BEGINS.match(text):
        return _addresses(text)
    if _SEPARATOR.search(text) and not is_known(text):
        parts = [part for part in _SEPARATOR.split(text) if part]
        if len(parts) > 1 and all(_BEGINS.match(part) or is_known(part) for part in parts):
            return parts
    return [text]


def _addresses(text: str) -> list[str]:
    parts = _BETWEEN.split(text)
    for part in parts:
        if not part.lower().startswith("data:") and re.search(r"[\n\r\t]", part):
            raise ValueError(
                f"a URL has a line break or tab in it, or is followed by a text that is not a URL: {_AS_LIST}"
            )
    if len(parts) > 1:
        if any("?" in part for part in _BARE_COMMA.split(text)[:-1]):
            raise ValueError(f"this may be one URL that contains another one, or several: {_AS_LIST}")
        for number, part in enumerate(parts, 1):
            if part.lower().startswith("data:"):
                continue
            is_followed = number < len(parts) and _WORD.search(part)
            if is_followed or re.search(r"[,;|]\s|\s[,;|]", part):
                raise ValueError(f"not every part of it is a URL: {_AS_LIST}")
    return parts


def _listed(text: str) -> Iterator[str]:
    """Yield the items of a JSON list, or of a list as printed by Python or pandas."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        if _PYTHONS_LIST.fullmatch(text) is None:
            raise ValueError(f"it begins like a list, but cannot be parsed as one: {_AS_LIST}") from None
        found = [item[1:-1] for item in re.findall(_ITEM, text)]
    for item in found:
        if not isinstance(item, str) or not item.strip():
            raise ValueError("every reference must be a text that is not empty")
        yield item.strip()
