"""The state table against the specification: every store that the model reaches, state by state."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from dagster_gptimg.batch.state import owners, searching, state_of
from dagster_gptimg.store.facts import Accepted, Attempt, Intent, Outcome, Void
from tests.specification import protocol
from tests.specification.receipts import CONFIGS, canon, first_world, rest
from tests.specification.steps import steps

if TYPE_CHECKING:
    from tests.specification.protocol import Config, Store

NOW = datetime(2026, 11, 24, tzinfo=UTC)
STATES = {"in flight": "in_flight", "to buy": "to_buy"}
REASONS = {"proof": "not_sent", "word": "word", "settled": "settled"}


def intent() -> Intent:
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
    )


def accepted(request: int) -> Accepted:
    return Accepted(
        request_id=f"R{request}", endpoint="e", status_url="", response_url="", cancel_url="", accepted_at=NOW
    )


def outcome(request: int, kind: Any) -> Outcome:
    return Outcome(request_id=f"R{request}", kind=kind, cost_usd=None, completed_at=NOW, recorded_at=NOW)


def attempt(spec: protocol.Attempt) -> Attempt:
    """The specification's attempt as ours: (bad, accepted, outcomes, void, word)."""
    bad, acc, outs, void, _ = spec
    found = Attempt(intent=None if bad == "intent" else intent(), unreadable=[f"bad {bad}"] if bad else [])
    how: Any
    for request, how in acc:
        found.accepted[f"R{request}"] = ("history", None) if bad == "accepted" else (how, accepted(request))
    for request, kind in outs:
        found.outcomes[f"R{request}"] = None if bad == "outcome" else outcome(request, kind)
    if void and bad != "void":
        reason: Any = REASONS[void]
        found.void = Void(reason=reason, detail="", recorded_at=NOW)
    return found


def reachable(config: Config, limit: int) -> set[Store]:
    """The different stores among the first `limit` worlds that the specification reaches, breadth first."""
    first = first_world(config)
    seen, stores, queue = {canon(first)}, {first[0]}, deque([first])
    while queue and len(seen) < limit:
        for _, following, _ in steps(config, queue.popleft()):
            world = rest(config, following)
            key = canon(world)
            if key not in seen:
                seen.add(key)
                stores.add(world[0])
                queue.append(world)
    return stores


def owner_of(store: Store) -> dict[str, tuple[str, int]]:
    found: list[tuple[str, int, str, Any]] = [
        (str(k), n, f"R{r}", "history" if spec[0] == "accepted" else how)
        for k, specs in enumerate(store)
        for n, spec in enumerate(specs)
        for r, how in spec[1]
    ]
    return owners(found)


@pytest.mark.parametrize(
    "name",
    [
        "one key, 2 attempts, the user's word",
        "one key, 2 attempts, the word, something unreadable",
        "twins, 2 attempts each",
    ],
)
def test_every_reachable_store_has_the_state_that_the_specification_gives_it(name: str) -> None:
    config = CONFIGS[name]
    stores = reachable(config, 12_000)
    assert len(stores) > 300
    for store in stores:
        own, ours = protocol.owners(config, store), owner_of(store)
        for k, specs in enumerate(store):
            attempts = [attempt(spec) for spec in specs]

            def owns(n: int, request_id: str, k: int = k, ours: dict[str, tuple[str, int]] = ours) -> bool:
                return ours[request_id] == (str(k), n)

            state, n, _ = protocol.state_of(config, store, k, own)
            view = state_of(attempts, owns)
            assert (view.state, view.attempt) == (STATES.get(state, state), n), store
            assert searching(attempts, owns) == protocol.searching(config, store, k, own), store
