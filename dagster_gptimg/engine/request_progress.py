"""One request on its way through a run: its facts on record, and what this run has done for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dagster_gptimg.base.row_status import RowStatus
from dagster_gptimg.engine.record.results import Unsettled
from dagster_gptimg.engine.record.state_table import Owns, View, state_of
from dagster_gptimg.store.receipts.facts import Attempt

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from dagster_gptimg.engine.plan.plan import Request
    from dagster_gptimg.engine.submit.in_flight_limit import Place
    from dagster_gptimg.fal.registry.prices import Price
    from dagster_gptimg.store.receipts.facts import Deleted, Word

WORDS: Mapping[str, RowStatus] = {
    "missing": RowStatus.MISSING,
    "refused": RowStatus.REFUSED,
    "ended": RowStatus.LOST,
    "held": RowStatus.HELD,
}
"""By state, what the user says to buy such a request again: the status of its row."""


@dataclass(slots=True)
class RequestProgress:
    """One request on its way through a run.

    Attributes:
        attempts: its facts on record; added to as they are made.
        owns: whose an id is.
        price: US dollars, at least and at most.
        buys: False for a request that no row asks for any more: it is collected, and never bought.
        left: attempts that this run may still make after failures that were free.
        place: its place in the window.
        word: the user's word in this run.
        spoken: attempts that stood on record when the run began: of no others does the user's word speak.
        seen_at: the clock's second at which this run saw its facts first.
        sent: whether this run has claimed an attempt of it.
        reserved: the attempts for which its price is reserved now.
        collected: whether this run has recorded an outcome of it that settles it.
        recorded: the requests of it whose outcomes this run has put on record.
        trouble: what went wrong last.
        lost: requests of it that this run has looked for, and not brought to an end.
        still_at_fal: the last one of these.
        is_missing: whether a file of its images was gone when the run began.
        gone: the stored requests, as (attempt, request id), whose files are gone now; with what is (to be) on record.
        why: what became of fetching these again.
    """

    request: Request
    attempts: list[Attempt]
    owns: Owns
    price: Price
    buys: bool
    left: int
    place: Place
    word: Word
    spoken: int
    seen_at: float
    sent: bool = False
    reserved: set[int] = field(default_factory=set)
    collected: bool = False
    recorded: set[str] = field(default_factory=set)
    trouble: str = ""
    lost: set[str] = field(default_factory=set)
    still_at_fal: Unsettled | None = None
    is_missing: bool = False
    gone: dict[tuple[int, str], Deleted] = field(default_factory=dict)
    why: str = ""

    def take(self, attempts: list[Attempt]) -> None:
        """Go on with these facts, and with what was found to be gone."""
        self.attempts[:] = attempts
        for (n, request_id), deleted in self.gone.items():
            if n < len(self.attempts):
                self.attempts[n].deleted[request_id] = deleted

    def view(self) -> View:
        """What the facts say now."""
        return state_of(self.attempts, self.owns)

    def is_meant(self, view: View, again: Collection[str]) -> bool:
        """Whether the user's word speaks of what the facts say.

        It speaks of attempts that stood on record when the run began, never of what this run, or another one by the
        same word, has opened since.
        """
        is_named = self.request.row_id in again or WORDS.get(view.state, RowStatus.LOST) in again
        return self.buys and view.attempt < self.spoken and is_named

    def unsettled(self, status: RowStatus, error: str = "") -> Unsettled:
        """The request, without a final outcome."""
        return Unsettled(key=self.request.key, status=status, error=error or None)

    def word_for(self, n: int) -> Word | None:
        """The user's word by which attempt `n` is opened, because the one before it was given up by it."""
        return self.attempts[n - 1].word if 0 < n <= len(self.attempts) else None
