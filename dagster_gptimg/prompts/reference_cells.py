"""Cells that hold reference images: one, a list, or several in one text, as people write them."""

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
"""What follows an address after a blank, and is no end of a file's name: `and`, `&`, `/`."""
_SEPARATOR = re.compile(r"\s*[\n\r|]\s*|\s*[,;]\s+|\s*[,;]\s*")
_ITEM = r"""(?:'[^'\\]*'|"[^"\\]*")"""
_PYTHONS_LIST = re.compile(rf"\[\s*(?:{_ITEM}\s*(?:,\s*{_ITEM}\s*)*,?\s*)?\]")
_AS_LIST = 'write several as a JSON list: ["first", "second"]'


def split(cell: str, is_known: ReferenceTest) -> list[str]:
    """The references of a cell: a JSON list, or one, or several with a comma, `;`, `|`, a blank or a new line between.

    A text is only cut where every part is a reference by itself: an address may have commas, and a name blanks.

    Args:
        cell: the text.
        is_known: whether a text that is no URL names an image that may be read.

    Raises:
        ValueError: it cannot be told which are meant; the message says how to write it.
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
            raise ValueError(f"a line break or a tab stands within an address, or what follows it is none: {_AS_LIST}")
    if len(parts) > 1:
        if any("?" in part for part in _BARE_COMMA.split(text)[:-1]):
            raise ValueError(f"it may be one address with another one in it, or several: {_AS_LIST}")
        for number, part in enumerate(parts, 1):
            if part.lower().startswith("data:"):
                continue
            is_followed = number < len(parts) and _WORD.search(part)
            if is_followed or re.search(r"[,;|]\s|\s[,;|]", part):
                raise ValueError(f"not every part of it is an address: {_AS_LIST}")
    return parts


def _listed(text: str) -> Iterator[str]:
    """The items of a JSON list, or of one as Python and pandas print it."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        if _PYTHONS_LIST.fullmatch(text) is None:
            raise ValueError(f"it begins like a list and is none that can be read: {_AS_LIST}") from None
        found = [item[1:-1] for item in re.findall(_ITEM, text)]
    for item in found:
        if not isinstance(item, str) or not item.strip():
            raise ValueError("every reference must be a text, and not an empty one")
        yield item.strip()
