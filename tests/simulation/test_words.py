"""The user's word, and waiting: what `again` speaks of, and by which clock `settle` is waited for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dagster_gptimg.engine.job import Options
from tests.simulation.test_doubts import live, manifest
from tests.simulation.test_races import both, dies_at, files, frozen, process
from tests.simulation.test_seeds import check
from tests.simulation.world import PRICE, Life, World, together

if TYPE_CHECKING:
    pass

HOUR = 3600.0


def life(world: World, skew: float = 0.0, starts: float = 0.0, **how: Any) -> Life:
    """A process on a machine whose clock is off by `skew` seconds."""
    return Life(world, options=Options(**{"settle": 60.0, **how}), skew=skew, starts=starts)


@pytest.mark.parametrize("skew", [HOUR, -HOUR], ids=["ahead", "behind"])
@pytest.mark.parametrize("how", [{"again": frozenset({"held"})}, {"on_ambiguous": "resubmit"}], ids=["word", "policy"])
def test_a_wrong_clock_does_not_shorten_what_is_waited_for(world: World, skew: float, how: dict[str, Any]) -> None:
    """Another run sends at that very moment: its reply takes 20 s, and 60 are waited for."""
    slow = process(world, frozen=frozen(20.0))
    first, second = both(slow, life(world, skew, 2.0, settle=30.0, **how))
    assert (first.bought + second.bought, len(world.requests)) == (1, 1)
    check(world)


@pytest.mark.parametrize("skew", [7 * 60.0, -HOUR, 5 * HOUR])
def test_a_lost_reply_is_found_in_the_history_although_the_clock_is_off(world: World, skew: float) -> None:
    world.faults = {"submit_lost": 1.0}
    [end] = together(life(world, skew))
    assert end is not None
    assert (end.summary.images, end.summary.held, len(world.requests)) == (1, 0, 1)
    check(world)


def test_a_held_row_is_not_advised_to_be_bought_again_when_it_could_not_be_looked_for(world: World) -> None:
    world.faults = {"submit_lost": 1.0, "history": 1.0}
    assert live(world).held == 1
    [row] = manifest(world)
    assert "could not be searched for: fal's history cannot be read now" in row["error"]
    assert "--again" not in row["error"]


def test_three_runs_that_are_told_at_once_to_buy_refused_rows_again_buy_each_once() -> None:
    world = World(2, {"refused": 1.0}, [f"thing {n}" for n in range(12)])
    assert live(world).refused == 12
    again = frozenset({"refused"})
    together(*(process(world, again=again, starts=start) for start in (0.0, 1.0, 9.0)))
    assert len(world.requests) == 24
    live(world, again=again)
    assert len(world.requests) == 36, "the word was given once more"
    world.forget()


def test_a_word_that_is_repeated_is_the_same_word(world: World) -> None:
    world.faults = {"refused": 1.0}
    assert live(world).refused == 1
    for _ in range(3):
        assert live(world, again=frozenset({"refused"}), word="a run and its retries").refused == 1
    assert len(world.requests) == 2


def test_the_word_of_a_run_that_was_killed_is_followed_and_not_given_twice(world: World) -> None:
    world.faults = {"refused": 1.0}
    assert live(world).refused == 1
    assert dies_at(world, "after accepted", again=frozenset({"refused"})).run() is None
    assert live(world, again=frozenset({"refused"})).refused == 1
    assert len(world.requests) == 2


def test_a_request_that_fal_does_not_give_is_bought_again_at_the_users_word_and_counts_when_it_turns_up(
    world: World,
) -> None:
    assert dies_at(world, "after accepted").run() is None
    world.requests["R0"].end = "vanished"
    assert live(world).lost == 1
    assert "--again lost" in manifest(world)[0]["error"]
    again = frozenset({"lost"})
    bought = live(world, again=again)
    assert (bought.bought, bought.images, len(world.requests)) == (1, 1, 2)
    assert live(world, again=again).reused == 1
    world.requests["R0"].end = "ok"
    assert live(world).images == 1
    [row] = manifest(world)
    assert row["cost_usd"] == 2 * PRICE, "both were paid for, and both are in the store"
    assert len(files(world, "images")) == 2


@pytest.mark.parametrize("again", ["lost", "r0"], ids=["word", "row"])
def test_a_request_that_ended_without_images_is_settled_and_bought_again_at_the_users_word(
    world: World, again: str
) -> None:
    assert dies_at(world, "after accepted").run() is None
    world.requests["R0"].end = "empty"
    assert live(world).lost == 1
    assert manifest(world)[0]["error_type"] == "ended_without_images"
    before = world.now
    assert live(world).lost == 1
    assert world.now - before < 1.0, "nothing is looked for any more"
    bought = live(world, again=frozenset({again}))
    assert (bought.bought, len(world.requests)) == (1, 2)
