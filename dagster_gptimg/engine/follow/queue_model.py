"""A model of fal's queue: which requests of a run are running, and which are still waiting.

fal starts requests in the order of their submits, as many at once as the account has slots; when one ends, the next one
starts. So waiting requests need no status reads. The number of slots is estimated, since fal does not provide it: at
the start by bisection (is the newest request running? the middle one?), then by Little's law (while others wait, the
number running equals the ends per second times the mean inference time), and by every status that contradicts the
model.
"""

from __future__ import annotations

import statistics
from collections import OrderedDict, deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagster_gptimg.engine.follow.tracked_request import TrackedRequest


COUNTED = 4096
"""Number of latest ends from which the slots are estimated."""
ENOUGH = 128
"""Minimum number of ends for an estimate."""
ROUNDS = 8
"""Minimum number of ends per slot for an estimate: at the start ends come in waves."""
COUNT_EVERY = 32
"""Number of further ends after which the slots are estimated again."""

CERTAIN = 0.05
"""Minimum relative difference between an estimate and the model: observed states have precedence over estimates."""

SLACK = 8
"""Of this many requests that are assumed to run, one may have ended unnoticed, so that the next one runs."""

REORDERED = 64
"""Number of latest starts that may still be reordered: ends are noticed in another order than they happen."""


