"""Submit: the intent, one POST, and the record of its result. The only place that spends money.

This is written by hand because no client does it right: fal's own clients repeat a POST whose reply was lost, and pay
twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from dagster_gptimg.base.digest_columns import DigestCounts, digest_of
from dagster_gptimg.base.retry_policies import ACCEPTED_RECORD
from dagster_gptimg.engine.submit.reference_uploads import Uploads
from dagster_gptimg.engine.submit.webhook_urls import webhook_url
from dagster_gptimg.errors import AmbiguousSubmitError, NotSentError, RejectedError, StoreError, SubmitError
from dagster_gptimg.store.receipts.facts import Accepted, Attempt, Intent, Void

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from decimal import Decimal

    from dagster_gptimg.engine.job import Fal, Job
    from dagster_gptimg.engine.plan.plan import Request
    from dagster_gptimg.fal.types import Json, Submitted
    from dagster_gptimg.store.receipts.facts import Word


def accepted_fact(request: Submitted, at: datetime) -> Accepted:
    """Return the fact that fal has a request, since `at`."""
    return Accepted(
        request_id=request.request_id,
        endpoint=request.endpoint,
        status_url=request.status_url,
        response_url=request.response_url,
        cancel_url=request.cancel_url,
        accepted_at=at,
    )


def as_submitted(fal: Fal, request: Request, attempt: Attempt, request_id: str) -> Submitted:
    """Return a request of an attempt with fal's URLs; an unreadable record still has the id in its name."""
    known = attempt.accepted[request_id][1]
    if known is None:
        return fal.request(request.endpoint, request_id)
    return fal.request(known.endpoint, request_id, known.status_url, known.response_url, known.cancel_url)


class Sent(NamedTuple):
    """What a submit has brought.

    Attributes:
        attempt: the facts of the attempt: accepted; void; the intent alone, which is ambiguous. None: no intent was
            made.
        error: the error that they come from, if one does.
    """

    attempt: Attempt | None
    error: SubmitError | None


@dataclass(frozen=True, slots=True)
class Taken:
    """Another run has created this attempt; what it wrote decides. Nothing was sent."""


class _TakenError(Exception):
    """Ends a submit before its POST: another run has the attempt."""


