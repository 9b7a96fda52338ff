"""The state of one request in a run: its recorded facts, and what this run has done for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dagster_gptimg.base.row_status import RowStatus
from dagster_gptimg.engine.purchase_rules import AGAIN_NAMES, Owns, View, state_of
from dagster_gptimg.engine.record.results import Unsettled
from dagster_gptimg.store.receipts.facts import Attempt

if TYPE_CHECKING:
    from collections.abc import Collection

    from dagster_gptimg.engine.plan.plan import Request
    from dagster_gptimg.engine.submit.in_flight_limit import Place
    from dagster_gptimg.fal.registry.price_formulas import Price
    from dagster_gptimg.store.receipts.facts import Deleted, Word


@dataclass(slots=True)
class RequestProgress:
    """The state of one request in a run.

    Attributes:
        attempts: its recorded facts, updated as facts are created.
        owns: returns whether an attempt owns a request id.
        price: minimum and maximum US dollars.
        buys: False for a request that no row needs any more: it is collected, but never bought.
        left: number of attempts that this run may still make after free failures.
        place: its place in the in-flight limit.
        word: identity of this run's `again`, recorded with the attempt that it opens: one `again` buys once.
        again_applies_to: the number of attempts on record when the run began; `again` applies to these only.
        seen_at: when this run first read its facts, in seconds of the run's clock.
        sent: whether this run has created an attempt of it.
        reserved: the attempts for which its price is reserved now.
        collected: whether this run has recorded an outcome that settles it.
        recorded: its requests whose outcomes this run has recorded.
        trouble: the last error.
        lost: its requests that this run has looked for without reaching their end.
        still_at_fal: the last one of these.
        is_missing: whether a file of its images was missing when the run began.
        gone: the stored requests (attempt, request id) whose files are missing, with their (future) record.
        why: why these could not be fetched again.
    """

    request: Request
    attempts: list[Attempt]
    owns: Owns
    price: Price
    buys: bool
    left: int
    place: Place
    word: Word
    again_applies_to: int
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
        """Replace the facts, keeping what was found to be missing."""
        self.attempts[:] = attempts
        for (n, request_id), deleted in self.gone.items():
            if n < len(self.attempts):
                self.attempts[n].deleted[request_id] = deleted

    def view(self) -> View:
        """The current state by the facts."""
        return state_of(self.attempts, self.owns)

    def is_meant(self, view: View, again: Collection[str]) -> bool:
        """Return whether `again` applies to the current state.

        It applies to attempts that were on record when the run began, never to those that this run, or another one with
        the same `again`, has opened since.
        """
        is_named = self.request.row_id in again or AGAIN_NAMES.get(view.state) in again
        return self.buys and view.attempt < self.again_applies_to and is_named

    def unsettled(self, status: RowStatus, error: str = "") -> Unsettled:
        """Return the request as one without a final outcome."""
        return Unsettled(key=self.request.key, status=status, error=error or None)

    def word_for(self, n: int) -> Word | None:
        """Return the identity of the `again` by which attempt `n` is opened, if the one before was given up by it."""
        return self.attempts[n - 1].word if 0 < n <= len(self.attempts) else None
