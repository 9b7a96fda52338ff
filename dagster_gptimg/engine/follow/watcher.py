"""The watcher: one timer for all requests in flight. It asks for a request's status when it is likely done.

Nothing is asked for a request that still waits in fal's queue (`queue_model.py` knows which do), but now and then for
the one that should start next. When to look at one that runs is worked out in `latency.py`, for each kind of request
(endpoint and quality). Until the first of a kind has ended only its `SCOUTS` oldest are looked at, at growing steps.

Where fal tells of requests by itself (`status_streams.py`), looks are only made when it should have told something long
ago.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from dagster_gptimg.base.retry_policies import STATUS
from dagster_gptimg.engine.follow.latency import Latency
from dagster_gptimg.engine.follow.queue_model import QueueModel, TrackedRequest
from dagster_gptimg.errors import GoneError, ReadError
from dagster_gptimg.fal.types import Completed, InProgress

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagster_gptimg.engine.job import Job
    from dagster_gptimg.engine.submit.in_flight_limit import InFlightLimit
    from dagster_gptimg.fal.types import Status, Submitted

TICK = 0.05
"""Seconds between two turns of the timer, and after one that had looks to make; what is due sooner is on time."""

LOOKS_PER_SECOND = 500
"""Looks at most, so that an account's reads never flood fal: enough for 40 images a second."""

LOOKS_AT_ONCE = 16
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

LATE_EVERY = 0.5
"""Seconds between two searches for requests whose time is over."""

GONE_APART = 5.0
"""Seconds between two looks that both say fal does not know a request, before its result and the history are tried."""


Hear: TypeAlias = "Callable[[str, Status | None], None]"
"""Takes what fal tells of a request (by its id) by itself; None: it tells nothing of it any more."""


class Teller(Protocol):
    """A way in which fal tells of requests by itself."""

    def follow(self, request: Submitted, hear: Hear, *, fresh: bool) -> bool:
        """Have `hear` told of a request from now on; False when it will not be."""

    def leave(self, request: Submitted) -> None:
        """Nobody waits for it any more."""

    def turn(self) -> None:
        """Called at each turn of the timer."""

    def close(self) -> None:
        """Leave nothing behind."""


class TooLateError(Exception):
    """A request has not ended within the run's patience. The next run goes on watching."""


class Seen(NamedTuple):
    """Why nobody watches a request any more.

    Attributes:
        is_completed: whether fal itself has said that it has ended. False: fal says that it does not know it, which is
            no end: it may have images all the same.
        inference_time: seconds that the model took, where fal says it.
        error_type: the error that it ended with, where fal's status says it.
    """

    is_completed: bool
    inference_time: float | None = None
    error_type: str | None = None


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


