"""The state table (docs/receipts.md#the-state-table): from the facts on record to what a run does next.

Pure, and written to be compared line by line with `state_of`, `searching` and `owners` of the specification
(tests/specification/protocol.py), against which the tests run it, state by state.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from dagster_gptimg.store.receipts.facts import Attempt, How

State: TypeAlias = Literal["in_flight", "done", "to_buy", "held", "missing", "refused", "ended", "open"]
Owns: TypeAlias = "Callable[[int, str], bool]"
"""Whether a request id counts for this attempt (of the key in question)."""


class View(NamedTuple):
    """What the facts of one key say.

    Attributes:
        attempt: the attempt that the state speaks of; for `to_buy` and `open`, the one to create.
        request_id: the request to follow (`in_flight`).
        reason: why a row is held.
    """

    state: State
    attempt: int
    request_id: str = ""
    reason: str = ""


def owns_all(_attempt: int, _request_id: str) -> bool:
    """Every id counts: for a key whose ids are known to nobody else."""
    return True


def state_of(attempts: Sequence[Attempt], owns: Owns = owns_all) -> View:
    """The first line of the table that fits. Later lines must not be reached before earlier ones are excluded."""
    for view in in_flight(attempts, owns):
        return view
    for n, attempt in enumerate(attempts):
        if any(_has_images(attempt, r) and owns(n, r) for r in attempt.outcomes):
            return View("done", n)  # as far as facts tell: who looks into the store may find that the files are gone
    if not attempts:
        return View("to_buy", 0)
    for n, attempt in enumerate(attempts):
        if attempt.unreadable:
            return View("held", n, reason=attempt.unreadable[0])
    return _last_attempt(attempts[-1], len(attempts) - 1, owns)


def in_flight(attempts: Sequence[Attempt], owns: Owns = owns_all) -> Iterator[View]:
    """Every request that is to be followed before anything else is done for its key."""
    for n, attempt in enumerate(attempts):
        for request_id in sorted(attempt.accepted):
            if owns(n, request_id) and _is_followed(attempt, request_id):
                yield View("in_flight", n, request_id)


def _is_followed(attempt: Attempt, request_id: str) -> bool:
    """Whether everything else of a key waits for a request's end."""
    return not attempt.is_ended(request_id) and request_id not in attempt.given_up


def _has_images(attempt: Attempt, request_id: str) -> bool:
    """Whether the images of a request are on record, and not that they are in the store no more."""
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
    # An id that was only adopted from the history and ended free proves nothing: ours may be another one.
    if attempt.void is not None or is_given_up or any(how != "history" for how in counted):
        return View("open", n + 1)
    return View("held", n, reason="nobody knows whether its submit reached fal")


def searching(attempts: Sequence[Attempt], owns: Owns = owns_all) -> list[int]:
    """The attempts that every run looks for in the history: no id of their own, and no proof that none exists."""
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
    """Whether a request that was adopted from the history passes for the attempt's own, so far or for good."""
    outcome = attempt.outcomes.get(request_id)
    if request_id in attempt.given_up and not attempt.is_ended(request_id):
        return False
    return outcome is None or outcome.kind == "stored"


def given_up(attempts: Sequence[Attempt], owns: Owns = owns_all) -> list[tuple[int, str]]:
    """The requests (attempt, id) that the user has given up and that have no outcome: every run looks for them once."""
    return [
        (n, request_id)
        for n, attempt in enumerate(attempts)
        for request_id in sorted(attempt.given_up)
        if owns(n, request_id) and not attempt.is_ended(request_id)
    ]


_HOWS: tuple[How, ...] = ("reply", "webhook", "history")
"""How an id was found, what tells most first."""


class Found(NamedTuple):
    """A request id that stands under an attempt.

    Attributes:
        at: when fal accepted the request, by this fact: seconds of fal's clock; infinite where it does not tell.
    """

    key: str
    attempt: int
    request_id: str
    how: How
    at: float = inf


def owners(found: Iterable[Found]) -> dict[str, tuple[str, int]]:
    """Whose an id is that was found more than once: (key, attempt) by request id.

    An id counts for the attempt that has it by a reply, else by a webhook (whose own time is not on record); of several
    replies, for the first (one that names an older request is a stale one); else for the lower key and attempt.

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
    """When fal accepted a request of an attempt, in seconds of fal's clock; infinite where nothing readable tells."""
    _, accepted = attempt.accepted.get(request_id, ("history", None))
    if accepted is None:
        return inf
    offset = attempt.intent.clock_offset_s if attempt.intent is not None else None
    return accepted.accepted_at.timestamp() + (offset or 0.0)