class QueueModel:
    """The requests in flight, in the state that fal is assumed to have them in.

    Attributes:
        requests: by number, in the order of their submits.
        waiting: requests that are assumed to wait, the next one first.
        slots: number of requests that run at once; None while it is not known.
    """

    def __init__(self, on_start: Callable[[TrackedRequest], None], on_wait: Callable[[TrackedRequest], None]) -> None:
        """Make an empty model.

        Args:
            on_start: called when a request is assumed to run, or since another time.
            on_wait: called when that was wrong, and it waits.
        """
        self.requests: OrderedDict[int, TrackedRequest] = OrderedDict()
        self.waiting: deque[TrackedRequest] = deque()
        self.slots: int | None = None
        self._on_start, self._on_wait = on_start, on_wait
        self._running = 0
        self._front = -1  # all requests up to this number were seen running or ended
        self._searching = False
        self._ends: deque[tuple[float, float]] = deque(maxlen=COUNTED)
        self._counted = 0
        self._started: deque[TrackedRequest] = deque(maxlen=REORDERED)

    def newest(self, settled: float) -> TrackedRequest | None:
        """Return the last request that this run submitted before `settled`: it runs, unless no slot was free."""
        return next((f for f in reversed(self.requests.values()) if f.fresh and f.began <= settled), None)

    def add(self, tracked: TrackedRequest) -> None:
        """Add a request; one that was found, not just submitted, is assumed to run."""
        self.requests[tracked.number] = tracked
        if not tracked.fresh or (not self.waiting and self._has_room):
            self._start(tracked, tracked.began)
        else:
            self.waiting.append(tracked)

    def drop(self, tracked: TrackedRequest, end: float, inference: float | None = None) -> None:
        """Remove a request that has ended, or that nobody waits for any more; the next one starts at that time.

        Args:
            tracked: the request.
            end: when it ended.
            inference: seconds that fal says it ran.
        """
        if self.requests.pop(tracked.number, None) is None:
            return
        if tracked.started is None:
            self.waiting.remove(tracked)
        else:
            self._running -= 1
            self._count(end, inference)
        self._fill(end)

    # -- conclusions from a status

    def is_running(self, tracked: TrackedRequest, now: float) -> bool:
        """Note that a request, and every one submitted before it, runs. Returns whether it was assumed to wait."""
        surprise = tracked.started is None
        while tracked.started is None:
            self._start(self.waiting.popleft(), now)
        if surprise and self.slots is not None:
            self.slots = max(self.slots, self._running)
        self._reach(tracked)
        return surprise

    def suspect(self) -> TrackedRequest | None:
        """Return a request that should be waiting even if some ended unnoticed; None if there is none."""
        place = self._running // SLACK + 1
        return self.waiting[place] if place < len(self.waiting) else None

    def has_ended(self, tracked: TrackedRequest) -> bool:
        """Note that a request has ended. Returns whether it was assumed to wait."""
        self._reach(tracked)
        if tracked.started is None and self.slots is not None:
            self.slots += 1
        return tracked.started is None

    def is_queued(self, tracked: TrackedRequest, now: float) -> None:
        """Note that a request, and every one submitted after it, waits. The first of them may start at any time."""
        if tracked.started is None or not tracked.fresh:
            return
        if tracked.number <= self._front:  # it ran before: fal retries it, which says nothing about the slots
            behind = [tracked]
        else:
            later = (other for other in reversed(self.requests.values()) if other.number >= tracked.number)
            behind = [other for other in later if other.fresh and other.started is not None]
            self._searching = self._searching or self.slots is None
        for other in behind:  # the last one first, so that the first one ends up at the head
            other.started = None
            self.waiting.appendleft(other)
            self._on_wait(other)
        self._running -= len(behind)
        if tracked.number > self._front:
            self.slots = max(self._running, 1)
        self._fill(now)  # at least one is always assumed to run, so that its status is read

    def unsure(self, settled: float) -> TrackedRequest | None:
        """Return the request whose status says most about the slots; None if they are known.

        At first the newest of those submitted before `settled`. If it waits, the middle one of those whose state is not
        known, until there are none.
        """
        if self._searching:
            unknown = [
                f for f in self.requests.values() if f.fresh and f.started is not None and f.number > self._front
            ]
            if unknown:
                return unknown[len(unknown) // 2]
            self._searching = False
        newest = None if self.waiting else self.newest(settled)
        return newest if newest is not None and newest.number > self._front and not newest.looked else None

    @property
    def seen_running(self) -> int:
        """Return the number of requests shown to run, by their own status or that of a later one."""
        return sum(f.fresh and f.started is not None and f.number <= self._front for f in self.requests.values())

    @property
    def _has_room(self) -> bool:
        return self.slots is None or self._running < self.slots

    def _reach(self, tracked: TrackedRequest) -> None:
        if tracked.fresh:
            self._front = max(self._front, tracked.number)

    def _fill(self, at: float) -> None:
        while self.waiting and self._has_room:
            self._start(self.waiting.popleft(), at)

    def _start(self, tracked: TrackedRequest, at: float) -> None:
        tracked.started = at
        self._running += 1
        self._on_start(tracked)
        if tracked.fresh:
            self._started.append(tracked)
            self._reorder()

    def _reorder(self) -> None:
        """Restore the order of starts, which is that of submits.

        An end that is noticed late belongs to an earlier start.
        """
        for place in reversed(range(1, len(self._started))):
            before, last = self._started[place - 1], self._started[place]
            if before.started is None or last.started is None or before.started <= last.started:
                return
            before.started, last.started = last.started, before.started
            self._on_start(before)
            self._on_start(last)

    def _count(self, end: float, inference: float | None) -> None:
        """Estimate the slots by Little's law from the latest ends, which is valid only while no slot is free."""
        if not self.waiting or self.slots is None:
            self._ends.clear()
        elif inference is not None:
            self._ends.append((end, inference))
            self._counted += 1
            if len(self._ends) >= max(ENOUGH, ROUNDS * self.slots) and self._counted % COUNT_EVERY == 0:
                # Use the middle half: ends are noticed late, so some of the latest and of the first are missing.
                quarter = len(self._ends) // 4
                times = sorted(time for time, _ in self._ends)[quarter:-quarter]
                rate = (len(times) - 1) / max(times[-1] - times[0], 1e-6)
                counted = max(round(rate * statistics.fmean(seconds for _, seconds in self._ends)), 1)
                if abs(counted - self.slots) > CERTAIN * self.slots:
                    self.slots = counted
