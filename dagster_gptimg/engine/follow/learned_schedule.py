"""A schedule that learns: a request's status is asked for when it is likely done.

Nothing is asked for a request that still waits in fal's queue (`queue_model.py` knows which do), but now and then for
the one that should start next. When to look at one that runs is worked out in `latency.py`, for each kind of request
(endpoint and quality). Until the first of a kind has ended only its `SCOUTS` oldest are looked at, at growing steps.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from dagster_gptimg.base.retry_policies import STATUS
from dagster_gptimg.engine.follow.latency import Latency
from dagster_gptimg.engine.follow.queue_model import QueueModel
from dagster_gptimg.fal.types import Completed, InProgress

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagster_gptimg.engine.follow.tracked_request import TrackedRequest
    from dagster_gptimg.engine.job import Clock
    from dagster_gptimg.engine.submit.in_flight_limit import InFlightLimit
    from dagster_gptimg.fal.types import Status

SCOUTS = 4

STARTED_BY = 1.0
"""Seconds after a submit in which fal has certainly started it, if a slot is free."""

SUSPECT = 64
"""Once in so many ends one is looked at that should wait: perhaps there are more slots."""

STILL, UNKNOWN = 3.0, 30.0
"""Mean latencies (seconds, while none is known) without an end, after which the next one is looked at: what seems to
run may never end, and hold no slot."""

IDLE = 120.0
"""Seconds, doubled from look to look, after which those are looked at, too, that wait for the first end of their kind.
"""

PROBES = 8
"""Looks to correct the picture, where fal tells of ends: so many, and one more with every `SUSPECT` ends."""

LAST_LOOK = 10.0
"""Seconds before the end of a run's patience at which a request is looked at, whatever was planned for it: another run
may have collected what fal would have told of it."""


@dataclass(slots=True)
class Kind:
    """Requests that take about as long.

    Attributes:
        latency: what is learned of them.
        scouts: the numbers of those that are looked at while nothing is known.
        idle: those that run and are not looked at until something is known.
    """

    latency: Latency = field(default_factory=Latency)
    scouts: set[int] = field(default_factory=set)
    idle: deque[TrackedRequest] = field(default_factory=deque)


class LearnedSchedule:
    """When to look at the requests of one run."""

    def __init__(self, clock: Clock, in_flight_limit: InFlightLimit) -> None:
        """Know nothing yet; `in_flight_limit` is told what is learned of the account's slots."""
        self._clock, self._in_flight_limit = clock, in_flight_limit
        self._probes = 0
        self._queue_model = QueueModel(self._starts, self._waits)
        self._kinds: dict[str, Kind] = {}
        self._due: list[tuple[float, int, int]] = []
        self._still_at, self._ends, self._suspect_at = float("inf"), 0, SUSPECT

    @property
    def requests(self) -> Mapping[int, TrackedRequest]:
        """The requests in flight, by number, in the order of their submits."""
        return self._queue_model.requests

    @property
    def next_look(self) -> float | None:
        """The clock's second of the earliest look that is planned."""
        return self._due[0][0] if self._due else None

    def add(self, tracked: TrackedRequest) -> None:
        """Take a request that was submitted, or found, just now."""
        self._still_at = min(self._still_at, tracked.began + UNKNOWN)
        self._kinds.setdefault(tracked.kind, Kind())
        self._queue_model.add(tracked)

    def drop(self, tracked: TrackedRequest, now: float, inference: float | None = None) -> None:
        """Forget a request that has ended, or that nobody waits for any more: the next one starts then.

        `inference`: seconds that fal says it ran.
        """
        tracked.turn += 1
        self._queue_model.drop(tracked, now, inference)
        self._no_scout(tracked)

    def due(self, now: float) -> TrackedRequest | None:
        """The next request whose look is due. Plans that were superseded are thrown away."""
        while self._due and self._due[0][0] <= now:
            _, number, turn = heapq.heappop(self._due)
            tracked = self._queue_model.requests.get(number)
            if tracked is not None and tracked.turn == turn and not tracked.is_looked_at:
                return tracked
        return None

    def probe(self, now: float) -> TrackedRequest | None:
        """One that is looked at only to correct the picture of fal's queue."""
        probe = self._queue_model.unsure(now - STARTED_BY)
        if probe is not None and probe.unread:
            probe = None  # it is looked at anyway, again and again
        if probe is None and self._queue_model.waiting and now >= self._still_at:
            # One that cannot be read must not hide those behind it.
            probe = min(islice(self._queue_model.waiting, SUSPECT), key=lambda tracked: tracked.unread)
            self._still_at = now + STATUS.first_pause
        if probe is None and self._ends >= self._suspect_at:
            probe, self._suspect_at = self._queue_model.suspect(), self._ends + SUSPECT
        return None if probe is None or probe.is_looked_at or not self._may_probe(probe) else probe

    def _may_probe(self, probe: TrackedRequest) -> bool:
        """Probes are for what nobody tells of; else they are few, since each of them may be a call more an image."""
        if not probe.told:
            return True
        if probe.looked or self._probes >= PROBES + self._ends // SUSPECT:
            return False
        self._probes += 1
        return True

    # -- conclusions

    def saw(self, tracked: TrackedRequest, status: Status, now: float) -> None:
        """Draw the conclusions from a status; a request that has ended is dropped."""
        if isinstance(status, Completed):
            self._has_ended(tracked, status, now)
        elif isinstance(status, InProgress):
            self._is_running(tracked, now)
        else:
            self._is_queued(tracked, now)
        tracked.looked, tracked.unread = now, 0

    def could_not_read(self, tracked: TrackedRequest, now: float) -> None:
        """Plan another look, later after each one that fails."""
        self._plan(tracked, now + STATUS.pause(tracked.unread + 1))
        tracked.unread = min(tracked.unread + 1, 10)

    def is_told_no_more(self, tracked: TrackedRequest) -> None:
        """Look at a request as at any other."""
        if tracked.started is not None:
            self._starts(tracked)

    def _has_ended(self, tracked: TrackedRequest, status: Completed, now: float) -> None:
        end = now
        if tracked.started is not None and tracked.fresh and status.error is None:
            earliest = max(tracked.looked, tracked.started)
            told = None if status.inference_time is None else tracked.started + status.inference_time
            unseen = now if tracked.told else (earliest + now) / 2
            end = unseen if told is None else min(max(told, earliest), now)
            if told is not None or not tracked.unread:  # while nothing could be read, nobody knows when it ended
                self._learn(tracked.kind, end - tracked.started)
        self._still_at, self._ends = now + (STILL * self._kinds[tracked.kind].latency.mean or UNKNOWN), self._ends + 1
        if self._queue_model.has_ended(tracked):
            self._still_at = 0.0  # it should have waited: perhaps the next one has ended too
        # At once, not when its waiter has a turn: another one has started.
        self.drop(tracked, end, status.inference_time)
        self._tell()

    def _is_running(self, tracked: TrackedRequest, now: float) -> None:
        is_newest = tracked is self._queue_model.newest(now - STARTED_BY)
        if self._queue_model.is_running(tracked, now):
            self._suspect_at = 0  # there are more slots than it seemed, and perhaps more than that
        if is_newest and self._in_flight_limit.is_full and not self._queue_model.waiting:
            self._queue_model.slots = None
            # By what was seen, not by what is in flight: while a window fills, none of its last ones was looked at yet.
            self._in_flight_limit.grow(self._queue_model.seen_running)
        if not self._is_idle(tracked):  # one that was looked at to find the slots does not become a scout by that
            self._plan_by_age(tracked)
        elif tracked.started is not None:
            self._plan(tracked, now + max(now - tracked.started, IDLE))
        self._tell()

    def _is_queued(self, tracked: TrackedRequest, now: float) -> None:
        self._queue_model.is_queued(tracked, now)
        if not tracked.fresh and not tracked.told:  # found, not submitted by this run: its place is not known
            self._plan(tracked, now + max(self._kinds[tracked.kind].latency.mean / 2, STATUS.first_pause))
        self._tell()

    def _tell(self) -> None:
        """Pass on what is known of slots and rate."""
        mean = max((kind.latency.mean for kind in self._kinds.values()), default=0.0)
        if self._queue_model.slots is not None and mean:
            self._in_flight_limit.learned(self._queue_model.slots, self._queue_model.slots / mean)

    # -- when to look

    def _plan(self, tracked: TrackedRequest, at: float) -> None:
        last = tracked.until - LAST_LOOK
        at = min(at, last) if last > self._clock.monotonic() else at
        tracked.turn += 1
        heapq.heappush(self._due, (at, tracked.number, tracked.turn))

    def _plan_by_age(self, tracked: TrackedRequest) -> None:
        if tracked.started is not None:
            age, latency = max(self._clock.monotonic() - tracked.started, 0.0), self._kinds[tracked.kind].latency
            self._plan(tracked, tracked.started + (latency.overdue(age) if tracked.told else latency.next_look(age)))

    def _starts(self, tracked: TrackedRequest) -> None:
        """It is taken to run: plan a look at it, unless nothing is known of its kind and others are looked at."""
        kind = self._kinds[tracked.kind]
        if tracked.told:
            self._plan_by_age(tracked)
        elif not tracked.fresh:
            self._plan(tracked, tracked.began)
        elif kind.latency.is_known:
            self._plan_by_age(tracked)
        elif len(kind.scouts) < SCOUTS:
            kind.scouts.add(tracked.number)
            self._plan_by_age(tracked)
        else:
            kind.idle.append(tracked)
            self._plan(tracked, self._clock.monotonic() + IDLE)  # all of the scouts may be stuck

    def _is_idle(self, tracked: TrackedRequest) -> bool:
        """Whether others are looked at until something is known of its kind."""
        kind = self._kinds[tracked.kind]
        return tracked.fresh and not tracked.told and not kind.latency.is_known and tracked.number not in kind.scouts

    def _waits(self, tracked: TrackedRequest) -> None:
        """It does not run after all."""
        tracked.turn += 1
        self._no_scout(tracked)

    def _no_scout(self, tracked: TrackedRequest) -> None:
        kind = self._kinds[tracked.kind]
        kind.scouts.discard(tracked.number)
        while kind.idle and len(kind.scouts) < SCOUTS:
            other = kind.idle.popleft()
            if other.number in self._queue_model.requests and other.started is not None:
                self._starts(other)

    def _learn(self, name: str, seconds: float) -> None:
        kind = self._kinds[name]
        was_known = kind.latency.is_known
        kind.latency.ended(seconds)
        if not was_known:  # those that are told wait as long as for a request of which nothing is known
            told = [tracked for tracked in self._queue_model.requests.values() if tracked.told and tracked.kind == name]
            idle, kind.idle = kind.idle, deque()
            kind.scouts.clear()
            for tracked in (*idle, *told):
                if tracked.number in self._queue_model.requests:
                    self._plan_by_age(tracked)
