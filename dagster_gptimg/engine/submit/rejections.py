"""Rejections of submits, which fal did not accept; not refusals of the content, with which an accepted request ends.

What such an end (mostly a 422) means is decided in `fal/http/answers.py`, when it is proven in
`engine/collect/result_reads.py`, and whether its row is bought again in `engine/purchase_rules.py`. Also distinguishes
an endpoint that no longer exists from a gateway that answers 404 for a moment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagster_gptimg.errors import AccountLockedError, NotSentError, ReadError, RejectedError, SubmitError
from dagster_gptimg.fal.registry.builtin import model_at

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagster_gptimg.engine.job import Job
    from dagster_gptimg.engine.submit.in_flight_limit import InFlightLimit
    from dagster_gptimg.engine.submit.stop import Stop

TOO_MANY = 429
UNAUTHORIZED = 401
FORBIDDEN = 403
NOT_FOUND = 404

OF_ALL = frozenset({UNAUTHORIZED, FORBIDDEN, NOT_FOUND})
"""Rejections that concern the key or the endpoint, not a single row."""

LASTING = 300.0
"""Seconds for which every answer must have been such a rejection before a run accepts it as final."""


class Rejections:
    """Decides the consequences of each submit that was not accepted."""

    def __init__(self, job: Job, stop: Stop, in_flight_limit: InFlightLimit, in_flight: Callable[[], int]) -> None:
        """Use a run's stop and in-flight limit; `in_flight` counts the requests that fal has."""
        self._job, self._stop, self._in_flight_limit, self._in_flight = job, stop, in_flight_limit, in_flight
        self._asked_at = float("-inf")

    async def is_of_this_request(self, endpoint: str, error: SubmitError) -> bool:
        """Return whether a rejection concerns this request's inputs. Otherwise the run was told to wait, or to stop."""
        if isinstance(error, AccountLockedError):
            self._stop.because("locked", str(error))
        elif isinstance(error, NotSentError):
            self._stop.turned_away(error)
        elif not isinstance(error, RejectedError):
            return False
        elif error.status_code == TOO_MANY:
            self._in_flight_limit.turned_away()
            self._stop.turned_away(error, error.retry_after)
        elif error.status_code in OF_ALL:
            await self._of_all(endpoint, error, self._stop.turned_away(error, error.retry_after))
        else:
            return True
        return False

    async def _of_all(self, endpoint: str, error: RejectedError, lasting: float) -> None:
        """Stop the run once fal certainly accepts nothing from it any more."""
        if error.status_code == NOT_FOUND and (lasting >= LASTING or await self._is_gone(endpoint)):
            self._stop.because("unusable", self._gone(endpoint, lasting))
        elif lasting >= LASTING:
            self._stop.because("unusable", f"{error} (for {lasting:.0f} s, and nothing else)")

    async def _is_gone(self, endpoint: str) -> bool:
        """Return whether fal's own list of models lacks the endpoint; read once for each pause."""
        now = self._job.runtime.clock.monotonic()
        if now < self._asked_at + 1.0:
            return False
        self._asked_at = now
        try:
            return await self._job.fal.is_gone(endpoint)
        except ReadError:
            return False

    def _gone(self, endpoint: str, lasting: float) -> str:
        model = model_at(endpoint, self._job.model)
        why = f"for {lasting:.0f} s" if lasting >= LASTING else "and its list of models does not have it"
        candidate = model.successor or "MODEL"
        return (
            f"fal has no endpoint {endpoint} any more (HTTP 404, {why}). Nothing was bought for the rows that are "
            f"left: rejected submits cost nothing. {self._in_flight()} requests are in flight and are collected. "
            f"`dagster-gptimg plan TABLE --model {candidate}` shows the cost of moving to {candidate}"
        )
