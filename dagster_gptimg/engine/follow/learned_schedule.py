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
"""Seconds after a submit within which fal certainly starts the request, if a slot is free."""

SUSPECT = 64
"""Number of ends after which the status of one request that should wait is read: there may be more slots."""

STILL = 3.0
"""Multiple of the mean latency without any end, after which the status of the next request is read.

A request that seems to run may never end, and occupy no slot.
"""
UNKNOWN = 30.0
"""Seconds without any end after which the status of the next request is read, while no latency is known."""

IDLE = 120.0
"""Seconds (doubled each time) until requests that are no scouts are read, too, while no latency is known."""

PROBES = 8
"""Maximum status reads to correct the model if fal sends notifications; one more is allowed per `SUSPECT` ends."""

LAST_LOOK = 10.0
"""Seconds before the end of a run's patience at which a status is read in any case.

Another run may have collected the webhook of this request.
"""


@dataclass(slots=True)
class Kind:
    """Requests that take about as long.

    Attributes:
        latency: their latency, as learned so far.
        scouts: numbers of the requests whose statuses are read while no latency is known.
        idle: running requests whose statuses are not read until a latency is known.
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
        """Return the next request whose read is due; superseded plans are dropped."""
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
            probe = None  # its status is read repeatedly anyway
        if probe is None and self._queue_model.waiting and now >= self._still_at:
            # A request whose status cannot be read must not block those behind it.
            probe = min(islice(self._queue_model.waiting, SUSPECT), key=lambda tracked: tracked.unread)
            self._still_at = now + STATUS.first_pause
        if probe is None and self._ends >= self._suspect_at:
            probe, self._suspect_at = self._queue_model.suspect(), self._ends + SUSPECT
        return None if probe is None or probe.is_looked_at or not self._may_probe(probe) else probe

    def _may_probe(self, probe: TrackedRequest) -> bool:
        """Return whether a status may be read to correct the model: seldom if fal notifies, since the call is extra."""
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
            if told is not None or not tracked.unread:  # after failed reads the time of the end is not known
                self._learn(tracked.kind, end - tracked.started)
        self._still_at, self._ends = now + (STILL * self._kinds[tracked.kind].latency.mean or UNKNOWN), self._ends + 1
        if self._queue_model.has_ended(tracked):
            self._still_at = 0.0  # it was assumed to wait: perhaps the next one has ended too
        # Immediately, not when its waiter runs: another request has started.
        self.drop(tracked, end, status.inference_time)
        self._tell()

    def _is_running(self, tracked: TrackedRequest, now: float) -> None:
        is_newest = tracked is self._queue_model.newest(now - STARTED_BY)
        if self._queue_model.is_running(tracked, now):
            self._suspect_at = 0  # there are more slots than assumed, and perhaps even more
        if is_newest and self._in_flight_limit.is_full and not self._queue_model.waiting:
            self._queue_model.slots = None
            # By the requests seen running, not those in flight: while the limit grows, the newest were not read yet.
            self._in_flight_limit.grow(self._queue_model.seen_running)
        if not self._is_idle(tracked):  # a read to find the slots does not make the request a scout
            self._plan_by_age(tracked)
        elif tracked.started is not None:
            self._plan(tracked, now + max(now - tracked.started, IDLE))
        self._tell()

    def _is_queued(self, tracked: TrackedRequest, now: float) -> None:
        self._queue_model.is_queued(tracked, now)
        if not tracked.fresh and not tracked.told:  # found, not submitted by this run: its position is not known
            self._plan(tracked, now + max(self._kinds[tracked.kind].latency.mean / 2, STATUS.first_pause))
        self._tell()

    def _tell(self) -> None:
        """Pass the estimated slots and rate to the in-flight limit."""
        mean = max((kind.latency.mean for kind in self._kinds.values()), default=0.0)
        if self._queue_model.slots is not None and mean:
            self._in_flight_limit.learned(self._queue_model.slots, self._queue_model.slots / mean)

    # -- when to read

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
        """Plan a status read of a request that now counts as running, unless others of its unknown kind are read."""
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
            self._plan(tracked, self._clock.monotonic() + IDLE)  # all scouts may be stuck

    def _is_idle(self, tracked: TrackedRequest) -> bool:
        """Return whether other requests are read until a latency of its kind is known."""
        kind = self._kinds[tracked.kind]
        return tracked.fresh and not tracked.told and not kind.latency.is_known and tracked.number not in kind.scouts

    def _waits(self, tracked: TrackedRequest) -> None:
        """Note that a request does not run after all."""
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
        if not was_known:  # the waiting times of notified requests were those for an unknown latency
            told = [tracked for tracked in self._queue_model.requests.values() if tracked.told and tracked.kind == name]
            idle, kind.idle = kind.idle, deque()
            kind.scouts.clear()
            for tracked in (*idle, *told):
                if tracked.number in self._queue_model.requests:
                    self._plan_by_age(tracked)
