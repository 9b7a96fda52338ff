"""The lines of a text file, none of them longer than a bound: what a table holds is text from outside."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_ROW = 72 * 2**20
"""Characters of one row of a text file: the largest reference image that a cell may hold, as a data URI, and more."""

_SKIPPED = 2**16


class LongRowError(ValueError):
    """A row is longer than `LONGEST_ROW`; what is left of its line was skipped."""

    def __init__(self) -> None:
        super().__init__(f"the row has more than {LONGEST_ROW:,} characters")


class Lines:
    """Iterates over lines, with their ends. Memory is bounded: a longer line is skipped, and told.

    Attributes:
        number: of the line that came last, from 1.
    """

    def __init__(self, text: IO[str], number: int = 0) -> None:
        """`text`: opened with `newline=""`; `number`: the lines that were taken from it before."""
        self._text, self.number, self._size = text, number, 0
        self._waiting: list[str] = []

    def begin_row(self) -> int:
        """A row begins with the next line, whose number this is."""
        self._size = 0
        return self.number + 1

    def put_back(self, line: str) -> None:
        """Have a line come once more."""
        self._waiting.append(line)
        self.number -= 1

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        """The next line.

        Raises:
            LongRowError: it is too long, alone or with the lines of its row before it.
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
