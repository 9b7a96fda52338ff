"""The reasons for which a run stops buying, and the pauses between submits before that.

A gateway that is down for a moment must not cause a double purchase or end the run: submits that fal has not accepted
are sent again later. Each ambiguous answer leaves a row held, so after the first ones only one submit at a time is
sent, after growing pauses.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from dagster_gptimg.base.retry_policies import SUBMITS_IN_DOUBT, SUBMITS_TURNED_AWAY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from dagster_gptimg.base.exit_status import StopReason
    from dagster_gptimg.engine.job import Clock
    from dagster_gptimg.errors import SubmitError

LONGEST_ASKED = 600.0
"""Seconds for which submits are held back at most because fal asks for it (`Retry-After`)."""

IN_A_ROW = 2
"""Number of consecutive ambiguous answers after which submits are sent one at a time.

A single one is usually a broken connection.
"""

AT_FIRST = 2
"""Concurrent submits at the beginning, and after an error."""
AT_ONCE = 8
"""Concurrent submits once `PROVEN` submits in a row were accepted."""
PROVEN = 100


class Stop:
    """The stop that all workers of a run share.

    Attributes:
        reason: set once; from then on nothing is bought, and requests in flight are followed to their ends.
        message: the reason in a sentence.
    """

    def __init__(self, clock: Clock) -> None:
        """`clock`: the run's clock. The first submits are sent at once."""
        self._clock = clock
        self._pauses, self._resume_at = 0, 0.0
        self._trouble_since: float | None = None
        self._in_a_row = self._in_doubt = self._accepted = self._sending = 0
        self._changed = asyncio.Event()
        self.reason: StopReason | None = None
        self.message = ""

    def because(self, reason: StopReason, message: str) -> None:
        """Stop buying. The first reason stays, but an interrupt replaces any."""
        if self.reason is None or reason == "interrupted":
            self.reason, self.message = reason, message
        self._changed.set()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[bool]:
        """Wait for a turn to submit; yields False if nothing is to be bought any more."""
        while self.reason is None and (self._sending >= self._most or self._left > 0):
            await self._wait()
        self._sending += 1
        try:
            yield self.reason is None
        finally:
            self._sending -= 1
            self._changed.set()

    @property
    def _most(self) -> int:
        if self._in_doubt:
            return 1
        return AT_ONCE if self._accepted >= PROVEN else AT_FIRST

    @property
    def _left(self) -> float:
        """Seconds for which submits are still paused."""
        return self._resume_at - self._clock.monotonic()

    async def _wait(self) -> None:
        """Wait until a turn ends, or for a second of a pause, after which the stop is checked again."""
        if self._left > 0:
            await self._clock.sleep(min(self._left, 1.0))
            return
        self._changed.clear()
        await self._changed.wait()

    # -- what submits came to

    def accepted(self) -> None:
        """Note that fal has accepted a request."""
        self._pauses = self._in_doubt = self._in_a_row = 0
        self._trouble_since = None
        self._accepted += 1

    def turned_away(self, error: SubmitError, seconds: float | None = None) -> float:
        """Pause all submits: fal rejected one for now, or could not be reached.

        Args:
            error: fal's answer.
            seconds: the pause that fal asked for.

        Returns:
            Seconds since the first such error, without an accepted submit in between.
        """
        now = self._clock.monotonic()
        self._accepted = 0
        self._trouble_since = now if self._trouble_since is None else self._trouble_since
        if now >= self._resume_at:  # one pause for all concurrent submits
            self._pauses += 1
            pause = SUBMITS_TURNED_AWAY.pause(self._pauses)
            self._resume_at = now + max(pause, min(seconds or 0.0, LONGEST_ASKED))
        lasting = now - self._trouble_since
        if SUBMITS_TURNED_AWAY.is_over(seconds=lasting):
            self.because("unusable", f"{error} (for {lasting / 60:.0f} minutes; nothing was bought meanwhile)")
        return lasting

    def left_in_doubt(self, error: SubmitError) -> None:
        """Send single submits after pauses: an answer did not say whether fal has the request."""
        now = self._clock.monotonic()
        self._accepted, self._in_a_row = 0, self._in_a_row + 1
        if self._in_a_row < IN_A_ROW or now < self._resume_at:
            return  # a broken connection, or one of several concurrent submits
        if SUBMITS_IN_DOUBT.is_over(self._in_doubt + 1):
            self.because("unusable", f"{error}; so did {self._in_doubt} before it, minutes apart")
            return
        self._resume_at = now + SUBMITS_IN_DOUBT.pause(self._in_doubt + 1)
        self._in_doubt += 1
