"""The state table (docs/receipts.md#the-state-table): from the facts on record to what a run does next.

Pure, and written to be compared line by line with `state_of`, `searching` and `owners` of the specification
(tests/specification/receipts.py), against which the tests run it, state by state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from dagster_gptimg.store.facts import Attempt, How

State: TypeAlias = Literal["in_flight", "done", "to_buy", "held", "refused", "open"]
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
    for n, attempt in enumerate(attempts):
        for request_id in sorted(attempt.accepted):
            if owns(n, request_id) and request_id not in attempt.outcomes:
                return View("in_flight", n, request_id)
    for n, attempt in enumerate(attempts):
        if any(o is not None and o.kind == "stored" and owns(n, r) for r, o in attempt.outcomes.items()):
            return View("done", n)
    if not attempts:
        return View("to_buy", 0)
    for n, attempt in enumerate(attempts):
        if attempt.unreadable:
            return View("held", n, reason=attempt.unreadable[0])
    return _last_attempt(attempts[-1], len(attempts) - 1, owns)


def _last_attempt(attempt: Attempt, n: int, owns: Owns) -> View:
    if any(o is not None and o.kind == "refused" and owns(n, r) for r, o in attempt.outcomes.items()):
        return View("refused", n)
    counted = [how for r, (how, _) in attempt.accepted.items() if owns(n, r)]
    # An id that was only adopted from the history and ended free proves nothing: ours may be another one.
    if attempt.void is not None or any(how != "history" for how in counted):
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
    for request_id, (how, _) in attempt.accepted.items():
        outcome = attempt.outcomes.get(request_id)
        if owns(n, request_id) and (how != "history" or outcome is None or outcome.kind == "stored"):
            return False
    return True


def owners(found: Iterable[tuple[str, int, str, How]]) -> dict[str, tuple[str, int]]:
    """Whose an id is that was found more than once: (key, attempt) by request id.

    It counts for the one that has it by reply or webhook, else for the lower key and attempt.

    Args:
        found: (key, attempt, request id, how) of every accepted fact on record.
    """
    best: dict[str, tuple[bool, str, int]] = {}
    for key, attempt, request_id, how in found:
        rank = (how == "history", key, attempt)
        if request_id not in best or rank < best[request_id]:
            best[request_id] = rank
    return {request_id: rank[1:] for request_id, rank in best.items()}
