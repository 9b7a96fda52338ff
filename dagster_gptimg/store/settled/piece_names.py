"""The names of the settled index's pieces, by which one that is lost, damaged, or another one's is found out.

A piece is named by its content: `<name>.<digest>.parquet`. Beside it lies an empty mark, `<piece>.made`, made after it
and removed before it: a mark without its piece says that the piece was lost. What earlier releases wrote has neither.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

ENDING, MARK = ".parquet", ".made"
_NAMED = re.compile(r".+\.(?P<digest>[0-9a-f]{16})\.parquet")


class Listed(NamedTuple):
    """What lies in an index's folder.

    Attributes:
        pieces: names of pieces.
        marked: names of pieces that have been made, and not been removed.
    """

    pieces: list[str]
    marked: set[str]


def listed(names: Iterable[str]) -> Listed:
    """Sort out what lies in the folder; what is neither piece nor mark is passed over."""
    found = Listed([], set())
    for name in names:
        if name.endswith(ENDING):
            found.pieces.append(name)
        elif name.endswith(f"{ENDING}{MARK}"):
            found.marked.add(name.removesuffix(MARK))
    return found


def piece_name(name: str, content: Path) -> str:
    """What a piece with this content is called."""
    return f"{name}.{_digest(content)}{ENDING}"


def check_piece(name: str, content: Path) -> None:
    """Make sure that a piece is the one that was written under its name, as far as the name tells.

    Raises:
        ValueError: it is another one, or was damaged.
    """
    match = _NAMED.fullmatch(name)
    if match is not None and match["digest"] != _digest(content):
        raise ValueError(f"{name} does not hold what was written")


def _digest(content: Path) -> str:
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
