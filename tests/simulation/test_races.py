"""Two processes at the worst moments, on a clock that costs nothing: each race of the protocol, judged by the bill.

A process that is frozen does nothing and knows nothing of it; when it wakes, it goes on where it was.
"""

from __future__ import annotations

import asyncio
import itertools
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from dagster_gptimg.engine.events import Noticed, Warned
from dagster_gptimg.engine.job import Options
from tests.simulation.test_doubts import live, lost, manifest
from tests.simulation.test_seeds import check
from tests.simulation.world import PRICE, Life, World, together

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dagster_gptimg.engine.record.summary import Summary

HOUR = 3600.0


def frozen(seconds: float) -> Callable[[], Awaitable[None]]:
    async def sleep() -> None:
        await asyncio.sleep(seconds)

    return sleep


def process(world: World, **how: Any) -> Life:
    """A process; what is no part of a life is an option."""
    parts = {name: how.pop(name) for name in ("starts", "frozen", "reached", "on_event") if name in how}
    return Life(world, options=Options(**{"settle": 60.0, **how}), **parts)


def both(*lives: Life) -> list[Summary]:
    ends = together(*lives)
    assert None not in ends
    return [end.summary for end in ends if end is not None]


def files(world: World, folder: str) -> list[str]:
    return [name for prefix in range(256) for name in world.store.names(f"d/{folder}/{prefix:02x}")]


def dies_at(world: World, point: str, **how: Any) -> Life:
    """A process that is killed at a named point of the engine."""

    def reached(here: str) -> None:
        if here == point:
            life.die()

    life = process(world, reached=reached, **how)
    return life


# -- 1. what a follower does while the winner is between its create and its POST


@pytest.mark.parametrize("starts", [0.0, 5.0], ids=["together", "later"])
def test_a_follower_waits_for_a_winner_between_create_and_post(world: World, starts: float) -> None:
    winner, follower = both(process(world, frozen=frozen(20.0)), process(world, starts=starts, frozen=frozen(20.0)))
    assert (winner.images, follower.images, len(world.requests)) == (1, 1, 1)
    assert winner.bought + follower.bought == 1
    check(world)


# -- 2. what it does when the winner died there


def test_a_follower_of_a_winner_that_died_before_its_post_holds_the_row(world: World) -> None:
    died, follower = together(dies_at(world, "before POST"), process(world, starts=0.5))
    assert died is None
    assert follower is not None
    assert (follower.summary.held, len(world.requests)) == (1, 0)
    assert "--again held" in manifest(world)[0]["error"]
    assert live(world, again=frozenset({"held"})).bought == 1
    check(world)


def test_a_follower_of_a_winner_that_died_after_its_post_adopts_it(world: World) -> None:
    died, follower = together(dies_at(world, "after POST"), process(world, starts=0.5))
    assert died is None
    assert follower is not None
    assert (follower.summary.reattached, len(world.requests)) == (1, 1)
    check(world)


# -- 3. two followers of one request


@pytest.mark.parametrize("behind", [0.0, 0.05, 0.2, 0.5])
def test_two_followers_collect_one_image_once(world: World, behind: float) -> None:
    assert dies_at(world, "after accepted").run() is None
    summaries = both(process(world), process(world, starts=behind), process(world, starts=2 * behind))
    assert [s.images for s in summaries] == [1, 1, 1]
    assert len(files(world, "images")) == 1
    assert sum(".outcome." in name for name in files(world, "receipts")) == 1
    check(world)


# -- 4. a process that is frozen between its create and its POST, and wakes an hour later


def test_a_process_that_wakes_an_hour_later_sends_what_everybody_else_has_held(world: World) -> None:
    zombie, other = both(process(world, frozen=frozen(HOUR)), process(world, starts=1.0))
    assert (other.held, zombie.bought, len(world.requests)) == (1, 1, 1)
    assert live(world).reused == 1
    check(world)


