"""Text from outside on a terminal: what would move its cursor, or turn the order of its letters, does nothing."""

from __future__ import annotations


def plain(text: str) -> str:
    """A text with an escape in the place of each letter that does not print (control, format and bidi characters)."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
