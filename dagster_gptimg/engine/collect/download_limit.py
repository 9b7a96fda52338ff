"""The limit of downloads: bytes of images on their way from fal to the store, not only their number."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

AT_ONCE = 16
"""Downloads at once: each has a connection."""

MOST_BYTES = 64 * 1024 * 1024
"""Bytes on their way at once: some forty images of the usual size, or one of the largest that is taken."""


class DownloadLimit:
    """Shared by all downloads of a run."""

    def __init__(self, most: int = MOST_BYTES, at_once: int = AT_ONCE) -> None:
        """`most`: bytes. `at_once`: downloads."""
        self._most, self._taken = most, 0
        self._places, self._changed = asyncio.Semaphore(at_once), asyncio.Event()

    @asynccontextmanager
    async def share(self) -> AsyncIterator[Callable[[int], Awaitable[None]]]:
        """Room for one image, until the block ends.

        Gives a function to be awaited with the image's size before its bytes are read; one that is larger than all the
        room waits until it is alone. (A large image lies in a temporary file, but such a file may be memory, too.)
        """
        mine = 0

        async def take(size: int) -> None:
            nonlocal mine
            give_back()  # a second try of the same download: two that wait while they hold would wait for each other
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
