"""Collects the problems of a table's rows, so that all are reported at once."""

from __future__ import annotations

from dagster_gptimg.errors import RowProblem, TableError

KEPT = 10_000
SHOWN = 20


class Problems:
    """The problems of one table. The first `KEPT` are kept, and all are counted.

    Attributes:
        source: the table's name in messages.
        count: number of all problems; a row may have several.
        rows: number of rows with problems.
    """

    def __init__(self, source: str) -> None:
        self.source, self.count, self.rows = source, 0, 0
        self._file = source
        self._kept: list[RowProblem] = []
        self._line = 0

    def begin(self, source: str) -> None:
        """Note that the next problems concern this file."""
        self._file, self._line = source, 0

    def report(self, line: int, column: str | None, reason: str) -> None:
        """Record a problem of a row. Problems of the same row must be reported consecutively."""
        self.count += 1
        self.rows += line != self._line
        self._line = line
        if len(self._kept) < KEPT:
            self._kept.append(RowProblem(self._file, line, column, reason))

    def finish(self) -> None:
        """Raise the recorded problems, if any.

        Raises:
            TableError: there are problems.
        """
        if not self.count:
            return
        shown = "".join(f"\n  {problem}" for problem in self._kept[:SHOWN])
        more = f"\n  and {self.count - SHOWN} more" if self.count > SHOWN else ""
        what = "1 row is" if self.rows == 1 else f"{self.rows} rows are"
        msg = f"{what} invalid in {self.source}; nothing was sent:{shown}{more}"
        raise TableError(msg, self._kept)
