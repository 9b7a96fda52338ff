"""The limit of concurrent downloads, in bytes of images as well as in number."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

AT_ONCE = 16
"""Maximum concurrent downloads: each has a connection."""

MOST_BYTES = 64 * 1024 * 1024
"""Maximum bytes of concurrent downloads: about forty images of the usual size, or one of the largest accepted size."""


class DownloadLimit:
    """Limit that is shared by all downloads of a run."""

    def __init__(self, most: int = MOST_BYTES, at_once: int = AT_ONCE) -> None:
        """`most`: maximum bytes. `at_once`: maximum downloads."""
        self._most, self._taken = most, 0
        self._places, self._changed = asyncio.Semaphore(at_once), asyncio.Event()

    @asynccontextmanager
    async def share(self) -> AsyncIterator[Callable[[int], Awaitable[None]]]:
        """Reserve room for one image until the block ends.

        Yields a function to await with the image's size before its bytes are read; an image larger than the limit waits
        until it is the only one. (A large image is in a temporary file, but such a file may be in memory, too.)
        """
        mine = 0

        async def take(size: int) -> None:
            nonlocal mine
            give_back()  # a retry of the same download: two that wait while holding room could deadlock
            while self._taken and self._taken + size > self._most:
                self._changed.clear()
                await self._changed.wait()
            self._taken, mine = self._taken + size, size

        def give_back() -> None:
            nonlocal mine
            self._taken, mine = self._taken - mine, 0
            self._changed.set()

        async with self._places:
            try:
                yield take
            finally:
                give_back()
