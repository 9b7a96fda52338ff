"""The names of the settled index's pieces, by which lost, damaged or foreign pieces are recognized.

A piece is named by its content: `<name>.<digest>.parquet`. An empty mark beside it, `<piece>.made`, is made after it
and removed before it: a mark without its piece means that the piece was lost. Earlier releases wrote neither.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

ENDING = ".parquet"
MARK = ".made"
_NAMED = re.compile(r".+\.(?P<digest>[0-9a-f]{16})\.parquet")


class Listed(NamedTuple):
    """The content of an index's folder.

    Attributes:
        pieces: names of pieces.
        marked: names of pieces that were made, and not removed.
    """

    pieces: list[str]
    marked: set[str]


def listed(names: Iterable[str]) -> Listed:
    """Sort the names in the folder; other files are ignored."""
    found = Listed([], set())
    for name in names:
        if name.endswith(ENDING):
            found.pieces.append(name)
        elif name.endswith(f"{ENDING}{MARK}"):
            found.marked.add(name.removesuffix(MARK))
    return found


def piece_name(name: str, content: Path) -> str:
    """Return the name of a piece with this content."""
    return f"{name}.{_digest(content)}{ENDING}"


def check_piece(name: str, content: Path) -> None:
    """Check that a piece has the content of its name, if the name has a digest.

    Raises:
        ValueError: the content is another one, or damaged.
    """
    match = _NAMED.fullmatch(name)
    if match is not None and match["digest"] != _digest(content):
        raise ValueError(f"{name} differs from what was written")


def _digest(content: Path) -> str:
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
