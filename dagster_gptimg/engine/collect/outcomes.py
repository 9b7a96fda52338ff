"""Outcomes: the one place where readings of a request without images become an outcome (docs/receipts.md#evidence).

A single reading is never enough, because a gateway, a replica that lags behind or a service that restarts answers for
a moment what it likes. Written by hand: no client of fal's tells a failed reading from a failed request.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dagster_gptimg.base.retry_policies import RESULT, RESULT_LATER
from dagster_gptimg.fal.types import Failure

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from dagster_gptimg.fal.types import HistoryItem

REFUSAL_APART = 5.0
"""Seconds between the two readings that make a refusal: words about the content are not what a gateway says."""

AGREED_APART = 90.0
"""Seconds between two readings of the result where fal's status names the same error: two of fal's services say so."""

WORDS_APART = 60.0
"""Seconds for which the result of a young request is tried before a line of the history, which has no words, is enough.
"""

FAR_APART = 600.0
"""Seconds between the two readings that make a failure free, or a request ended, where fal's history does not say it:
one blip must not be both of them."""

YOUNG = 3600.0
"""Seconds since fal has accepted a request, by this machine's wall clock. No rule about money rests on it."""

SERVER_ERROR, CLIENT_ERROR, SUCCESS = 500, 400, 200


def is_young(age: timedelta | None) -> bool:
    """Whether fal can be expected to have a request's result; `age`: since it accepted it, None where nobody knows."""
    return age is None or age.total_seconds() <= YOUNG


def pauses(age: timedelta | None) -> tuple[float, ...]:
    """Seconds before each look at a request's result in this run: over all runs, more and more rarely.

    Earlier runs have looked at older ones already, and fal keeps a result for an hour.
    `age`: since fal has accepted it; None where that is not known.
    """
    return (0.0, *(RESULT if is_young(age) else RESULT_LATER).pauses)


@dataclass(slots=True)
class Readings:
    """What this run has read of one request that brought no images yet. Times are the clock's seconds.

    Attributes:
        is_young: whether fal can be expected to have the result still, with its words.
        is_completed: whether fal itself has said that the request has ended: by a status, a stream or a signed webhook.
        error_type: the error that it has named then, if it did.
        first: when each ending was read for the first time: of the result, and of the history.
        latest: what was read last of each thing that is taken only when it stays as it is, and since when it is so.
    """

    is_young: bool = True
    is_completed: bool = False
    error_type: str | None = None
    first: dict[tuple[str, str], float] = field(default_factory=dict)
    latest: dict[str, tuple[str, float]] = field(default_factory=dict)

    def stays(self, what: str, value: str, seconds: float, now: float) -> bool:
        """Whether each reading of this thing had this value for at least so many seconds; another one begins anew."""
        before, since = self.latest.get(what, (None, now))
        self.latest[what] = (value, since if value == before else now)
        return value == before and now - since >= seconds

    def evidence(self, failure: Failure, item: HistoryItem | None, now: float) -> str:
        """What makes an error of the result an outcome, in words; empty while that is not enough.

        Args:
            failure: as the result has just said.
            item: the request's line in fal's history now, if there is one and it could be read. One that says something
                else speaks against every other evidence.
            now: the clock's second.
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
        """What makes a line of fal's history an outcome, where fal has no result any more; empty for too little.

        Args:
            failure: as `failure_in_history` reads the line.
            now: the clock's second.
        """
        since = now - self.first.setdefault(("history", failure.kind), now)
        needed = WORDS_APART if self.is_young else REFUSAL_APART
        return f"two readings of fal's history, {since:.0f} s apart" if since >= needed else ""


def ended_without_images(item: HistoryItem) -> bool:
    """Whether a line of fal's history says that a request has ended, and names no images of it."""
    return item.ended_at is not None and item.status_code is not None and not (item.json_output or {}).get("images")


def failure_in_history(item: HistoryItem) -> Failure | None:
    """A request's end by its line in fal's history alone; None where that says no end, or may have images.

    The history keeps no words, so that a refusal is not told from any other end: it counts as ended, which is as final.
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
    if code >= CLIENT_ERROR or (item.json_output or {}).get("images") == []:
        return Failure(
            kind="ended",
            status_code=code,
            error_type="history",
            message=f"fal's history says that it ended without images (HTTP {code})",
        )
    return None


def age_of(accepted_at: datetime | None, now: datetime) -> timedelta | None:
    """How long ago fal has accepted a request; None where nobody knows."""
    return None if accepted_at is None else now - accepted_at
