"""When to ask fal for a request's status: what the watcher asks of a schedule, and the plainest schedule there is."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Protocol

from dagster_gptimg.fal.types import Completed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagster_gptimg.engine.follow.tracked_request import TrackedRequest
    from dagster_gptimg.fal.types import Status

STEP = 1.0
"""Seconds between two looks at a request, where steps are fixed."""


class Schedule(Protocol):
    """Says which request is looked at next, and learns from what is seen. `now` is the clock's second."""

    @property
    def requests(self) -> Mapping[int, TrackedRequest]:
        """The requests in flight, by number, in the order of their submits."""

    @property
    def next_look(self) -> float | None:
        """The clock's second of the earliest look that is planned; None when there is none."""

    def add(self, tracked: TrackedRequest) -> None:
        """Take a request that was submitted, or found, just now."""

    def drop(self, tracked: TrackedRequest, now: float) -> None:
        """Forget a request: it has ended, or nobody waits for it any more."""

    def due(self, now: float) -> TrackedRequest | None:
        """The next request whose look is due; it is not told again."""

    def probe(self, now: float) -> TrackedRequest | None:
        """A request that is looked at only to learn more; asked for once a turn."""

    def saw(self, tracked: TrackedRequest, status: Status, now: float) -> None:
        """Draw the conclusions from a status; a request that has ended is dropped."""

    def could_not_read(self, tracked: TrackedRequest, now: float) -> None:
        """Plan another look at a request whose status could not be read."""

    def is_told_no_more(self, tracked: TrackedRequest) -> None:
        """Look at a request as at any other: fal does not tell of it by itself any more."""


class FixedSteps:
    """Looks at every request once a step. Where looks are not what counts: for tests of everything else."""

    def __init__(self, step: float = STEP) -> None:
        """`step`: seconds between two looks at a request."""
        self._step = step
        self._due: list[tuple[float, int]] = []
        self.requests: dict[int, TrackedRequest] = {}

    @property
    def next_look(self) -> float | None:
        """The clock's second of the earliest look that is planned."""
        return self._due[0][0] if self._due else None

    def add(self, tracked: TrackedRequest) -> None:
        """Plan a look a step after the submit; one that was found is looked at at once."""
        self.requests[tracked.number] = tracked
        heapq.heappush(self._due, (tracked.began + self._step * tracked.fresh, tracked.number))

    def drop(self, tracked: TrackedRequest, now: float) -> None:  # noqa: ARG002 - nothing is learned from an end
        """Forget a request."""
        self.requests.pop(tracked.number, None)

    def due(self, now: float) -> TrackedRequest | None:
        """The next request whose look is due."""
        while self._due and self._due[0][0] <= now:
            tracked = self.requests.get(heapq.heappop(self._due)[1])
            if tracked is not None:
                return tracked
        return None

    def probe(self, now: float) -> TrackedRequest | None:  # noqa: ARG002 - there is nothing to learn
        """Return None: no request is read out of turn."""
        return None

    def saw(self, tracked: TrackedRequest, status: Status, now: float) -> None:
        """Plan the next look, unless the request has ended."""
        if isinstance(status, Completed):
            self.drop(tracked, now)
        else:
            self.could_not_read(tracked, now)

    def could_not_read(self, tracked: TrackedRequest, now: float) -> None:
        """Plan the next look."""
        heapq.heappush(self._due, (now + self._step, tracked.number))

    def is_told_no_more(self, tracked: TrackedRequest) -> None:
        """Change nothing: every request is looked at, whether or not fal tells of it."""
