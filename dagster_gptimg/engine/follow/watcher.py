"""The watcher: one timer for all requests in flight. It asks for a request's status when its schedule says so.

Where fal tells of requests by itself (`status_streams.py`, `webhook_events.py`), looks are only made when it should
have told something long ago. When to look is the schedule's (`schedule.py`, `learned_schedule.py`).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from dagster_gptimg.engine.follow.learned_schedule import LearnedSchedule
from dagster_gptimg.engine.follow.tracked_request import Seen, TooLate, TrackedRequest
from dagster_gptimg.errors import GoneError, ReadError
from dagster_gptimg.fal.types import Completed, Queued

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagster_gptimg.engine.follow.schedule import Schedule
    from dagster_gptimg.engine.follow.tracked_request import Teller
    from dagster_gptimg.engine.job import Job
    from dagster_gptimg.engine.submit.in_flight_limit import InFlightLimit
    from dagster_gptimg.fal.types import Status, Submitted

TICK = 0.05
"""Seconds between two turns of the timer, and after one with reads; reads that are due sooner are on time."""

LOOKS_PER_SECOND = 500
"""Maximum status reads per second, so that they never overload fal: sufficient for 40 images a second."""

LOOKS_AT_ONCE = 16

LATE_EVERY = 0.5
"""Seconds between two searches for requests whose time is over."""

AHEAD_EVERY = 1.0
"""Seconds between two counts of the requests of other runs that are ahead in fal's queue."""

AHEAD_HOLDS = 60.0
"""Seconds after which such a count says nothing any more."""

GONE_APART = 5.0
"""Seconds between two reads that both say fal does not know a request, before its result and the history are tried."""


