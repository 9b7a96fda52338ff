"""The in-flight limit: how many requests are kept in flight.

fal queues silently what is beyond an account's slots, so nothing turns a client away that sends too much, and nothing
tells one that sends too little. A queued request costs nothing and can be cancelled: the window starts wide, grows
while even the newest request runs at once, and is never so wide that the queue holds more than ten minutes' work.
"""

from __future__ import annotations

import asyncio

START = 100
"""Requests in flight before anything is known: more than most accounts have slots."""

WIDEST = 10_000

LONGEST_WAIT = 600.0
"""Seconds that a request may wait in fal's queue: what waits there is what a crash leaves open."""

SPARE = 4
"""A quarter more than the slots (and at least so many) is always in flight, so that none idles while nobody looks."""


class InFlightLimit:
    """A bound on the requests in flight, which moves as the account's slots become known.

    Attributes:
        taken: how many are in flight.
    """

    def __init__(self, ceiling: int | None = None) -> None:
        """`ceiling`: a bound that the user has set."""
        self._ceiling = WIDEST if ceiling is None else ceiling
        self._aim = min(START, self._ceiling)
        self._brake: int | None = None
        self._changed = asyncio.Event()
        self.taken = 0

    @property
    def limit(self) -> int:
        """Requests in flight at most, now."""
        return self._aim if self._brake is None else min(self._aim, self._brake)

    @property
    def is_full(self) -> bool:
        """Whether there is no room now."""
        return self.taken >= self.limit

    async def acquire(self) -> None:
        """Take a place as soon as there is one."""
        while self.is_full:
            self._changed.clear()
            await self._changed.wait()
        self.taken += 1

    def release(self) -> None:
        """Give a place back."""
        self.taken -= 1
        if self._brake is not None:
            self._brake = self._brake + 1 if self._brake < self._aim else None
        self._changed.set()

    def learned(self, slots: int, rate: float) -> None:
        """So many requests run at once, and so many end each second."""
        least = slots + max(slots // 4, SPARE)
        self._move(max(least, min(START, slots + int(rate * LONGEST_WAIT))))

    def grow(self, running: int) -> None:
        """So many run at once, and none is known to wait: twice as many may be in flight."""
        self._move(max(self._aim, 2 * running))

    def turned_away(self) -> None:
        """Fal does not take more now (429): a quarter less, and from there one more with each that ends."""
        self._brake = max(self.limit * 3 // 4, SPARE)

    def _move(self, aim: int) -> None:
        self._aim = min(aim, self._ceiling)
        self._changed.set()


class Place:
    """One request's place in the window; it may be left and entered again."""

    def __init__(self, in_flight_limit: InFlightLimit) -> None:
        """Not entered yet."""
        self._in_flight_limit, self._taken = in_flight_limit, False

    async def enter(self) -> None:
        """Have a place, as soon as there is one."""
        if not self._taken:
            await self._in_flight_limit.acquire()
            self._taken = True

    def leave(self) -> None:
        """Have none any more."""
        if self._taken:
            self._taken = False
            self._in_flight_limit.release()
