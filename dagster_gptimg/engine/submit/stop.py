"""Why a run buys nothing more, and how its submits slow down before that.

A gateway that is down for a moment must cost neither an image twice nor the run: what fal has not taken is sent again
when fal is well. Each answer that leaves a submit in doubt costs a row its image until somebody says otherwise, so
after the first ones only one submit at a time goes out, after growing pauses.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from dagster_gptimg.base.retry_policies import SUBMITS_IN_DOUBT, SUBMITS_TURNED_AWAY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from dagster_gptimg.engine.job import Clock
    from dagster_gptimg.engine.record.summary import StopReason
    from dagster_gptimg.errors import SubmitError

LONGEST_ASKED = 600.0
"""Seconds for which submits are held back at most because fal asks for it (`Retry-After`)."""

IN_A_ROW = 2
"""Answers in a row that did not tell whether fal has the request, after which submits go out one at a time. A single
one is a connection that broke."""

AT_FIRST, AT_ONCE = 2, 8
"""Submits at once: at the beginning and after trouble, and once `PROVEN` in a row were accepted."""
PROVEN = 100


class Stop:
    """Shared by all workers of a run.

    Attributes:
        reason: set once; from then on nothing is bought, and what is in flight is followed to its end.
        message: that, in a sentence.
    """

    def __init__(self, clock: Clock) -> None:
        """Let the first submits go, by this clock."""
        self._clock = clock
        self._pauses, self._resume_at = 0, 0.0
        self._trouble_since: float | None = None
        self._in_a_row = self._in_doubt = self._accepted = self._sending = 0
        self._changed = asyncio.Event()
        self.reason: StopReason | None = None
        self.message = ""

    def because(self, reason: StopReason, message: str) -> None:
        """Buy nothing more. The first reason stays; an interrupt comes before any."""
        if self.reason is None or reason == "interrupted":
            self.reason, self.message = reason, message
        self._changed.set()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[bool]:
        """Wait for one's turn to submit; gives False when nothing is to be bought any more."""
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
        """Seconds for which submits are still held back."""
        return self._resume_at - self._clock.monotonic()

    async def _wait(self) -> None:
        """Until somebody's turn is over, or for a second of a pause: then the reason to stop is looked at again."""
        if self._left > 0:
            await self._clock.sleep(min(self._left, 1.0))
            return
        self._changed.clear()
        await self._changed.wait()

    # -- what submits came to

    def accepted(self) -> None:
        """Note that fal has taken a request."""
        self._pauses = self._in_doubt = self._in_a_row = 0
        self._trouble_since = None
        self._accepted += 1

    def turned_away(self, error: SubmitError, seconds: float | None = None) -> float:
        """Hold all submits back: fal turned one away for the time being, or could not be reached.

        Args:
            error: what it said.
            seconds: what fal asked for.

        Returns:
            Seconds for which nothing but that has happened.
        """
        now = self._clock.monotonic()
        self._accepted = 0
        self._trouble_since = now if self._trouble_since is None else self._trouble_since
        if now >= self._resume_at:  # one pause for all that were under way together
            self._pauses += 1
            pause = SUBMITS_TURNED_AWAY.pause(self._pauses)
            self._resume_at = now + max(pause, min(seconds or 0.0, LONGEST_ASKED))
        lasting = now - self._trouble_since
        if SUBMITS_TURNED_AWAY.is_over(seconds=lasting):
            self.because("unusable", f"{error} (for {lasting / 60:.0f} minutes; nothing was bought meanwhile)")
        return lasting

    def left_in_doubt(self, error: SubmitError) -> None:
        """Let one submit at a time out, after a pause: an answer did not tell whether fal has the request."""
        now = self._clock.monotonic()
        self._accepted, self._in_a_row = 0, self._in_a_row + 1
        if self._in_a_row < IN_A_ROW or now < self._resume_at:
            return  # a broken connection; or it was under way together with another one
        if SUBMITS_IN_DOUBT.is_over(self._in_doubt + 1):
            self.because("unusable", f"{error}; so did {self._in_doubt} before it, minutes apart")
            return
        self._resume_at = now + SUBMITS_IN_DOUBT.pause(self._in_doubt + 1)
        self._in_doubt += 1