class Watcher:
    """Watches the requests of one run."""

    def __init__(
        self,
        job: Job,
        in_flight_limit: InFlightLimit,
        teller: Teller | None = None,
        schedule: Schedule | None = None,
    ) -> None:
        """Prepare to watch.

        Args:
            job: the run's job.
            in_flight_limit: is updated with the account's estimated slots.
            teller: the channel of fal's notifications, if any.
            schedule: when to look; by default one that learns from what it sees.
        """
        self._fal, self._clock, self._patience = job.fal, job.runtime.clock, job.options.patience
        self._teller, self._logs = teller, job.options.logs
        self._schedule: Schedule = schedule or LearnedSchedule(self._clock, in_flight_limit)
        self._by_id: dict[str, TrackedRequest] = {}
        self._flights = 0
        self._looks: set[asyncio.Task[None]] = set()
        self._counted_late_at = self._counted_ahead_at = float("-inf")
        self._others_ahead = 0
        self._timer: asyncio.Task[None] | None = None

    async def ended(
        self,
        request: Submitted,
        kind: str,
        tell: Callable[[Status], None] = lambda _: None,
        *,
        fresh: bool,
        until: float | None = None,
    ) -> Seen | TooLate:
        """Wait until fal says that a request has ended, or has said repeatedly that it does not know it; or no longer.

        Args:
            request: what fal has.
            kind: requests of one kind take about as long.
            tell: is told each status that comes up.
            fresh: whether it was submitted just now; one that was found is looked at at once.
            until: the clock's second up to which it is waited for; by default the run's patience from now on.

        Raises:
            KeyRejectedError: fal has not known the key for minutes.
        """
        ended: asyncio.Future[Seen | TooLate] = asyncio.get_running_loop().create_future()
        now = self._clock.monotonic()
        until = now + self._patience if until is None else until
        tracked = TrackedRequest(
            request=request,
            number=self._flights,
            kind=kind,
            ended=ended,
            began=now,
            fresh=fresh,
            until=until,
            tell=tell,
        )
        self._flights += 1
        if self._teller is not None:
            self._by_id[request.request_id] = tracked
            tracked.told = self._teller.follow(request, self._hear, fresh=fresh)
        self._schedule.add(tracked)
        if self._timer is None or self._timer.done():
            self._timer = asyncio.create_task(self._watch())
            self._timer.add_done_callback(self._stopped)
        try:
            return await ended
        finally:
            self._schedule.drop(tracked, self._clock.monotonic())
            if self._teller is not None:
                self._by_id.pop(request.request_id, None)
                self._teller.leave(request)

    @property
    def others_ahead(self) -> int:
        """The least number of requests before this run's in fal's queue that it has not sent, by fal's last word."""
        return self._others_ahead if self._clock.monotonic() - self._counted_ahead_at < AHEAD_HOLDS else 0

    def close(self) -> None:
        """Stop all status reads."""
        for task in (self._timer, *self._looks):
            if task is not None:
                task.cancel()
        if self._teller is not None:
            self._teller.close()

    def _stopped(self, timer: asyncio.Task[None]) -> None:
        """Fail all waiting requests if the timer fails, so that nothing waits for ever."""
        if not timer.cancelled() and (error := timer.exception()) is not None:
            for tracked in self._schedule.requests.values():
                _fail(tracked, error)

    # -- the timer

    async def _watch(self) -> None:
        """Run the timer while any request is in flight."""
        while self._schedule.requests:
            now, looks = self._clock.monotonic(), 0
            self._give_up_late(now)
            while looks < int(LOOKS_PER_SECOND * TICK) and len(self._looks) < LOOKS_AT_ONCE:
                if (tracked := self._schedule.due(now)) is None:
                    break
                self._begin_look(tracked)
                looks += 1
            if (probe := self._schedule.probe(now)) is not None:
                self._begin_look(probe)
            if self._teller is not None:
                self._teller.turn()
            await self._clock.sleep(TICK if looks else self._until_due(now))

    def _give_up_late(self, now: float) -> None:
        """Fail the requests whose time is over, whether or not their statuses could be read."""
        if now < self._counted_late_at + LATE_EVERY:
            return
        self._counted_late_at = now
        for tracked in self._schedule.requests.values():
            if tracked.until <= now:
                _finish(tracked, TooLate(f"not ended after {now - tracked.began:.0f} s"))

    def _until_due(self, now: float) -> float:
        """Return the seconds until the next read, or the next turn."""
        due = self._schedule.next_look
        wait = TICK if due is None else due - now
        return wait if 0 < wait < TICK else TICK

    def _begin_look(self, tracked: TrackedRequest) -> None:
        tracked.is_looked_at = True
        task = asyncio.create_task(self._look(tracked))
        self._looks.add(task)
        task.add_done_callback(self._looks.discard)

    async def _look(self, tracked: TrackedRequest) -> None:
        """Read a status, and update the model."""
        try:
            status = await self._status(tracked)
            tracked.is_looked_at = False
            if tracked.number in self._schedule.requests:
                self._conclude(tracked, status)
        except Exception as error:  # noqa: BLE001 - whoever waits for it is told, whatever it is
            _fail(tracked, error)

    async def _status(self, tracked: TrackedRequest) -> Status | None:
        """Return a request's status; None if it cannot be read now.

        "Not found" is never taken as the request's end: a gateway, or a lagging replica, answers it as well.
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
        """Process a notification of fal; None: there are no more, and the status is read like any other."""
        tracked = self._by_id.get(request_id)
        if tracked is None or tracked.number not in self._schedule.requests:
            return
        if status is not None:
            self._conclude(tracked, status)
        elif tracked.told:
            tracked.told = False
            self._schedule.is_told_no_more(tracked)

    def _conclude(self, tracked: TrackedRequest, status: Status | None) -> None:
        now = self._clock.monotonic()
        if status is None:
            self._schedule.could_not_read(tracked, now)
            return
        tracked.tell(status)
        if isinstance(status, Queued) and status.position is not None:
            self._count_ahead(tracked, status.position, now)
        self._schedule.saw(tracked, status, now)
        if isinstance(status, Completed):
            seen = Seen(is_completed=True, inference_time=status.inference_time, error_type=status.error_type)
            _finish(tracked, seen)

    def _count_ahead(self, tracked: TrackedRequest, position: int, now: float) -> None:
        """Note how many requests fal has before this one beyond those that this run submitted before it.

        Some of these may be running, and are not in the queue any more: the number is the least there can be.
        """
        if tracked.fresh and now >= self._counted_ahead_at + AHEAD_EVERY:
            own = sum(number < tracked.number for number in self._schedule.requests)
            self._counted_ahead_at, self._others_ahead = now, max(position - own, 0)


def _finish(tracked: TrackedRequest, seen: Seen | TooLate) -> None:
    if not tracked.ended.done():
        tracked.ended.set_result(seen)


def _fail(tracked: TrackedRequest, error: BaseException) -> None:
    if not tracked.ended.done():
        tracked.ended.set_exception(error)
