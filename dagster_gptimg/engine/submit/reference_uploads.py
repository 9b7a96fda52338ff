"""Uploads of reference images to fal: each is uploaded once by content, and the request has its URL.

Data URIs are never used: fal may rewrite them, and then its history would not show what was sent. With a URL it does,
so a submit whose reply was lost can be found again.
"""

from __future__ import annotations

import asyncio
import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING

from dagster_gptimg.errors import ImageReferenceError
from dagster_gptimg.prompts.references import BY_CONTENT
from dagster_gptimg.store.uploads import find_upload, record_upload

if TYPE_CHECKING:
    from dagster_gptimg.engine.job import Job
    from dagster_gptimg.engine.plan.plan import Request
    from dagster_gptimg.fal.types import Json

AT_ONCE = 4
"""Maximum concurrent uploads: each holds one image in memory, at most 50 MiB (`prompts.references.MAX_BYTES`).

It is not streamed: its hash must be verified before the first byte is sent, and 200 MiB is acceptable on a worker.
"""

LIFETIME = timedelta(days=30)
"""How long fal's storage keeps an upload."""

REMEMBERED = 10_000


class Uploads:
    """The uploads of one run."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._urls: dict[str, str] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._locks: dict[str, asyncio.Lock] = {}

    async def arguments(self, request: Request) -> dict[str, Json]:
        """Return a request's arguments as they are sent: every image as a URL that fal can fetch.

        Raises:
            ImageReferenceError: an image no longer exists, or has changed; nothing was sent.
            ReadError: the upload failed; nothing was sent.
            StoreError: the store cannot be used.
        """
        if not request.references:
            return request.arguments
        return {name: await self._sent(value, request) for name, value in request.arguments.items()}

    async def _sent(self, value: Json, request: Request) -> Json:
        if isinstance(value, list):
            return [await self._sent(item, request) for item in value]
        if isinstance(value, str) and value in request.references:
            return await self._url(value.removeprefix(BY_CONTENT), request.references[value])
        return value

    async def _url(self, sha256: str, source: str) -> str:
        lock = self._locks.setdefault(sha256, asyncio.Lock())
        async with lock:
            if sha256 not in self._urls:
                if len(self._urls) >= REMEMBERED:
                    self._urls.clear()
                self._urls[sha256] = await self._found_or_made(sha256, source)
        self._locks.pop(sha256, None)
        return self._urls[sha256]

    async def _found_or_made(self, sha256: str, source: str) -> str:
        io, clock, dataset = self._job.runtime.io, self._job.runtime.clock, self._job.dataset
        known = await io(find_upload, dataset, sha256, clock.now())
        if known is not None:
            return known
        async with self._slots:
            data, content_type = await io(self._job.references.read, source)
            if hashlib.sha256(data).hexdigest() != sha256:
                raise ImageReferenceError("a reference image has changed since the table was read; nothing was sent")
            name = f"{sha256[:16]}.{content_type.partition('/')[2]}"
            now = clock.now()
            url = await self._job.fal.upload(data, content_type, name, int(LIFETIME.total_seconds()))
        await io(record_upload, dataset, sha256, url, now, now + LIFETIME)
        return url
