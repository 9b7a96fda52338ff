"""A blip in the middle of 30 requests costs neither an image nor a cent: by the bill, on a clock that costs nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dagster_gptimg.engine.job import Options
from tests.bender import judge
from tests.bender.blips import KINDS, OF_SUBMITS, PLACES, ROWS, SECONDS
from tests.bender.cells import Cell
from tests.bender.histories import live
from tests.bender.hooks import HOST, Hooks
from tests.bender.process import Process
from tests.bender.weather import Rule
from tests.bender.world import Row, World

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BEGINS = 4.0
"""The run's second at which a blip begins: the first requests have ended, the others run or wait."""

SLOTS = 10

OF_SUBMITS_ALONE = frozenset({
    "401", "429 without a type", "500 page", "no connection", "a broken connection", "half an answer",
})  # fmt: skip
"""What submits alone are told in the quick tests: three errors, and what only submits are told."""

LOST = frozenset({"thing 3", "thing 12", "thing 21"})
MOST_HELD = 5
LONGEST = max(SECONDS)


def blown(kinds: list[Cell], seconds: float, *, watch: str = "poll", loses: bool = False) -> tuple[World, Process]:
    """A run with a blip; 10 slots, so that a third of the rows has ended, a third runs and a third waits."""
    world = World(1, [Row(f"thing {n}") for n in range(ROWS)], slots=SLOTS)
    if watch == "webhook":
        Hooks(world)
    if loses:
        world.weather.rules += [Rule(Cell("submit", "answer", "", "broken before the head"), LOST, times=len(LOST))]
    world.weather.rules += [Rule(cell, since=BEGINS, until=BEGINS + seconds) for cell in kinds]
    # No more in flight than the account has slots: or all were sent before the blip began, and none was bent.
    options = Options(settle=60.0, patience=900.0, watch=watch, webhook_url=HOST, max_in_flight=SLOTS)  # type: ignore[arg-type]
    life = Process(world, "run", options)
    live(life)
    assert not world.weather.struck.keys().isdisjoint(kinds), "nothing was bent, and nothing was tested"
    return world, life


def check_all_are_there(world: World, life: Process, seconds: float, *, again: bool = True) -> None:
    """30 paid, 30 stored: in this run; after the longest blips, perhaps in the next."""
    if again and seconds == LONGEST and life.end is not None and life.end.summary.stored < ROWS:
        world.now = max(world.now, BEGINS + seconds) + 60.0
        life = Process(world, "next", life.options)
        live(life)
    assert life.end is not None, life.refused
    told = f"{life.end.summary}\n{world.weather.story(80)}"
    assert len(world.fal.requests) == ROWS, told
    assert life.end.summary.stored == ROWS, told
    judge.check_collected(world)
    judge.check_cost(world)


def halves(kinds: Iterable[str]) -> Iterator[Any]:
    """Each kind with one way of watching in the quick tests, and with the other in the long ones."""
    for number, kind in enumerate(kinds):
        for watch, name in enumerate(("all reads", "all reads of a streaming run")):
            yield pytest.param(kind, name, marks=pytest.mark.long if (number + watch) % 2 else ())


@pytest.mark.parametrize(("kind", "where"), [*halves(KINDS)])
def test_whatever_all_reads_say_for_half_a_minute_all_images_are_there_in_one_run(kind: str, where: str) -> None:
    place = PLACES[where]
    cells = [KINDS[kind].at(endpoint) for endpoint in place.endpoints]
    world, life = blown(cells, 30.0, watch=place.watch)
    check_all_are_there(world, life, 30.0)
    world.forget()


@pytest.mark.simulation
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", PLACES)
def test_no_blip_of_reads_costs_an_image_or_a_cent(where: str, kind: str) -> None:
    place = PLACES[where]
    cells = [KINDS[kind].at(endpoint) for endpoint in place.endpoints]
    for seconds in SECONDS:
        world, life = blown(cells, seconds, watch=place.watch, loses=place.loses)
        check_all_are_there(world, life, seconds)
        world.forget()


NAMES = tuple(KINDS)


@pytest.mark.parametrize("watch", ["poll", "stream"])
def test_a_gateways_404_of_statuses_and_a_models_500_of_results_are_no_ends(watch: str) -> None:
    cells = [KINDS["404 of a gateway"].at(endpoint) for endpoint in ("status", "status stream")]
    world, life = blown([*cells, KINDS["500 with a type"].at("result")], 3.0, watch=watch)
    check_all_are_there(world, life, 3.0)
    world.forget()


@pytest.mark.simulation
@pytest.mark.parametrize("apart", [3, 5, 7, 11])
@pytest.mark.parametrize("kind", NAMES)
def test_no_blip_that_says_of_results_what_it_does_not_say_of_statuses_costs_anything(kind: str, apart: int) -> None:
    other = NAMES[(NAMES.index(kind) + apart) % len(NAMES)]
    cells = [KINDS[kind].at(endpoint) for endpoint in ("status", "status stream", "history", "lookup")]
    cells += [KINDS[other].at(endpoint) for endpoint in ("result", "file download")]
    world, life = blown(cells, 30.0, watch="stream" if apart == 11 else "poll")
    check_all_are_there(world, life, 30.0)
    world.forget()


def check_few_are_held(world: World, life: Process) -> None:
    """Each row is stored or held, few are held, and nothing is bought twice."""
    assert life.end is not None, life.refused
    summary = life.end.summary
    told = f"{summary}\n{world.weather.story(80)}"
    assert summary.stop is None, told
    assert summary.stored + summary.held == ROWS, told
    assert summary.held <= MOST_HELD, told
    judge.check_collected(world)


def check_submits(kind: str, seconds: float) -> None:
    """No row is bought twice; each row is stored or held; few are held; the rest is bought in the same run."""
    world, life = blown([OF_SUBMITS[kind].at("submit")], seconds)
    check_few_are_held(world, life)
    world.forget()


@pytest.mark.parametrize(
    "kind",
    # One of each mechanism of submits; what the others say is told to submits by a blip of everything at once.
    [pytest.param(kind, marks=() if kind in OF_SUBMITS_ALONE else pytest.mark.long) for kind in OF_SUBMITS],
)
def test_whatever_submits_are_told_for_half_a_minute_the_rest_is_bought_in_the_same_run(kind: str) -> None:
    check_submits(kind, 30.0)


@pytest.mark.simulation
@pytest.mark.parametrize("kind", OF_SUBMITS)
@pytest.mark.parametrize("seconds", SECONDS)
def test_no_blip_of_submits_buys_twice_or_holds_many(seconds: float, kind: str) -> None:
    check_submits(kind, seconds)


@pytest.mark.parametrize("kind", KINDS)
def test_a_blip_of_everything_at_once_costs_nothing(kind: str) -> None:
    """The blip is of submits, prices and the list of models, too."""
    endpoints = (*PLACES["all reads"].endpoints, "submit", "models", "pricing")
    world, life = blown([KINDS[kind].at(endpoint) for endpoint in endpoints], 30.0)
    check_few_are_held(world, life)
    judge.check_cost(world)
