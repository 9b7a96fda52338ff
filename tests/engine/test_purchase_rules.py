"""The state table against the specification: every store that the model reaches, state by state."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from math import inf
from typing import TYPE_CHECKING, Any, cast, get_args

import pytest

from dagster_gptimg.base.row_status import AGAIN, REJECTED, RowStatus
from dagster_gptimg.engine.purchase_rules import (
    AGAIN_NAMES,
    AGAIN_OPENS,
    Found,
    State,
    accepted_at,
    given_up,
    owners,
    searching,
    state_of,
)
from dagster_gptimg.store.receipts.facts import (
    Accepted,
    Attempt,
    Deleted,
    GivenUp,
    Intent,
    Outcome,
    OutcomeKind,
    Void,
    Word,
)
from tests.specification import protocol
from tests.specification.outcomes import kind_of, says
from tests.specification.receipts import CONFIGS, canon, rest
from tests.specification.runs import given_up_by
from tests.specification.steps import WORDS, steps

if TYPE_CHECKING:
    from dagster_gptimg.engine.purchase_rules import Owns
    from dagster_gptimg.store.layout import How
    from tests.specification.protocol import Owners, Store

pytestmark = pytest.mark.xdist_group("state table")  # one process makes the stores, once

NOW = datetime(2026, 11, 24, tzinfo=UTC)
STATES = {"in flight": "in_flight", "to buy": "to_buy"}
REASONS = {"proof": "not_sent", "word": "word", "settled": "settled"}

WORLDS = 12_000
"""Worlds of a configuration whose stores are compared, breadth first."""

COMPARED = {
    "one key, 2 attempts, the user's word": 300,
    "one key, 2 attempts, the word, something unreadable": 300,
    "twins, 2 attempts each": 300,
    "one key, 3 attempts, the word given to two runs": 300,
    "one key, 2 attempts, the word, requests that end without images or are lost": 300,
    "one key, 3 attempts, the word, images that are gone, put back and pruned": 300,
    "one key, 2 attempts, wrongly free": 20,
    "one key, 2 attempts, wrongly refused, the word": 20,
    "one key, 2 attempts, wrongly free and lost, the word": 100,
    "one key, 2 attempts, wrongly refused and lost, the word": 100,
}
"""Configurations, each with the number of different stores that it has at least."""

WRONGLY: dict[str, dict[str, Any]] = {
    "free?": {"version": 1, "kind": "free"},
    "refused?": {"version": 1, "kind": "refused", "status_code": 429},
}
"""What an earlier version has recorded from one reading."""


def said(run: int | str) -> Word | None:
    """The user's word of a run; 0 or empty for none."""
    return Word(id=str(run), run=str(run)) if run else None


def intent(word: int) -> Intent:
    return Intent(
        endpoint="e",
        arguments={},
        partition=None,
        row_id="1",
        run="r",
        cost_high_usd=Decimal(1),
        nonce="n",
        account="a",
        created_at=NOW,
        word=said(word),
    )


def accepted(request: int) -> Accepted:
    return Accepted(
        request_id=f"R{request}", endpoint="e", status_url="", response_url="", cancel_url="", accepted_at=NOW
    )


def outcome(request: int, kind: str) -> Outcome:
    about = {"request_id": f"R{request}", "cost_usd": None, "completed_at": NOW, "recorded_at": NOW}
    return Outcome.model_validate(about | WRONGLY.get(kind, {"kind": kind}))


def attempt(spec: protocol.Attempt) -> Attempt:
    """The specification's attempt as ours: (bad, accepted, outcomes, void, word)."""
    bad, acc, outs, void, word = spec
    found = Attempt(intent=None if bad == "intent" else intent(word), unreadable=[f"bad {bad}"] if bad else [])
    how: Any
    for request, how in acc:
        found.accepted[f"R{request}"] = ("history", None) if bad == "accepted" else (how, accepted(request))
    for request, kinds in outs:
        for kind in kinds:
            add(found, request, kind, is_bad=bad == "outcome")
        if says(kinds) == "deleted":  # a deletion is left out when it is read, as long as the files are there
            found.deleted[f"R{request}"] = Deleted(request_id=f"R{request}", reason="pruned", recorded_at=NOW)
    if void and bad != "void":
        name, _, run = void.partition(" ")
        reason: Any = REASONS[name]
        found.void = Void(reason=reason, detail="", recorded_at=NOW, word=said(run))
    return found


def add(found: Attempt, request: int, kind: str, *, is_bad: bool) -> None:
    """One more kind of a chain. What the user has given up is a fact of its own, and no outcome."""
    name, _, run = kind.partition(" ")
    if name == "given":
        fact = GivenUp(request_id=f"R{request}", word=Word(id=run, run=run), recorded_at=NOW)
        found.given_up[f"R{request}"] = None if is_bad else fact
    elif name not in {"deleted", "gone"}:
        found.add_outcome(f"R{request}", None if is_bad else outcome(request, name))


