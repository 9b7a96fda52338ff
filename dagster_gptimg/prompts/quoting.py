"""How messages about tables call things: every name and cell in quotes, and none longer than a line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LONGEST = 80
MOST = 50
"""Names that a list shows."""


def quoted(text: str, longest: int = LONGEST) -> str:
    """A text from outside in quotes, with what does not print as an escape, cut to so many characters."""
    return repr(text if len(text) <= longest else f"{text[:longest]}...")


def listed(names: Iterable[str], most: int = MOST) -> str:
    """Names in quotes, as many as a message has room for."""
    every = list(names)
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(map(quoted, every[:most])) + more


def meant(name: str, names: Iterable[str]) -> str:
    """`; did you mean 'product'?`, or nothing: a name that there is, near to one that there is not."""
    by_small = {other.strip().lower(): other for other in names}
    near = difflib.get_close_matches(name[:LONGEST].strip().lower(), list(by_small), 1)
    return f"; did you mean {quoted(by_small[near[0]])}?" if near else ""
