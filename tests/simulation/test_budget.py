"""A budget holds for all attempts of a key: what one of them came to pays for no other one's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dagster_gptimg.engine.job import Options
from dagster_gptimg.store.dataset import Dataset
from tests.simulation.test_doubts import manifest
from tests.simulation.world import LOW, PRICE, Life, Request, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dagster_gptimg.engine.record.summary import Summary

HELD = frozenset({"held"})


@pytest.fixture
def world() -> Iterator[World]:
    world = World(1, {}, ["thing 0"])
    yield world
    world.forget()


def posts_of(world: World, at_post: Callable[[int], None], **options: Any) -> tuple[int, Summary]:
    """One run; how many POSTs left, and what it came to. `at_post` is told each one's number just before it leaves."""
    sent = 0

    async def post() -> None:
        nonlocal sent
        sent += 1
        at_post(sent)

    end = Life(world, options=Options(**{"settle": 60.0, "max_in_flight": 4, **options}), frozen=post).run()
    assert end is not None
    return sent, end.summary


def hold_all(world: World) -> None:
    """One run after which every row is in doubt; fal has none of them."""
    world.faults = {"submit_dropped": 1.0}
    assert posts_of(world, lambda _: None)[1].held == len(world.rows)
    world.faults = {}


def tell_by_webhook(world: World, prompt: str, *ends: str) -> None:
    """fal has requests of this prompt's first attempt after all, which have ended so, and its webhooks have come."""
    dataset = Dataset(world.store, "d")
    for key, _ in list(dataset.receipts.by_key()):
        intent = dataset.receipts.load(key)[0].intent
        if intent is None or intent.arguments["prompt"] != prompt:
            continue
        for number, end in enumerate(ends):
            found = Request(
                f"R{90 + 2 * world.rows.index(prompt) + number}",
                {**LOW, "prompt": prompt, "num_images": 1},
                1.0,
                2.0,
                end,
            )
            world.requests[found.id] = found
            dataset.receipts.create_accepted(key, 0, "webhook", found.accepted)


def test_a_submit_whose_reply_was_lost_stays_reserved_when_it_is_sent_again_by_policy(world: World) -> None:
    world.rows = ["thing 0", "thing 1", "thing 2"]

    def at_post(number: int) -> None:
        world.faults = {"submit_dropped": 1.0} if number == 2 else {}

    sent, end = posts_of(world, at_post, on_ambiguous="resubmit", max_in_flight=1, max_cost=3 * PRICE)
    assert sent == 3, "each of them may have been billed"
    assert (end.bought, end.not_submitted, end.stop) == (2, 1, "budget")
    assert end.sentence() == "2 bought, 0 reused, 1 not submitted, $0.02 billed, up to $0.03"


def test_what_an_older_attempt_came_to_does_not_pay_for_the_one_that_is_in_doubt(world: World) -> None:
    world.rows = ["thing 0", "thing 1"]
    hold_all(world)

    def at_post(number: int) -> None:
        world.faults = {"submit_dropped": 1.0} if number == 1 else {}
        if number == 1:
            for prompt in world.rows:
                tell_by_webhook(world, prompt, "failed")

    sent, end = posts_of(world, at_post, again=HELD, max_cost=PRICE)
    assert sent == 1
    assert end.stop == "budget"


def test_two_requests_under_one_attempt_are_both_taken_from_the_budget(world: World) -> None:
    world.rows = ["thing 0"]
    hold_all(world)
    world.rows = ["thing 0", "thing 1"]

    def at_post(_: int) -> None:
        world.faults = {"submit_dropped": 1.0}
        tell_by_webhook(world, "thing 1", "ok", "ok")

    sent, end = posts_of(world, at_post, again=HELD, max_cost=2 * PRICE)
    assert (sent, end.stop) == (1, "budget")
    assert (end.bought, manifest(world)[1]["cost_usd"]) == (1, 2 * PRICE)