@cache
def reachable(name: str) -> frozenset[Store]:
    """The different stores among the first worlds that the specification reaches."""
    config = CONFIGS[name]
    first = protocol.first_world(config)
    seen, stores, queue = {canon(first)}, {first[0]}, deque([first])
    while queue and len(seen) < WORLDS:
        for _, following, _ in steps(config, queue.popleft()):
            world = rest(config, following)
            key = canon(world)
            if key not in seen:
                seen.add(key)
                stores.add(world[0])
                queue.append(world)
    return frozenset(stores)


def owner_of(store: Store) -> dict[str, tuple[str, int]]:
    found = [
        Found(str(k), n, f"R{r}", cast("How", "history" if spec[0] == "accepted" else how))
        for k, specs in enumerate(store)
        for n, spec in enumerate(specs)
        for r, how in spec[1]
    ]
    return owners(found)


@cache
def views(name: str) -> list[tuple[Store, int, Owners, list[Attempt], Owns]]:
    """Each key of each store: (store, key, whose ids are by the specification, its attempts as ours, whose by ours)."""
    found: list[tuple[Store, int, Owners, list[Attempt], Owns]] = []
    for store in reachable(name):
        own, ours = protocol.owners(CONFIGS[name], store), owner_of(store)
        for k, specs in enumerate(store):

            def owns(n: int, request_id: str, k: int = k, ours: dict[str, tuple[str, int]] = ours) -> bool:
                return ours[request_id] == (str(k), n)

            found.append((store, k, own, [attempt(spec) for spec in specs], owns))
    return found


@pytest.mark.parametrize("name", COMPARED)
def test_every_reachable_store_has_the_state_that_the_specification_gives_it(name: str) -> None:
    assert len(reachable(name)) > COMPARED[name]
    for store, k, own, attempts, owns in views(name):
        state, n, more = protocol.state_of(CONFIGS[name], store, k, own)
        view = state_of(attempts, owns)
        assert (view.state, view.attempt) == (STATES.get(state, state), n), store
        assert view.request_id == (f"R{more}" if state == "in flight" else ""), store


@pytest.mark.parametrize("name", COMPARED)
def test_in_every_reachable_store_the_same_is_looked_for_as_in_the_specification(name: str) -> None:
    for store, k, own, attempts, owns in views(name):
        wanted = protocol.searching(CONFIGS[name], store, k, own)
        assert searching(attempts, owns) == wanted, store
        given = [(n, r) for n, spec in enumerate(store[k]) for r, kinds in spec[2] if says(kinds) == "given"]
        assert given_up(attempts, owns) == [(n, f"R{r}") for n, r in given if own[r] == (k, n)], store


@pytest.mark.parametrize("name", COMPARED)
def test_in_every_reachable_store_the_same_word_gave_an_attempt_up(name: str) -> None:
    for store, k, _, attempts, _ in views(name):
        for found, spec in zip(attempts, store[k], strict=True):
            if not spec[0]:
                assert (found.word.run if found.word else "0") == str(given_up_by(spec)), store


def test_every_kind_of_outcome_and_every_state_is_met() -> None:
    kinds, states = set[str](), set[str]()
    for name in COMPARED:
        for store, k, _, attempts, owns in views(name):
            kinds.update(kind_of(kind) for spec in store[k] for _, chain in spec[2] for kind in chain)
            states.add(state_of(attempts, owns).state)
    assert kinds == {*get_args(OutcomeKind), *WRONGLY, "given", "deleted", "gone"}
    assert states == set(get_args(State))


def test_again_opens_a_new_attempt_in_the_states_and_by_the_words_of_the_specification() -> None:
    assert {state: str(AGAIN_NAMES[state]) for state in AGAIN_OPENS} == WORDS
    assert set(AGAIN_NAMES.values()) == set(AGAIN) - {RowStatus.FAILED, REJECTED}, (
        "failed rows need no word, and rejected ones get another take"
    )


def test_an_id_that_two_replies_have_named_is_the_first_ones_by_fals_clock() -> None:
    found = [Found("a", 1, "R", "reply", 20.0), Found("b", 0, "R", "reply", 10.0), Found("c", 0, "R", "webhook", 1.0)]
    found.append(Found("d", 0, "R", "history", 0.0))
    assert owners(found) == owners(found[::-1]) == {"R": ("b", 0)}
    right, wrong = at_hour(0.0, 0.0), at_hour(5.0, -5.0)
    assert accepted_at(wrong, "R1") == accepted_at(right, "R1") < accepted_at(at_hour(1.0, 0.0), "R1")
    assert accepted_at(right, "another") == inf


def at_hour(hour: float, offset: float) -> Attempt:
    """An attempt that was accepted at an hour of its machine's clock, which fal's is ahead of by some hours."""
    sent = intent(0).model_copy(update={"clock_offset_s": offset * 3600.0})
    fact = accepted(1).model_copy(update={"accepted_at": NOW + timedelta(hours=hour)})
    return Attempt(intent=sent, accepted={"R1": ("reply", fact)})
