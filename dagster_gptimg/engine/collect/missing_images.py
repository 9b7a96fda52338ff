"""Stored images whose files are missing: fetched from fal again, or bought again with the user's permission (`again`).

They were paid for, so they are never bought again by default. fal keeps its images for a while; fetching them costs
nothing. docs/receipts.md#images-that-are-gone describes the protocol, and `tests/specification` verifies it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagster_gptimg.engine.collect.refetch import Refetch
from dagster_gptimg.engine.submit.submit import as_submitted
from dagster_gptimg.store.receipts.facts import Deleted
from dagster_gptimg.store.receipts.recorded_files import not_as_recorded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagster_gptimg.engine.job import Job
    from dagster_gptimg.engine.purchase_rules import Owns
    from dagster_gptimg.engine.request_progress import RequestProgress
    from dagster_gptimg.store.receipts.facts import Attempt, Outcome, StoredImage


class MissingImages:
    """Handles the missing images of one run's rows."""

    def __init__(self, job: Job) -> None:
        self._job, self._io = job, job.runtime.io
        self._refetch = Refetch(job.dataset, job.fal, job.runtime)

    @property
    def fetched(self) -> int:
        """The number of images that fal has sent again."""
        return self._refetch.fetched

    async def look(self, progress: RequestProgress) -> None:
        """Find missing files of a key, and fetch them if none of its requests has all its images in the store.

        Images that stay missing are noted in `progress.gone`, and count as deleted in its facts from now on.

        Raises:
            StoreError: the store cannot be used.
        """
        if not progress.is_missing and not any(attempt.deleted for attempt in progress.attempts):
            return
        stored = stored_requests(progress.attempts, progress.owns)
        for n, request_id, outcome in stored:
            if not await self._not_here(outcome):
                progress.attempts[n].deleted.pop(request_id, None)
            else:
                now = self._job.runtime.clock.now()
                known = progress.attempts[n].deleted.get(request_id)
                progress.gone[n, request_id] = known or Deleted(request_id=request_id, reason="gone", recorded_at=now)
        if len(progress.gone) == len(stored):
            for n, request_id, outcome in stored:
                progress.why = await self._refetch.fetch(
                    as_submitted(self._job.fal, progress.request, progress.attempts[n], request_id), outcome
                )
                if not progress.why:
                    del progress.gone[n, request_id]
                    progress.attempts[n].deleted.pop(request_id, None)
                    break
        progress.take(progress.attempts)

    async def record(self, progress: RequestProgress) -> None:
        """Record which images are missing, before `again` buys them again: the next attempt then decides.

        Raises:
            StoreError: the store cannot be used.
        """
        for (n, _), deleted in progress.gone.items():
            await self._io(self._job.dataset.receipts.create_deleted, progress.request.key, n, deleted)

    async def _not_here(self, outcome: Outcome) -> list[StoredImage]:
        return await self._io(not_as_recorded, self._job.dataset.store, self._job.dataset.folder, outcome.images)


def stored_requests(attempts: Sequence[Attempt], owns: Owns) -> list[tuple[int, str, Outcome]]:
    """Return the requests of a key with recorded images that were not erased: (attempt, request id, outcome)."""
    return [
        (n, request_id, outcome)
        for n, attempt in enumerate(attempts)
        for request_id, outcome in sorted(attempt.outcomes.items())
        if outcome is not None and outcome.kind == "stored" and outcome.erased_at is None and owns(n, request_id)
    ]
