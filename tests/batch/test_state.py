"""The state table against the specification: every store that the model reaches, state by state."""

from __future__ import annotations

import importlib.util
import sys
from collections import deque
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from dagster_gptimg.batch.state import owners, searching, state_of
from dagster_gptimg.store.facts import Accepted, Attempt, Intent, Outcome, Void
from tests.support import SHARED

if TYPE_CHECKING:
    from types import ModuleType

NOW = datetime(2026, 11, 24, tzinfo=UTC)
STATES = {"in flight": "in_flight", "to buy": "to_buy"}
REASONS = {"proof": "not_sent", "word": "word", "settled": "settled"}


@pytest.fixture(scope="module")
def model() -> ModuleType:
    """The receipt protocol as an executable specification (shared with the project's other half)."""
    spec = importlib.util.spec_from_file_location("receipt_model", SHARED / "model" / "receipts.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


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


def attempt(spec: tuple[Any, ...]) -> Attempt:
    """The specification's attempt as ours: (bad, accepted, outcomes, void, word)."""
    bad, acc, outs, void, _ = spec
    found = Attempt(intent=None if bad == "intent" else intent(), unreadable=[f"bad {bad}"] if bad else [])
    for request, how in acc:
        found.accepted[f"R{request}"] = ("history", None) if bad == "accepted" else (how, accepted(request))
    for request, kind in outs:
        found.outcomes[f"R{request}"] = None if bad == "outcome" else outcome(request, kind)
    if void and bad != "void":
        reason: Any = REASONS[void]
        found.void = Void(reason=reason, detail="", recorded_at=NOW)
    return found


def reachable(model: ModuleType, config: Any, limit: int) -> set[Any]:
    """The different stores among the first `limit` states that the model reaches, breadth first."""
    init = (((),) * config.keys, (), (), (model.IDLE, model.IDLE))
    seen, stores, queue = {model.canon(config, init)}, {init[0]}, deque([init])
    while queue and len(seen) < limit:
        for _, following, _ in model.steps(config, queue.popleft()):
            state = model.rest(config, following)
            key = model.canon(config, state)
            if key not in seen:
                seen.add(key)
                stores.add(state[0])
                queue.append(state)
    return stores


def owner_of(store: Any) -> dict[str, tuple[str, int]]:
    found: list[tuple[str, int, str, Any]] = [
        (str(k), n, f"R{r}", "history" if spec[0] == "accepted" else how)
        for k, specs in enumerate(store)
        for n, spec in enumerate(specs)
        for r, how in spec[1]
    ]
    return owners(found)


CONFIGS = [
    "one key, 2 attempts, the user's word",
    "one key, 2 attempts, the word, something unreadable",
    "twins, 2 attempts each",
]


@pytest.mark.parametrize("name", CONFIGS)
def test_every_reachable_store_has_the_state_that_the_specification_gives_it(model: ModuleType, name: str) -> None:
    config = model.Config(**model.CONFIGS[name])
    stores = reachable(model, config, 12_000)
    assert len(stores) > 300
    for store in stores:
        own, ours = model.owners(config, store), owner_of(store)
        for k, specs in enumerate(store):
            attempts = [attempt(spec) for spec in specs]

            def owns(n: int, request_id: str, k: int = k, ours: dict[str, tuple[str, int]] = ours) -> bool:
                return ours[request_id] == (str(k), n)

            state, n, _ = model.state_of(config, store, k, own)
            view = state_of(attempts, owns)
            assert (view.state, view.attempt) == (STATES.get(state, state), n), store
            assert searching(attempts, owns) == model.searching(config, store, k, own), store
