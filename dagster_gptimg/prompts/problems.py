"""What is wrong with a table's rows, collected, so that all of it is told at once."""

from __future__ import annotations

from dagster_gptimg.errors import RowProblem, TableError

KEPT = 10_000
SHOWN = 20


class Problems:
    """The problems of one table. Of millions, the first `KEPT` are kept, and all are counted.

    Attributes:
        source: the table, as messages call it.
        count: all problems; a row may have several.
        rows: the rows that have any.
    """

    def __init__(self, source: str) -> None:
        self.source, self.count, self.rows = source, 0, 0
        self._file = source
        self._kept: list[RowProblem] = []
        self._line = 0

    def begin(self, source: str) -> None:
        """What follows is about this file."""
        self._file, self._line = source, 0

    def report(self, line: int, column: str | None, reason: str) -> None:
        """Note what is wrong with a row. A row's problems come one after another."""
        self.count += 1
        self.rows += line != self._line
        self._line = line
        if len(self._kept) < KEPT:
            self._kept.append(RowProblem(self._file, line, column, reason))

    def finish(self) -> None:
        """Raise what was found.

        Raises:
            TableError: something was.
        """
        if not self.count:
            return
        shown = "".join(f"\n  {problem}" for problem in self._kept[:SHOWN])
        more = f"\n  and {self.count - SHOWN} more" if self.count > SHOWN else ""
        what = "1 row is" if self.rows == 1 else f"{self.rows} rows are"
        msg = f"{what} invalid in {self.source}; nothing was sent:{shown}{more}"
        raise TableError(msg, self._kept)
