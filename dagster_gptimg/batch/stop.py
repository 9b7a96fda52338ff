"""Why a run buys nothing more, and how it slows down before that."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dagster_gptimg.batch.job import Clock
    from dagster_gptimg.batch.summary import StopReason

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
ENOUGH = 8
"""Pauses in a row, without one accepted submit between them, after which fal counts as unusable (2 to 8 minutes)."""


class Stop:
    """Shared by all workers of a run.

    Attributes:
        reason: set once; from then on nothing is bought, and what is in flight is followed to its end.
        message: that, in a sentence.
    """

    def __init__(self, clock: Clock) -> None:
        """Nothing is wrong yet."""
        self._clock = clock
        self._pauses, self._resume_at = 0, 0.0
        self.reason: StopReason | None = None
        self.message = ""

    def because(self, reason: StopReason, message: str) -> None:
        """Buy nothing more. The first reason stays; an interrupt comes before any."""
        if self.reason is None or reason == "interrupted":
            self.reason, self.message = reason, message

    def slow_down(self, error: Exception, seconds: float | None = None) -> None:
        """A submit was turned away for the time being, or fal could not be reached: all submits wait."""
        now = self._clock.monotonic()
        if now < self._resume_at:
            return  # one pause for all that were under way together
        self._pauses += 1
        if self._pauses > ENOUGH:
            self.because("unusable", f"{error} (after {ENOUGH} pauses)")
        pause = min(FIRST_PAUSE * 2 ** (self._pauses - 1), LONGEST_PAUSE)
        self._resume_at = now + max(pause, min(seconds or 0.0, 10 * LONGEST_PAUSE))

    def speed_up(self) -> None:
        """A submit was accepted."""
        self._pauses = 0

    async def pause(self) -> None:
        """Wait while submits are held back."""
        while self.reason is None and (left := self._resume_at - self._clock.monotonic()) > 0:
            await self._clock.sleep(min(left, 1.0))