def test_what_a_process_sends_an_hour_later_is_found_if_it_dies_of_it(world: World) -> None:
    zombie, other = together(dies_at(world, "after POST", frozen=frozen(HOUR - 60)), process(world, starts=1.0))
    assert zombie is None
    assert other is not None
    assert (other.summary.held, len(world.requests)) == (1, 1)
    world.now += 60.0
    assert live(world).reattached == 1
    check(world)


def test_what_the_users_word_bought_meanwhile_is_collected_beside_it_and_told(world: World) -> None:
    word = process(world, starts=100.0, again=frozenset({"held"}))
    both(process(world, frozen=frozen(HOUR)), process(world, starts=1.0), word)
    assert len(world.requests) == 2  # the user took the risk, while nobody could know
    told: list[Any] = []
    for _ in range(2):
        process(world, on_event=told.append).run()
        [row] = manifest(world)
        assert row["cost_usd"] == 2 * PRICE
    assert len(files(world, "images")) == 2
    assert [event.status for event in told if isinstance(event, Noticed)] == ["paid_twice"]


# -- two runs in a store that cannot keep them apart, which both may use at the user's word


def test_what_two_runs_buy_twice_in_a_store_without_exclusive_create_is_counted_and_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.store, "create", world.store.write)
    told: list[Any] = []
    both(*(process(world, alone=True, on_event=told.append, starts=starts) for starts in (0.0, 0.001)))
    assert len(world.requests) == 2
    process(world, alone=True, on_event=told.append).run()
    assert [event.status for event in told if isinstance(event, Noticed)].count("paid_twice") == 1
    words = [event.message for event in told if isinstance(event, Warned)]
    assert [text for text in words if "paid for twice: 1 request of this dataset" in text]
    [row] = manifest(world)
    assert row["cost_usd"] == 2 * PRICE


# -- 5. one run settles an attempt while another holds an older view


def test_a_failure_that_two_runs_see_is_followed_by_one_purchase(world: World) -> None:
    assert dies_at(world, "after accepted").run() is None
    world.requests["R0"].end = "failed"
    summaries = both(process(world), process(world, starts=0.1))
    assert [s.images for s in summaries] == [1, 1]
    assert [r.end for r in world.requests.values()] == ["failed", "ok"]
    check(world)


def test_a_run_that_waits_for_evidence_sees_that_the_users_word_has_settled_it(world: World) -> None:
    lost(world, arrived=False)
    waits, buys = both(process(world, settle=200.0), process(world, settle=60.0, starts=3.0, again=frozenset({"held"})))
    assert (waits.images, buys.bought, len(world.requests)) == (1, 1, 1)
    check(world)


@pytest.mark.parametrize("pause", [0.0, 20.0, 50.0])
def test_the_users_word_given_to_two_runs_at_once_buys_once(world: World, pause: float) -> None:
    """The word is about what was shown as held, not about what the other run has just opened."""
    lost(world, arrived=False)
    again = frozenset({"held"})
    first, second = both(
        process(world, again=again, frozen=frozen(pause)), process(world, again=again, frozen=frozen(pause), starts=1.0)
    )
    assert (first.bought + second.bought, len(world.requests)) == (1, 1)
    assert live(world).images == 1
    check(world)


def test_a_refused_row_that_two_runs_are_told_to_buy_again_is_bought_once(world: World) -> None:
    world.faults = {"refused": 1.0}
    assert live(world).refused == 1
    again = frozenset({"refused"})
    both(process(world, again=again, frozen=frozen(5.0)), process(world, again=again, starts=0.5))
    assert len(world.requests) == 2


def test_two_runs_over_many_rows_buy_each_once() -> None:
    for seed, starts in itertools.product(range(5), (0.0, 0.3, 2.0)):
        world = World(seed, {"submit_lost": 0.1, "failed": 0.1, "read": 0.1}, [f"thing {n}" for n in range(8)])
        together(process(world), process(world, starts=starts))
        world.faults = {}
        world.now += 100.0
        live(world)
        assert sum(row["cost_usd"] or Decimal(0) for row in manifest(world)) == PRICE * len(world.billed())
        check(world)
        world.forget()
