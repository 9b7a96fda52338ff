"""Ends that webhooks brought, by one listing of the run's inbox for all its requests in flight."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from dagster_gptimg.errors import ReadError, StoreError
from dagster_gptimg.fal.types import Completed

if TYPE_CHECKING:
    from dagster_gptimg.engine.follow.tracked_request import Hear
    from dagster_gptimg.engine.job import Job
    from dagster_gptimg.fal.types import Images, Submitted
    from dagster_gptimg.store.inbox import Arrival

EVERY, EVERY_FAR = 0.3, 3.0
"""Seconds between two listings: of a local folder, and of a store that is paid by the call."""


class WebhookEvents:
    """What has come into the inbox of one run."""

    def __init__(self, job: Job, run: str) -> None:
        """`run`: the run's id, which names its inbox."""
        self._io, self._clock, self._inbox = job.runtime.io, job.runtime.clock, job.dataset.inbox
        self._fal = job.fal
        self._every = EVERY if job.dataset.store.is_local else EVERY_FAR
        self._run = run
        self._hear: Hear | None = None
        self._there: dict[str, Arrival] = {}
        self._listing: asyncio.Task[None] | None = None
        self._next = float("-inf")

    def follow(self, request: Submitted, hear: Hear, *, fresh: bool) -> bool:  # noqa: ARG002 - a listing tells of all
        """Every request of this run has a webhook; what an earlier one sent is looked at."""
        self._hear = hear
        return fresh

    def leave(self, request: Submitted) -> None:
        """A listing is not made for single requests."""

    def turn(self) -> None:
        """List the inbox now and then."""
        now = self._clock.monotonic()
        if now >= self._next and (self._listing is None or self._listing.done()):
            self._next = now + self._every
            self._listing = asyncio.create_task(self._list())

    def close(self) -> None:
        """List nothing any more."""
        if self._listing is not None:
            self._listing.cancel()

    async def images(self, key: str, request_id: str) -> Images | None:
        """The images of a request, as a webhook named them; None when none did: then its result has to be read.

        A failure is never taken from here: only fal's own answer to a read says whether it was free.
        """
        arrival = self._there.get(request_id)
        callback = None if arrival is None or arrival.key != key else await self._io(self._inbox.read, arrival)
        if callback is None or callback.request_id != request_id or callback.status != "OK":
            return None
        try:
            found = self._fal.images_of(callback.payload)
        except ReadError:
            return None
        return None if found.unreadable else found

    async def taken(self, request_id: str) -> None:
        """Its outcome is on record: what a webhook said of it is not needed any more."""
        if (arrival := self._there.pop(request_id, None)) is not None:
            try:
                await self._io(self._inbox.remove, [arrival])
            except StoreError:
                return  # the run's end clears the inbox

    async def _list(self) -> None:
        try:
            found = await self._io(self._inbox.arrivals, self._run)
        except StoreError:
            return  # the next listing, or a look, will tell
        self._there = {arrival.request_id: arrival for arrival in found}
        for request_id in self._there:
            if self._hear is not None:
                self._hear(request_id, Completed())
