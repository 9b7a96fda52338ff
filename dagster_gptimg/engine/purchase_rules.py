"""The state table (docs/receipts.md#the-state-table): by the facts on record, whether a request is bought (again).

A state also says whether a run follows the request, or holds it, and which status `again` has to name before a refused,
lost, missing or held one is bought once more.

Pure functions, which correspond line by line to `state_of`, `searching` and `owners` of the specification
(tests/specification/protocol.py), with which the tests compare them, state by state.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from dagster_gptimg.base.row_status import RowStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from dagster_gptimg.store.layout import How
    from dagster_gptimg.store.receipts.facts import Attempt

State: TypeAlias = Literal["in_flight", "done", "to_buy", "held", "missing", "refused", "ended", "open"]

AGAIN_OPENS: frozenset[State] = frozenset({"missing", "refused", "ended"})
"""States of requests for which no run buys anything by itself: only `again` opens their next attempt."""

AGAIN_NAMES: Mapping[State, RowStatus] = {
    "missing": RowStatus.MISSING,
    "refused": RowStatus.REFUSED,
    "ended": RowStatus.LOST,
    "in_flight": RowStatus.LOST,
    "held": RowStatus.HELD,
}
"""By state, the status that `again` has to name (or the row's id) before such a request is bought again.

One in flight has to be looked for in vain before, and a held one searched for.
"""

Owns: TypeAlias = "Callable[[int, str], bool]"
"""Returns whether an attempt of the key owns a request id."""


class View(NamedTuple):
    """The state of one key by its facts.

    Attributes:
        attempt: the attempt of the state; for `to_buy` and `open`, the one to create.
        request_id: the request to follow (`in_flight`).
        reason: why a row is held.
    """

    state: State
    attempt: int
    request_id: str = ""
    reason: str = ""


def owns_all(_attempt: int, _request_id: str) -> bool:
    """Return True for every id: for a key whose ids occur under no other key."""
    return True


def state_of(attempts: Sequence[Attempt], owns: Owns = owns_all) -> View:
    """Return the first matching line of the table. Later lines assume that earlier ones do not match."""
    for view in in_flight(attempts, owns):
        return view
    for n, attempt in enumerate(attempts):
        if any(_has_images(attempt, r) and owns(n, r) for r in attempt.outcomes):
            return View("done", n)  # according to the facts: the files may still be missing in the store
    if not attempts:
        return View("to_buy", 0)
    for n, attempt in enumerate(attempts):
        if attempt.unreadable:
            return View("held", n, reason=attempt.unreadable[0])
    return _last_attempt(attempts[-1], len(attempts) - 1, owns)


def in_flight(attempts: Sequence[Attempt], owns: Owns = owns_all) -> Iterator[View]:
    """Yield every request that must be followed before anything else is done for its key."""
    for n, attempt in enumerate(attempts):
        for request_id in sorted(attempt.accepted):
            if owns(n, request_id) and _is_followed(attempt, request_id):
                yield View("in_flight", n, request_id)


def _is_followed(attempt: Attempt, request_id: str) -> bool:
    """Return whether the rest of the key waits for a request's end."""
    return not attempt.is_ended(request_id) and request_id not in attempt.given_up


def _has_images(attempt: Attempt, request_id: str) -> bool:
    """Return whether the images of a request are on record, without a recorded deletion."""
    outcome = attempt.outcomes[request_id]
    return outcome is not None and outcome.kind == "stored" and request_id not in attempt.deleted


def _last_attempt(attempt: Attempt, n: int, owns: Owns) -> View:
    if any(owns(n, request_id) for request_id in attempt.deleted):
        return View("missing", n)
    ends = {o.meaning for r, o in attempt.outcomes.items() if o is not None and o.is_end and owns(n, r)}
    if "refused" in ends:
        return View("refused", n)
    if "ended" in ends:
        return View("ended", n)
    counted = [how for r, (how, _) in attempt.accepted.items() if owns(n, r)]
    is_given_up = any(owns(n, r) and not attempt.is_ended(r) for r in attempt.given_up)
    # An id that was adopted from the history and ended free proves nothing: the attempt's own may be another one.
    if attempt.void is not None or is_given_up or any(how != "history" for how in counted):
        return View("open", n + 1)
    return View("held", n, reason="it is not known whether its submit reached fal")


def searching(attempts: Sequence[Attempt], owns: Owns = owns_all) -> list[int]:
    """Return the attempts that every run searches for in the history: without an own id, and without proof of none."""
    return [n for n, attempt in enumerate(attempts) if _is_searched(attempt, n, owns)]


def _is_searched(attempt: Attempt, n: int, owns: Owns) -> bool:
    if attempt.unreadable or attempt.intent is None:
        return False
    if attempt.void is not None and attempt.void.reason in {"not_sent", "rejected"}:
        return False
    return not any(
        owns(n, request_id) and (how != "history" or _may_be_its_own(attempt, request_id))
        for request_id, (how, _) in attempt.accepted.items()
    )


def _may_be_its_own(attempt: Attempt, request_id: str) -> bool:
    """Return whether a request that was adopted from the history counts as the attempt's own, for now or for good."""
    outcome = attempt.outcomes.get(request_id)
    if request_id in attempt.given_up and not attempt.is_ended(request_id):
        return False
    return outcome is None or outcome.kind == "stored"


def given_up(attempts: Sequence[Attempt], owns: Owns = owns_all) -> list[tuple[int, str]]:
    """Return the requests (attempt, id) that were given up and have no outcome: every run looks for them once."""
    return [
        (n, request_id)
        for n, attempt in enumerate(attempts)
        for request_id in sorted(attempt.given_up)
        if owns(n, request_id) and not attempt.is_ended(request_id)
    ]


_HOWS: tuple[How, ...] = ("reply", "webhook", "history")
"""The ways in which an id was found, the most reliable first."""


class Found(NamedTuple):
    """A request id that is recorded for an attempt.

    Attributes:
        at: when fal accepted the request according to this fact, in seconds of fal's clock; infinite if it does not
            say.
    """

    key: str
    attempt: int
    request_id: str
    how: How
    at: float = inf


def owners(found: Iterable[Found]) -> dict[str, tuple[str, int]]:
    """Return the owner (key, attempt) of each request id that was found more than once.

    An id belongs to the attempt that has it by a reply, else by a webhook (whose own time is not recorded); of several
    replies, to the first (one that names an older request is a stale one); else to the lower key and attempt.

    Args:
        found: every accepted fact on record.
    """
    best: dict[str, tuple[int, float, str, int]] = {}
    for one in found:
        rank = (_HOWS.index(one.how), one.at, one.key, one.attempt)
        if one.request_id not in best or rank < best[one.request_id]:
            best[one.request_id] = rank
    return {request_id: rank[2:] for request_id, rank in best.items()}


def accepted_at(attempt: Attempt, request_id: str) -> float:
    """Return when fal accepted a request of an attempt, in seconds of fal's clock.

    Infinite if no readable fact says it.
    """
    _, accepted = attempt.accepted.get(request_id, ("history", None))
    if accepted is None:
        return inf
    offset = attempt.intent.clock_offset_s if attempt.intent is not None else None
    return accepted.accepted_at.timestamp() + (offset or 0.0)
