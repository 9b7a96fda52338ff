"""The schedule of requests: slots, queue, ends, retries, start deadlines.

A simulation that is advanced to the present by each call (and by `Timers`, on time): a queue of thousands costs
nothing, and after a restart the elapsed time is caught up with, event by event. The changes of one event are stored in
one transaction.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from enum import IntEnum

from dagster_gptimg.emulator.account.database import Database
from dagster_gptimg.emulator.account.records import Outcome, Record, State
from dagster_gptimg.emulator.faults import draw
from dagster_gptimg.emulator.settings import Settings

SPREAD = 0.3
"""Maximum deviation of a latency from its mean, as a share of the mean."""

INVALID_SHARE = 0.05
"""Share of the latency that a request with an invalid schema takes: no image is made."""
_NO_WORK = frozenset({Outcome.INVALID, Outcome.BAD_REFERENCE, Outcome.TOO_LARGE, Outcome.UNKNOWN_PATH})


class Event(IntEnum):
    """The kinds of events; their order decides between events of the same time."""

    END = 0
    WAKE = 1
    START_DEADLINE = 2


class Schedule:
    """The queue and the slots of the one account."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.settings = settings
        self._database = database
        self._events: list[tuple[float, Event, int]] = []
        self._waiting: list[tuple[bool, int]] = []
        self._running = 0
        for record in database.unfinished():
            self._restore(record)

    def _restore(self, record: Record) -> None:
        if record.state is State.IN_QUEUE:
            self._enqueue(record)
        elif record.ends_at is not None:
            self._running += 1
            self._due(record.ends_at, Event.END, record)

    def add(self, record: Record, now: float) -> None:
        """Queue a new request, and start it if a slot is free."""
        self._enqueue(record)
        self._fill(now)

    def _enqueue(self, record: Record) -> None:
        if record.start_by is not None:
            self._due(record.start_by, Event.START_DEADLINE, record)
        if record.attempt > 1:
            self._due(record.ready_at, Event.WAKE, record)
        else:
            insort(self._waiting, _place(record))

    def _due(self, time: float, event: Event, record: Record) -> None:
        heapq.heappush(self._events, (time, event, record.seq))

    def advance(self, now: float) -> None:
        """Let everything happen that is due by now."""
        if not self._events or self._events[0][0] > now:
            if self._waiting and self._running < self.settings.slots:
                with self._database.transaction():
                    self._fill(now)
            return
        with self._database.transaction():
            while self._events and self._events[0][0] <= now:
                time, event, seq = heapq.heappop(self._events)
                self._happen(event, seq, time)
                self._fill(time)
            self._fill(now)

    def _happen(self, event: Event, seq: int, time: float) -> None:
        record = self._database.by_seq(seq)
        if record is None:
            return
        if event is Event.END and record.state is State.IN_PROGRESS and record.ends_at == time:
            self._end(record, time)
        elif event is Event.WAKE and record.state is State.IN_QUEUE:
            insort(self._waiting, _place(record))
        elif event is Event.START_DEADLINE and record.state is State.IN_QUEUE:
            self.remove(record)
            self._database.save(ended(record, Outcome.START_TIMEOUT, time))

    def _end(self, record: Record, time: float) -> None:
        self._running -= 1
        if record.outcome is Outcome.STUCK:
            self._database.save(record.changed(ends_at=None))
        elif record.requeues:
            self._requeue(record, time)
        else:
            self._database.save(record.changed(state=State.COMPLETED, completed_at=time))

    def _requeue(self, record: Record, time: float) -> None:
        """Do as fal does when it retries: the id goes back to the queue (docs/fal-wire.md#billing-of-failures)."""
        again = record.changed(
            cost=record.cost + (record.cost // record.attempt if self.settings.retries_billed else 0),
            state=State.IN_QUEUE,
            started_at=None,
            ends_at=None,
            ready_at=round(time + self.settings.requeue_seconds, 6),
            requeues=record.requeues - 1,
            attempt=record.attempt + 1,
        )
        self._database.save(again)
        self._enqueue(again)

    def _fill(self, time: float) -> None:
        """Give free slots to those who wait."""
        taken = 0
        while taken < len(self._waiting) and self._running < self.settings.slots:
            record = self._database.by_seq(self._waiting[taken][1])
            taken += 1
            if record is not None:
                self._start(record, time)
        del self._waiting[:taken]

    def _start(self, record: Record, time: float) -> None:
        start = max(time, record.ready_at)
        end = round(start + self.latency(record), 6)
        self._running += 1
        self._database.save(record.changed(state=State.IN_PROGRESS, started_at=start, ends_at=end))
        self._due(end, Event.END, record)

    def next_due(self) -> float | None:
        """When something happens next; None when nothing is due."""
        return self._events[0][0] if self._events else None

    def latency(self, record: Record) -> float:
        """Return the seconds that this attempt of the request is in progress."""
        share = draw(self.settings.seed, "latency", record.draw_key, record.attempt)
        work = INVALID_SHARE if record.outcome in _NO_WORK else 1.0
        return self.settings.latency * work * (1 + SPREAD * (2 * share - 1))

    def position(self, record: Record) -> int:
        """Return the number of requests ahead of this one (fal's `queue_position`, from 0)."""
        return bisect_left(self._waiting, _place(record))

    def waiting(self) -> int:
        """The number of requests in the queue."""
        return len(self._waiting)

    def remove(self, record: Record) -> None:
        """Take a request out of the queue."""
        place = bisect_left(self._waiting, _place(record))
        if self._waiting[place : place + 1] == [_place(record)]:
            del self._waiting[place]

    def stop(self, record: Record, now: float) -> None:
        """End a request in progress by a cancel, and give its slot to the next."""
        if record.ends_at is not None:
            self._running -= 1
        self._database.save(ended(record, Outcome.CANCELLED_RUNNING, now, billed=self.settings.stopped_billed))
        self._fill(now)


def ended(record: Record, outcome: Outcome, time: float, *, billed: bool = False) -> Record:
    """The record of a request that was ended from outside."""
    cost = record.cost if billed else 0
    return record.changed(state=State.COMPLETED, outcome=outcome, completed_at=time, ends_at=None, images=0, cost=cost)


def _place(record: Record) -> tuple[bool, int]:
    return record.low_priority, record.seq
