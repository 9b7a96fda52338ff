"""Webhooks of ended requests, from one listing of the run's inbox for all requests in flight."""

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

EVERY = 0.3
"""Seconds between two listings of a local inbox."""
EVERY_FAR = 3.0
"""Seconds between two listings of a remote inbox, whose calls may cost money."""


class WebhookEvents:
    """The webhooks in the inbox of one run."""

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
        """Follow a request; True if this run submitted it: earlier runs' requests have no webhook in this inbox."""
        self._hear = hear
        return fresh

    def leave(self, request: Submitted) -> None:
        """Do nothing: a listing is not made for single requests."""

    def turn(self) -> None:
        """List the inbox periodically."""
        now = self._clock.monotonic()
        if now >= self._next and (self._listing is None or self._listing.done()):
            self._next = now + self._every
            self._listing = asyncio.create_task(self._list())

    def close(self) -> None:
        """Stop listing."""
        if self._listing is not None:
            self._listing.cancel()

    async def images(self, key: str, request_id: str) -> Images | None:
        """Return the images that a webhook named; None if there is none: then the result has to be read.

        A failure is never taken from a webhook: only fal's own answer to a read says whether it was free.
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
        """Remove the webhook of a request whose outcome is on record."""
        if (arrival := self._there.pop(request_id, None)) is not None:
            try:
                await self._io(self._inbox.remove, [arrival])
            except StoreError:
                return  # the run's end clears the inbox

    async def _list(self) -> None:
        try:
            found = await self._io(self._inbox.arrivals, self._run)
        except StoreError:
            return  # the next listing, or a status read, finds it
        self._there = {arrival.request_id: arrival for arrival in found}
        for request_id in self._there:
            if self._hear is not None:
                self._hear(request_id, Completed())
