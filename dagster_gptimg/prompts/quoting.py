"""Quoting of names and cells in messages about tables, limited in length."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LONGEST = 80
MOST = 50
"""Maximum number of names that a list shows."""


def quoted(text: str, longest: int = LONGEST) -> str:
    """Quote an untrusted text, with unprintable characters escaped, and shortened to `longest` characters."""
    return repr(text if len(text) <= longest else f"{text[:longest]}...")


def listed(names: Iterable[str], most: int = MOST) -> str:
    """Quote names as a list, shortened to `most` names."""
    every = list(names)
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(map(quoted, every[:most])) + more


def meant(name: str, names: Iterable[str]) -> str:
    """Return `; did you mean 'product'?` if one of `names` is similar to `name`; else an empty text."""
    by_small = {other.strip().lower(): other for other in names}
    near = difflib.get_close_matches(name[:LONGEST].strip().lower(), list(by_small), 1)
    return f"; did you mean {quoted(by_small[near[0]])}?" if near else ""
