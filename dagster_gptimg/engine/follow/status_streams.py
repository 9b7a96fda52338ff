"""Status streams: fal sends each change of a request at once, over one open connection per request."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from dagster_gptimg.base.retry_policies import NEW_STREAMS
from dagster_gptimg.errors import ReadError

if TYPE_CHECKING:
    from dagster_gptimg.engine.follow.tracked_request import Hear
    from dagster_gptimg.engine.job import Job
    from dagster_gptimg.fal.types import Submitted

AT_ONCE = 64
"""Maximum concurrent streams, each with a connection: a run with streams has at most as many requests in flight."""


class Streams:
    """The open streams of one run."""

    def __init__(self, job: Job) -> None:
        self._fal, self._clock, self._logs = job.fal, job.runtime.clock, job.options.logs
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._again_at = float("-inf")

    def follow(self, request: Submitted, hear: Hear, *, fresh: bool) -> bool:  # noqa: ARG002 - old and new alike
        """Open a stream if the limit allows it; `hear` is called with its statuses. Returns whether it was opened."""
        if len(self._tasks) >= AT_ONCE or self._clock.monotonic() < self._again_at:
            return False
        task = self._tasks[request.request_id] = asyncio.create_task(self._stream(request, hear))
        task.add_done_callback(lambda _: self._tasks.pop(request.request_id, None))
        return True

    def leave(self, request: Submitted) -> None:
        """Close the stream of a request that is no longer waited for."""
        task = self._tasks.get(request.request_id)
        if task is not None and task is not asyncio.current_task():  # a stream that has sent the end stops by itself
            task.cancel()

    def turn(self) -> None:
        """Do nothing: streams need no periodic work."""

    def close(self) -> None:
        """Close all streams."""
        for task in self._tasks.values():
            task.cancel()

    async def _stream(self, request: Submitted, hear: Hear) -> None:
        try:
            async for status in self._fal.stream_status(request, logs=self._logs):
                hear(request.request_id, status)
        except ReadError:  # also if fal does not know the request: its status is read instead
            self._again_at = self._clock.monotonic() + NEW_STREAMS.first_pause
        finally:
            hear(request.request_id, None)
