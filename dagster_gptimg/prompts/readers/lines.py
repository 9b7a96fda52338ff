"""The lines of a text file, limited in length: a table is untrusted text."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_ROW = 72 * 2**20
"""Maximum characters of one row of a text file.

More than the largest reference image that a cell may hold as a data URI.
"""

_SKIPPED = 2**16


class LongRowError(ValueError):
    """A row is longer than `LONGEST_ROW`; the rest of its line was skipped."""

    def __init__(self) -> None:
        super().__init__(f"the row has more than {LONGEST_ROW:,} characters")


class Lines:
    """Iterates over lines, including their line ends. Memory is limited: a longer line is skipped and reported.

    Attributes:
        number: number of the last line, from 1.
    """

    def __init__(self, text: IO[str], number: int = 0) -> None:
        """`text`: opened with `newline=""`; `number`: number of lines that were read from it before."""
        self._text, self.number, self._size = text, number, 0
        self._waiting: list[str] = []

    def begin_row(self) -> int:
        """Note that a row begins with the next line, and return that line's number."""
        self._size = 0
        return self.number + 1

    def put_back(self, line: str) -> None:
        """Return a line to the front, to be read again."""
        self._waiting.append(line)
        self.number -= 1

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        """Return the next line.

        Raises:
            LongRowError: the line is too long, alone or together with the row's earlier lines.
        """
        line = self._waiting.pop() if self._waiting else self._text.readline(LONGEST_ROW + 1 - self._size)
        if not line:
            raise StopIteration
        self.number += 1
        self._size += len(line)
        if self._size > LONGEST_ROW:
            self._skip(line)
            raise LongRowError
        return line

    def _skip(self, line: str) -> None:
        while line and not line.endswith(("\n", "\r")):
            line = self._text.readline(_SKIPPED)
