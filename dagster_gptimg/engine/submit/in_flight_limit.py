"""The in-flight limit: the number of requests that are kept in flight.

fal silently queues requests beyond an account's slots: a client that sends too many is not rejected, and one that sends
too few is not told. A queued request costs nothing and can be cancelled: the limit starts high, grows while even the
newest request runs at once, and never lets more than ten minutes' work wait in the queue.
"""

from __future__ import annotations

import asyncio

START = 100
"""Requests in flight before the slots are known: more than most accounts have slots."""

WIDEST = 10_000

LONGEST_WAIT = 600.0
"""Maximum seconds that a request may wait in fal's queue: queued requests stay open after a crash."""

SPARE = 4
"""Minimum number of requests beyond the slots (or a quarter of them), so that no slot idles between status reads."""


class InFlightLimit:
    """A limit on the requests in flight, which changes as the account's slots become known.

    Attributes:
        taken: number of requests in flight.
    """

    def __init__(self, ceiling: int | None = None) -> None:
        """`ceiling`: a limit set by the user."""
        self._ceiling = WIDEST if ceiling is None else ceiling
        self._aim = min(START, self._ceiling)
        self._brake: int | None = None
        self._changed = asyncio.Event()
        self.taken = 0

    @property
    def limit(self) -> int:
        """The current maximum of requests in flight."""
        return self._aim if self._brake is None else min(self._aim, self._brake)

    @property
    def is_full(self) -> bool:
        """Whether the limit is reached."""
        return self.taken >= self.limit

    async def acquire(self) -> None:
        """Acquire a place as soon as one is free."""
        while self.is_full:
            self._changed.clear()
            await self._changed.wait()
        self.taken += 1

    def release(self) -> None:
        """Release a place."""
        self.taken -= 1
        if self._brake is not None:
            self._brake = self._brake + 1 if self._brake < self._aim else None
        self._changed.set()

    def learned(self, slots: int, rate: float) -> None:
        """Set the limit by fal's estimated slots and the requests that end per second."""
        least = slots + max(slots // 4, SPARE)
        self._move(max(least, min(START, slots + int(rate * LONGEST_WAIT))))

    def grow(self, running: int) -> None:
        """Raise the limit to twice the running requests, since none is known to wait."""
        self._move(max(self._aim, 2 * running))

    def turned_away(self) -> None:
        """Lower the limit by a quarter after a 429; it rises by one with each request that ends."""
        self._brake = max(self.limit * 3 // 4, SPARE)

    def _move(self, aim: int) -> None:
        self._aim = min(aim, self._ceiling)
        self._changed.set()


class Place:
    """One request's place in the in-flight limit; it may be left and entered again."""

    def __init__(self, in_flight_limit: InFlightLimit) -> None:
        self._in_flight_limit, self._taken = in_flight_limit, False

    async def enter(self) -> None:
        """Acquire the place, as soon as one is free."""
        if not self._taken:
            await self._in_flight_limit.acquire()
            self._taken = True

    def leave(self) -> None:
        """Release the place."""
        if self._taken:
            self._taken = False
            self._in_flight_limit.release()
