"""Status changes as events: each change of a request becomes one `Updated` event."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from dagster_gptimg.engine.events import Updated
from dagster_gptimg.fal.types import Completed, Queued

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dagster_gptimg.fal.types import LogLine, Status

MOST_LINES = 1000
"""Maximum lines of one request's log that are reported, so that an endless log cannot fill the memory."""


class StatusChanges:
    """Reports each change of the requests in flight once."""

    def __init__(self, tell: Callable[[Updated], None]) -> None:
        """`tell`: receives the events."""
        self._tell = tell

    @contextmanager
    def of(self, row_id: str, request_id: str) -> Iterator[Callable[[Status], None]]:
        """Yield a function to call with each status of one request while it is in flight.

        A status read has the whole log, a stream only new lines, and a reopened stream the whole log again.
        """
        told: tuple[str, int | None] | None = None
        lines: set[LogLine] = set()

        def says(status: Status) -> None:
            nonlocal told
            name, position = _name(status), status.position if isinstance(status, Queued) else None
            logs = () if isinstance(status, Queued) else status.logs
            new = tuple(line for line in dict.fromkeys(logs) if line not in lines)[: MOST_LINES - len(lines)]
            if (name, position) != told or new:
                told = name, position
                lines.update(new)
                self._tell(Updated(row_id, request_id, name, position, new))

        yield says


def _name(status: Status) -> Literal["IN_QUEUE", "IN_PROGRESS", "COMPLETED"]:
    if isinstance(status, Queued):
        return "IN_QUEUE"
    return "COMPLETED" if isinstance(status, Completed) else "IN_PROGRESS"