class Submitter:
    """Sends the attempts of one run."""

    def __init__(self, job: Job, run: str) -> None:
        """`run`: the run's id, which is recorded."""
        self._job, self._run = job, run
        self._io, self._receipts = job.runtime.io, job.dataset.receipts
        self._uploads = Uploads(job)
        self._ids = DigestCounts()

    def know(self, request_ids: Iterable[str]) -> None:
        """Note request ids that were on record before this run sends anything: no submit can get them."""
        for request_id in request_ids:
            self._ids.count(digest_of(request_id))

    async def send(self, request: Request, n: int, worst_case: Decimal, word: Word | None = None) -> Sent | Taken:
        """Create the intent of attempt `n`, POST it once, and record the result.

        The intent is created when the connection is open and only the body is still to be sent. So an unreachable host
        leaves no trace, and a crash between intent and POST is very unlikely.

        Args:
            request: the request of a row.
            n: the attempt.
            worst_case: maximum US dollars; not finite if not known.
            word: identity of the `again` that opens this attempt, if any.

        Returns:
            What it has brought, and what of it is on record; `Taken`: another run has the attempt.

        Raises:
            ImageReferenceError, ReadError: a reference image cannot be read or uploaded; nothing was sent.
            StoreError: the attempt's owner is not known, and nothing was sent; or fal has the request, and its id could
                not be recorded (the message names it).
        """
        attempt = Attempt()
        arguments = await self._uploads.arguments(request)

        async def ready() -> None:
            attempt.intent = await self._claim(request, arguments, n, worst_case, word)
            self._job.runtime.reached("before POST")

        try:
            submitted = await self._job.fal.submit(
                request.endpoint, arguments, ready, self._headers(request), self._webhook(request, n)
            )
        except _TakenError:
            return Taken()
        except SubmitError as error:
            return Sent(await self._not_accepted(request.key, n, attempt, error), error)
        self._job.runtime.reached("after POST")
        if self._ids.count(digest_of(submitted.request_id)):
            words = f"fal answered with request {submitted.request_id}, which belongs to an earlier submit"
            return Sent(attempt, AmbiguousSubmitError(words))
        await self._accept(request.key, n, attempt, submitted)
        return Sent(attempt, None)

    def _headers(self, request: Request) -> dict[str, str]:
        """Return the headers with tags that identify the request in fal's billing reports."""
        tags = {"dataset": self._job.dataset.name, "key": request.key}
        if self._job.partition is not None:
            tags["partition"] = self._job.partition
        return self._job.options.request.with_tags(tags)

    def _webhook(self, request: Request, n: int) -> str | None:
        """Return the URL to which fal posts the end of attempt `n`, so that a lost reply can be replaced.

        None if not used.
        """
        base = self._job.options.webhook_url
        return webhook_url(base, self._job.dataset, request.key, n, self._run) if base else None

    async def _claim(
        self, request: Request, arguments: dict[str, Json], n: int, worst_case: Decimal, word: Word | None
    ) -> Intent:
        """Create the intent; only its owner may send."""
        intent = Intent(
            endpoint=request.endpoint,
            arguments=arguments,
            partition=self._job.partition,
            row_id=request.row_id,
            run=self._run,
            cost_high_usd=worst_case if worst_case.is_finite() else None,
            nonce=self._job.runtime.token(),
            account=self._job.fal.account(self._job.dataset.salt),
            created_at=self._job.runtime.clock.now(),
            word=word,
            clock_offset_s=self._job.fal.clock_offset,
        )
        self._job.runtime.reached("before intent")
        if not await self._create(request.key, n, intent):
            raise _TakenError
        return intent

    async def _create(self, key: str, n: int, intent: Intent) -> bool:
        """Create an intent as fast as possible, since a crash between it and the POST leaves a row in doubt.

        A call in another thread takes longer than a local create. A remote store must not block the event loop.
        """
        if self._job.dataset.store.is_local:
            return self._receipts.create_intent(key, n, intent)
        return await self._io(self._receipts.create_intent, key, n, intent)

    async def _not_accepted(self, key: str, n: int, attempt: Attempt, error: SubmitError) -> Attempt | None:
        if attempt.intent is None:
            return None
        if isinstance(error, NotSentError):
            return await self._void(key, n, attempt, "not_sent", error)
        if isinstance(error, RejectedError):
            return await self._void(key, n, attempt, "rejected", error)
        return attempt

    async def _void(self, key: str, n: int, attempt: Attempt, reason: str, error: Exception) -> Attempt:
        now = self._job.runtime.clock.now()
        void = Void.model_validate({"reason": reason, "detail": str(error)[:500], "recorded_at": now})
        await self._io(self._receipts.create_void, key, n, void)
        attempt.void = void
        return attempt

    async def _accept(self, key: str, n: int, attempt: Attempt, submitted: Submitted) -> None:
        accepted = accepted_fact(submitted, self._job.runtime.clock.now())
        attempt.accepted[submitted.request_id] = ("reply", accepted)
        await self._insist(key, n, accepted)
        self._job.runtime.reached("after accepted")

    async def _insist(self, key: str, n: int, accepted: Accepted) -> None:
        """Record the id, with retries: fal has been paid for the request, and only this process knows its id."""
        for tried in count(1):
            try:
                await self._io(self._receipts.create_accepted, key, n, "reply", accepted)
            except StoreError as error:
                if ACCEPTED_RECORD.is_over(tried):
                    msg = f"fal has request {accepted.request_id}, but the store does not accept its record: {error}"
                    raise StoreError(msg) from error
                await self._job.runtime.clock.sleep(ACCEPTED_RECORD.pause(tried))
            else:
                return