class Watcher:
    """Watches the requests of one run."""

    def __init__(self, job: Job, in_flight_limit: InFlightLimit, teller: Teller | None = None) -> None:
        """Watch nothing yet.

        Args:
            job: the run's.
            in_flight_limit: is told what is learned of the account's slots.
            teller: how fal tells of requests by itself, if it does.
        """
        self._fal, self._clock, self._patience = job.fal, job.runtime.clock, job.options.patience
        self._in_flight_limit, self._teller, self._logs = in_flight_limit, teller, job.options.logs
        self._by_id: dict[str, TrackedRequest] = {}
        self._probes = 0
        self._queue_model = QueueModel(self._starts, self._waits)
        self._kinds: dict[str, Kind] = {}
        self._due: list[tuple[float, int, int]] = []
        self._flights = 0
        self._still_at, self._ends, self._suspect_at = float("inf"), 0, SUSPECT
        self._looks: set[asyncio.Task[None]] = set()
        self._counted_late_at = float("-inf")
        self._timer: asyncio.Task[None] | None = None

    async def ended(
        self,
        request: Submitted,
        kind: str,
        tell: Callable[[Status], None] = lambda _: None,
        *,
        fresh: bool,
        until: float | None = None,
    ) -> Seen:
        """Return when fal says that a request has ended, or has said repeatedly that it does not know it.

        Args:
            request: what fal has.
            kind: requests of one kind take about as long.
            tell: is told each status that comes up.
            fresh: whether it was submitted just now; one that was found is looked at at once.
            until: the clock's second up to which it is waited for; by default the run's patience from now on.

        Raises:
            TooLateError: it has not ended by then.
            KeyRejectedError: fal has not known the key for minutes.
        """
        ended: asyncio.Future[Seen] = asyncio.get_running_loop().create_future()
        now = self._clock.monotonic()
        until = now + self._patience if until is None else until
        self._still_at = min(self._still_at, now + UNKNOWN)
        tracked = TrackedRequest(
            request, self._flights, self._kinds.setdefault(kind, Kind()), ended, now, fresh, until, tell=tell
        )
        self._flights += 1
        if self._teller is not None:
            self._by_id[request.request_id] = tracked
            tracked.told = self._teller.follow(request, self._hear, fresh=fresh)
        self._queue_model.add(tracked)
        if self._timer is None or self._timer.done():
            self._timer = asyncio.create_task(self._watch())
            self._timer.add_done_callback(self._stopped)
        try:
            return await ended
        finally:
            self._drop(tracked, self._clock.monotonic())
            if self._teller is not None:
                self._by_id.pop(request.request_id, None)
                self._teller.leave(request)

    def close(self) -> None:
        """Look at nothing any more."""
        for task in (self._timer, *self._looks):
            if task is not None:
                task.cancel()
        if self._teller is not None:
            self._teller.close()

    def _stopped(self, timer: asyncio.Task[None]) -> None:
        """A timer that fails must not leave anybody waiting for ever."""
        if not timer.cancelled() and (error := timer.exception()) is not None:
            for tracked in self._queue_model.requests.values():
                _fail(tracked, error)

    # -- the timer

    async def _watch(self) -> None:
        """Turn the timer while anything is in flight."""
        while self._queue_model.requests:
            now, looks = self._clock.monotonic(), 0
            self._give_up_late(now)
            while looks < int(LOOKS_PER_SECOND * TICK) and len(self._looks) < LOOKS_AT_ONCE:
                if (tracked := self._next_due(now)) is None:
                    break
                self._begin_look(tracked)
                looks += 1
            if (probe := self._probe(now)) is not None:
                self._begin_look(probe)
            if self._teller is not None:
                self._teller.turn()
            await self._clock.sleep(TICK if looks else self._until_due(now))

    def _give_up_late(self, now: float) -> None:
        """End the waiting for those whose time is over, whether or not anybody could look at them."""
        if now < self._counted_late_at + LATE_EVERY:
            return
        self._counted_late_at = now
        for tracked in self._queue_model.requests.values():
            if tracked.until <= now:
                _fail(tracked, TooLateError(f"not ended after {now - tracked.began:.0f} s"))

    def _until_due(self, now: float) -> float:
        """Seconds until the next look, or the next turn."""
        wait = self._due[0][0] - now if self._due else TICK
        return wait if 0 < wait < TICK else TICK

    def _next_due(self, now: float) -> TrackedRequest | None:
        """The next request whose look is due. Plans that were superseded are thrown away."""
        while self._due and self._due[0][0] <= now:
            _, number, turn = heapq.heappop(self._due)
            tracked = self._queue_model.requests.get(number)
            if tracked is not None and tracked.turn == turn and not tracked.is_looked_at:
                return tracked
        return None

    def _probe(self, now: float) -> TrackedRequest | None:
        """One that is looked at only to correct the picture."""
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

    def _begin_look(self, tracked: TrackedRequest) -> None:
        tracked.is_looked_at = True
        task = asyncio.create_task(self._look(tracked))
        self._looks.add(task)
        task.add_done_callback(self._looks.discard)

    async def _look(self, tracked: TrackedRequest) -> None:
        """Ask for a status, and draw the conclusions."""
        try:
            status = await self._status(tracked)
            tracked.is_looked_at = False
            if tracked.number in self._queue_model.requests:
                self._conclude(tracked, status)
        except Exception as error:  # noqa: BLE001 - whoever waits for it is told, whatever it is
            _fail(tracked, error)

    async def _status(self, tracked: TrackedRequest) -> Status | None:
        """A request's status; None when it cannot be read now.

        That fal does not know a request is never its end: a gateway, or a replica that lags behind, says it as well.
        """
        try:
            status = await self._fal.status(tracked.request, logs=self._logs)
        except GoneError:
            now = self._clock.monotonic()
            tracked.gone_since = now if tracked.gone_since is None else tracked.gone_since
            if now - tracked.gone_since >= GONE_APART:
                _finish(tracked, Seen(is_completed=False))
            return None
        except ReadError:
            return None
        tracked.gone_since = None
        return status

    # -- conclusions

    def _hear(self, request_id: str, status: Status | None) -> None:
        """Fal tells of a request by itself, or does not any more: then it is looked at as any other."""
        tracked = self._by_id.get(request_id)
        if tracked is None or tracked.number not in self._queue_model.requests:
            return
        if status is not None:
            self._conclude(tracked, status)
        elif tracked.told:
            tracked.told = False
            if tracked.started is not None:
                self._starts(tracked)

    def _conclude(self, tracked: TrackedRequest, status: Status | None) -> None:
        now = self._clock.monotonic()
        if status is None:
            self._plan(tracked, now + STATUS.pause(tracked.unread + 1))
            tracked.unread = min(tracked.unread + 1, 10)
            return
        tracked.tell(status)
        if isinstance(status, Completed):
            self._has_ended(tracked, status, now)
        elif isinstance(status, InProgress):
            self._is_running(tracked, now)
        else:
            self._is_queued(tracked, now)
        tracked.looked, tracked.unread = now, 0

    def _has_ended(self, tracked: TrackedRequest, status: Completed, now: float) -> None:
        end = now
        if tracked.started is not None and tracked.fresh and status.error is None:
            earliest = max(tracked.looked, tracked.started)
            told = None if status.inference_time is None else tracked.started + status.inference_time
            unseen = now if tracked.told else (earliest + now) / 2
            end = unseen if told is None else min(max(told, earliest), now)
            if told is not None or not tracked.unread:  # while nothing could be read, nobody knows when it ended
                self._learn(tracked.kind, end - tracked.started)
        self._still_at, self._ends = now + (STILL * tracked.kind.latency.mean or UNKNOWN), self._ends + 1
        if self._queue_model.has_ended(tracked):
            self._still_at = 0.0  # it should have waited: perhaps the next one has ended too
        _finish(tracked, Seen(is_completed=True, inference_time=status.inference_time, error_type=status.error_type))
        # At once, not when its waiter has a turn: another one has started.
        self._drop(tracked, end, status.inference_time)
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
            self._plan(tracked, now + max(tracked.kind.latency.mean / 2, STATUS.first_pause))
        self._tell()

    def _drop(self, tracked: TrackedRequest, end: float, inference: float | None = None) -> None:
        """It has ended, or nobody waits for it any more: the next one starts then."""
        tracked.turn += 1
        self._queue_model.drop(tracked, end, inference)
        self._no_scout(tracked)

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
            age, latency = max(self._clock.monotonic() - tracked.started, 0.0), tracked.kind.latency
            self._plan(tracked, tracked.started + (latency.overdue(age) if tracked.told else latency.next_look(age)))

    def _starts(self, tracked: TrackedRequest) -> None:
        """It is taken to run: plan a look at it, unless nothing is known of its kind and others are looked at."""
        kind = tracked.kind
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
        kind = tracked.kind
        return tracked.fresh and not tracked.told and not kind.latency.is_known and tracked.number not in kind.scouts

    def _waits(self, tracked: TrackedRequest) -> None:
        """It does not run after all."""
        tracked.turn += 1
        self._no_scout(tracked)

    def _no_scout(self, tracked: TrackedRequest) -> None:
        kind = tracked.kind
        kind.scouts.discard(tracked.number)
        while kind.idle and len(kind.scouts) < SCOUTS:
            other = kind.idle.popleft()
            if other.number in self._queue_model.requests and other.started is not None:
                self._starts(other)

    def _learn(self, kind: Kind, seconds: float) -> None:
        was_known = kind.latency.is_known
        kind.latency.ended(seconds)
        if not was_known:  # those that are told wait as long as for a request of which nothing is known
            told = [tracked for tracked in self._queue_model.requests.values() if tracked.told and tracked.kind is kind]
            idle, kind.idle = kind.idle, deque()
            kind.scouts.clear()
            for tracked in (*idle, *told):
                if tracked.number in self._queue_model.requests:
                    self._plan_by_age(tracked)


def _finish(tracked: TrackedRequest, seen: Seen) -> None:
    if not tracked.ended.done():
        tracked.ended.set_result(seen)


def _fail(tracked: TrackedRequest, error: BaseException) -> None:
    if not tracked.ended.done():
        tracked.ended.set_exception(error)
