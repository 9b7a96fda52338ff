"""Virtual time: a loop that never waits, and the clocks of machines that may be wrong."""

from __future__ import annotations

import asyncio
import selectors
from datetime import UTC, datetime, timedelta
from typing import Any

EPOCH = datetime(2026, 11, 24, tzinfo=UTC)


class _Selector(selectors.DefaultSelector):
    """Never waits: it moves the loop's clock instead."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> Any:
        if timeout:
            self.loop.now += timeout
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is only a number."""

    def __init__(self, now: float) -> None:
        self.now = now
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.now


class Clock:
    """The loop's virtual time; the wall clock may be wrong, and jump."""

    def __init__(self, loop: VirtualLoop, skew: float, jump: float | None = None) -> None:
        self.loop, self.skew, self.jump, self.jumps_at = loop, skew, jump, loop.time() + 3.0

    def is_off(self, now: float) -> float:
        """Seconds by which it is ahead of the right time."""
        return self.jump if self.jump is not None and now >= self.jumps_at else self.skew

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.loop.time() + self.is_off(self.loop.time()))

    def monotonic(self) -> float:
        return self.loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(seconds, 0.0))


def bury(loop: VirtualLoop) -> None:
    """End whatever still runs in a loop, and the loop."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
