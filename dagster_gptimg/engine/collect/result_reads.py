"""When, and how often, a request's result is read; and when reads without images prove that it failed.

The number of reads and the pauses between them are in `base/retry_policies.py`; how far apart two of them must be to be
evidence stands here (docs/receipts.md#evidence). A single read is never sufficient, because a gateway, a lagging
replica or a restarting service may give a wrong answer for a moment. This is written by hand: no client of fal's
distinguishes a failed read from a failed request.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dagster_gptimg.base.retry_policies import RESULT, RESULT_LATER
from dagster_gptimg.fal.types import Failure, listed_images

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from dagster_gptimg.fal.types import HistoryItem

REFUSAL_APART = 5.0
"""Seconds between the two reads that make a refusal: gateways do not send errors about the content."""

AGREED_APART = 90.0
"""Seconds between two reads of the result if fal's status names the same error: two of fal's services agree."""

WORDS_APART = 60.0
"""Seconds for which the result of a young request is tried before an entry of the history is sufficient.

The history has no error message.
"""

FAR_APART = 600.0
"""Seconds between the two reads that make a failure free, or a request ended, if fal's history does not confirm it.

One short disturbance must not cause both.
"""

YOUNG = 3600.0
"""Seconds since fal accepted a request, by this machine's wall clock. No rule about money depends on it."""

SERVER_ERROR = 500
CLIENT_ERROR = 400
SUCCESS = 200


def is_young(age: timedelta | None) -> bool:
    """Return whether fal is expected to still have a request's result.

    Args:
        age: time since fal accepted it; None if that is not known.
    """
    return age is None or age.total_seconds() <= YOUNG


def pauses(age: timedelta | None) -> tuple[float, ...]:
    """Return the seconds before each read of a request's result in this run.

    Earlier runs have looked at older ones already, and fal keeps a result for an hour.
    `age`: since it was accepted, None if unknown.
    """
    return (0.0, *(RESULT if is_young(age) else RESULT_LATER).pauses)


@dataclass(slots=True)
class Readings:
    """What this run has read of one request that has no images yet. Times are in seconds of the run's clock.

    Attributes:
        is_young: whether fal is expected to still have the result, with its error message.
        is_completed: whether fal itself has said that the request has ended: by a status, a stream or a signed webhook.
        error_type: the error that fal named with it, if any.
        first: when each ending was read for the first time, in the result and in the history.
        latest: the last value of everything that counts only if it stays the same, and since when it has been the same.
    """

    is_young: bool = True
    is_completed: bool = False
    error_type: str | None = None
    first: dict[tuple[str, str], float] = field(default_factory=dict)
    latest: dict[str, tuple[str, float]] = field(default_factory=dict)

    def stays(self, what: str, value: str, seconds: float, now: float) -> bool:
        """Note a value; return whether it has been the same for at least `seconds`."""
        before, since = self.latest.get(what, (None, now))
        self.latest[what] = (value, since if value == before else now)
        return value == before and now - since >= seconds

    def evidence(self, failure: Failure, item: HistoryItem | None, now: float) -> str:
        """Return in words why an error of the result is now an outcome; empty while the evidence is not sufficient.

        Args:
            failure: the error that the latest read of the result has returned.
            item: the request's entry in fal's history, if it could be read. An entry that differs contradicts all other
                evidence.
            now: seconds of the run's clock.
        """
        since = now - self.first.setdefault(("result", failure.kind), now)
        if not self.is_completed:
            return ""
        if item is not None and ended_without_images(item):
            return "fal's status, result and history" if item.status_code == failure.status_code else ""
        needed = AGREED_APART if self.error_type == failure.error_type else FAR_APART
        needed = REFUSAL_APART if failure.kind == "refused" else needed
        return f"fal's status, and two readings of the result, {since:.0f} s apart" if since >= needed else ""

    def evidence_of_history(self, failure: Failure, now: float) -> str:
        """Return in words why an entry of fal's history is an outcome, if fal no longer has the result.

        Empty for too little.

        Args:
            failure: the entry, parsed by `failure_in_history`.
            now: seconds of the run's clock.
        """
        since = now - self.first.setdefault(("history", failure.kind), now)
        needed = WORDS_APART if self.is_young else REFUSAL_APART
        return f"two readings of fal's history, {since:.0f} s apart" if since >= needed else ""


def ended_without_images(item: HistoryItem) -> bool:
    """Return whether an entry of fal's history says that a request has ended, and lists no images."""
    return item.ended_at is not None and item.status_code is not None and not listed_images(item.json_output)


def failure_in_history(item: HistoryItem) -> Failure | None:
    """Return a request's end by its history entry alone; None if it has not ended, or may have images.

    The history has no error messages, so a refusal cannot be distinguished from other ends: it counts as ended, which
    is equally final.
    """
    code = item.status_code
    if code is None or not ended_without_images(item) or code < SUCCESS:
        return None
    if code >= SERVER_ERROR:
        return Failure(
            kind="free",
            status_code=code,
            error_type="history",
            message=f"fal's history says that it ended with HTTP {code}",
        )
    if code >= CLIENT_ERROR or listed_images(item.json_output) == []:
        return Failure(
            kind="ended",
            status_code=code,
            error_type="history",
            message=f"fal's history says that it ended without images (HTTP {code})",
        )
    return None


def age_of(accepted_at: datetime | None, now: datetime) -> timedelta | None:
    """Return the time since fal accepted a request; None if it is not known."""
    return None if accepted_at is None else now - accepted_at
