"""A model of fal's queue: which of our requests run, and which still wait.

fal starts requests in the order of their submits, as many at once as the account has slots; when one ends, the next one
starts. So nobody has to ask for a request that waits. How many slots there are is found out, not told: at the start by
halving (does the newest run? the middle one?), then by Little's law (while others wait, as many run at once as end a
second times the mean inference time), and from every look that contradicts the picture.
"""

from __future__ import annotations

import statistics
from collections import OrderedDict, deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagster_gptimg.engine.follow.tracked_request import TrackedRequest


COUNTED, ENOUGH, ROUNDS, COUNT_EVERY = 4096, 128, 8, 32
"""Ends that the slots are counted by: the latest; so many at least, and so many for each slot, since at the start ends
come in waves; anew after so many more."""

CERTAIN = 0.05
"""A share by which a count has to differ from what is taken to be so: what was seen goes before what is counted."""

SLACK = 8
"""One in so many of those that are taken to run may have ended unnoticed: then the next ones run."""

REORDERED = 64
"""Starts that may still change places: ends become known in another order than they happen."""


class QueueModel:
    """The requests in flight, as fal is taken to see them.

    Attributes:
        requests: by number, in the order of their submits.
        waiting: those that are taken to wait, the next one first.
        slots: how many run at once; None while nobody knows.
    """

    def __init__(self, on_start: Callable[[TrackedRequest], None], on_wait: Callable[[TrackedRequest], None]) -> None:
        """`on_start` is called when one is taken to run (or since another time), `on_wait` when that was wrong."""
        self.requests: OrderedDict[int, TrackedRequest] = OrderedDict()
        self.waiting: deque[TrackedRequest] = deque()
        self.slots: int | None = None
        self._on_start, self._on_wait = on_start, on_wait
        self._running = 0
        self._front = -1  # up to this number all have been seen running, or ended
        self._searching = False
        self._ends: deque[tuple[float, float]] = deque(maxlen=COUNTED)
        self._counted = 0
        self._started: deque[TrackedRequest] = deque(maxlen=REORDERED)

    def newest(self, settled: float) -> TrackedRequest | None:
        """The last one of those that this run submitted before the moment `settled`: it runs, or no slot was free."""
        return next((f for f in reversed(self.requests.values()) if f.fresh and f.began <= settled), None)

    def add(self, tracked: TrackedRequest) -> None:
        """A new one; one that was found, and not submitted just now, is taken to run."""
        self.requests[tracked.number] = tracked
        if not tracked.fresh or (not self.waiting and self._has_room):
            self._start(tracked, tracked.began)
        else:
            self.waiting.append(tracked)

    def drop(self, tracked: TrackedRequest, end: float, inference: float | None = None) -> None:
        """It has ended, or nobody waits for it any more. The next one starts at that moment.

        `inference`: seconds that fal says it ran.
        """
        if self.requests.pop(tracked.number, None) is None:
            return
        if tracked.started is None:
            self.waiting.remove(tracked)
        else:
            self._running -= 1
            self._count(end, inference)
        self._fill(end)

    # -- what a look says

    def is_running(self, tracked: TrackedRequest, now: float) -> bool:
        """It runs, and so does all that was submitted before. Returns whether it was taken to wait."""
        surprise = tracked.started is None
        while tracked.started is None:
            self._start(self.waiting.popleft(), now)
        if surprise and self.slots is not None:
            self.slots = max(self.slots, self._running)
        self._reach(tracked)
        return surprise

    def suspect(self) -> TrackedRequest | None:
        """One that should wait, also if some have ended without anybody having looked; None when there is none."""
        place = self._running // SLACK + 1
        return self.waiting[place] if place < len(self.waiting) else None

    def has_ended(self, tracked: TrackedRequest) -> bool:
        """It has ended. Returns whether it was taken to wait."""
        self._reach(tracked)
        if tracked.started is None and self.slots is not None:
            self.slots += 1
        return tracked.started is None

    def is_queued(self, tracked: TrackedRequest, now: float) -> None:
        """It waits, and so does all that was submitted after it. The first of them may start at any moment."""
        if tracked.started is None or not tracked.fresh:
            return
        if tracked.number <= self._front:  # it ran before: fal tries it again, which says nothing of the slots
            behind = [tracked]
        else:
            later = (other for other in reversed(self.requests.values()) if other.number >= tracked.number)
            behind = [other for other in later if other.fresh and other.started is not None]
            self._searching = self._searching or self.slots is None
        for other in behind:  # the last one first, so that the first one comes to stand at the head
            other.started = None
            self.waiting.appendleft(other)
            self._on_wait(other)
        self._running -= len(behind)
        if tracked.number > self._front:
            self.slots = max(self._running, 1)
        self._fill(now)  # one is always taken to run, lest nobody looks at any

    def unsure(self, settled: float) -> TrackedRequest | None:
        """The one whose status tells most of the slots; None when they are known.

        The newest of those submitted before the moment `settled`. When it waits, the middle one of those of which
        nobody knows, until none is left.
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
        """How many run that a look has shown to run, their own or that at a later one."""
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
        """Who was submitted first has started first: an end that is noticed late belongs to an earlier start."""
        for place in reversed(range(1, len(self._started))):
            before, last = self._started[place - 1], self._started[place]
            if before.started is None or last.started is None or before.started <= last.started:
                return
            before.started, last.started = last.started, before.started
            self._on_start(before)
            self._on_start(last)

    def _count(self, end: float, inference: float | None) -> None:
        """Little's law, over the latest ends. It holds only while no slot is free."""
        if not self.waiting or self.slots is None:
            self._ends.clear()
        elif inference is not None:
            self._ends.append((end, inference))
            self._counted += 1
            if len(self._ends) >= max(ENOUGH, ROUNDS * self.slots) and self._counted % COUNT_EVERY == 0:
                # The middle half: ends are noticed late, so some of the latest and of the first are not among them.
                quarter = len(self._ends) // 4
                times = sorted(time for time, _ in self._ends)[quarter:-quarter]
                rate = (len(times) - 1) / max(times[-1] - times[0], 1e-6)
                counted = max(round(rate * statistics.fmean(seconds for _, seconds in self._ends)), 1)
                if abs(counted - self.slots) > CERTAIN * self.slots:
                    self.slots = counted
