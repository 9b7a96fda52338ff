"""Timers for events, and the wake-up of waiting callers, without polling."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from dagster_gptimg.emulator.account.account import Account
from dagster_gptimg.emulator.account.records import Record

RING_SECONDS = 0.05
"""Minimum seconds between two wake-ups: one request that leaves the queue moves all those behind it."""


class Timers:
    """One timer for the next thing that is due, and an event for each caller that waits for a change."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._waiting: set[asyncio.Event] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: float | None = None
        self._winding = self._ringing = False

    def start(self) -> None:
        """Begin; to be called in the event loop."""
        self._loop = asyncio.get_running_loop()
        self._account.database.watchers.append(self._changed)
        self._wind()

    def stop(self) -> None:
        """Let nothing happen any more."""
        self._account.database.watchers.remove(self._changed)
        if self._timer is not None:
            self._timer.cancel()

    @contextmanager
    def listening(self) -> Iterator[asyncio.Event]:
        """An event that is set when some request has changed."""
        event = asyncio.Event()
        self._waiting.add(event)
        try:
            yield event
        finally:
            self._waiting.remove(event)

    def _changed(self, _: Record) -> None:
        if self._waiting and not self._ringing:
            self._ringing = True
            self._loop.call_later(RING_SECONDS, self._ring)
        if not self._winding:
            # Soon, and not now: the schedule is in the middle of something.
            self._winding = True
            self._loop.call_soon(self._wind)

    def _ring(self) -> None:
        self._ringing = False
        for event in self._waiting:
            event.set()

    def _wind(self) -> None:
        """Set the timer to the next event."""
        self._winding = False
        due = self._account.schedule.next_due()
        if due == self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = due
        self._timer = None if due is None else self._loop.call_later(due - self._account.moment(), self._tick)

    def _tick(self) -> None:
        self._timer_at = None
        self._account.now()
        self._wind()
