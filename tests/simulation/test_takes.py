"""Another take: what one word buys, however often it is given, and wherever the process that has it dies."""

from __future__ import annotations

from collections import Counter
from itertools import cycle
from typing import Any

import pytest

from dagster_gptimg.engine.maintain.all_takes import with_all_takes
from dagster_gptimg.engine.maintain.review import review_rows
from dagster_gptimg.store.dataset import Dataset
from dagster_gptimg.store.manifest import read_manifest
from dagster_gptimg.store.takes import Takes
from tests.simulation.test_doubts import live, manifest
from tests.simulation.test_races import both, dies_at, frozen, process
from tests.simulation.world import PRICE, World, together
from tests.support import POINTS

REJECTED: dict[str, Any] = {"again": frozenset({"rejected"})}
WORDS = [REJECTED, {"regenerate": frozenset({"r0"})}]


def made(rows: int = 1, each: int = 1, seed: int = 1, **faults: float) -> World:
    """A world whose rows have their images."""
    world = World(seed, {}, [f"thing {n}" for n in range(rows)], each=each)
    assert live(world).stored == rows
    world.faults = faults
    return world


def judge(world: World, verdict: Any, *rows: str) -> None:
    review_rows(Dataset(world.store, "d"), rows, verdict, None, "ann")


def takes(world: World) -> dict[str, int]:
    return {row["row_id"]: row["take"] for row in manifest(world)}


def check(world: World) -> None:
    """The bill against the table of all takes: each request that was paid for stands there, with its images, once."""
    dataset = Dataset(world.store, "d")
    every = with_all_takes(dataset, read_manifest(dataset, None)).to_pylist()
    images = Counter(row["request_id"] for row in every if row["status"] == "stored")
    assert images == {request.id: request.images for request in world.billed()}
    prompts = {request.id: request.prompt for request in world.billed()}
    assert all(row["prompt"] == prompts[row["request_id"]] for row in every if row["status"] == "stored")


@pytest.mark.parametrize("word", WORDS, ids=["rejected", "regenerate"])
@pytest.mark.parametrize("starts", [0.0, 1.0])
def test_two_runs_with_the_word_at_once_buy_one_take(word: dict[str, Any], starts: float) -> None:
    world = made()
    judge(world, "rejected", "r0")
    both(process(world, **word), process(world, starts=starts, frozen=frozen(20.0), **word))
    assert (len(world.requests), takes(world)) == (2, {"r0": 1})
    live(world, **REJECTED)
    live(world)
    assert len(world.requests) == 2
    check(world)


@pytest.mark.parametrize("word", WORDS, ids=["rejected", "regenerate"])
@pytest.mark.parametrize("point", ["after take", *POINTS])
def test_a_run_that_dies_anywhere_and_its_repetition_buy_one_take(word: dict[str, Any], point: str) -> None:
    world = made()
    judge(world, "rejected", "r0")
    assert dies_at(world, point, **word).run() is None
    if live(world, **word).held:  # died between the intent and the POST: only the user's word settles that
        live(world, again=frozenset({"held"}))
    live(world, **REJECTED)
    assert (len(world.requests), takes(world)) == (2, {"r0": 1})
    check(world)


@pytest.mark.parametrize("deaths", range(1, 4))
def test_all_requests_of_a_row_move_together(deaths: int) -> None:
    """Six images are requests of 4 and 2; the process dies after so many of the two facts, and another row has none."""
    world = made(rows=2, each=6)
    judge(world, "rejected", *(f"r0:{index}" for index in range(5)))
    assert live(world, **REJECTED).bought == 0, "one of its images is left"
    judge(world, "rejected", "r0:5")
    points = cycle([False] * (deaths - 1) + [True])

    def reached(here: str) -> None:
        if here == "after take" and next(points):
            life.die()

    life = process(world, reached=reached, **REJECTED)
    life.run()
    if deaths == 1:
        live(world)
        assert takes(world) == {"r0": 0, "r1": 0}, "half of a take is none"
    live(world, **REJECTED)
    assert (len(world.requests), takes(world)) == (6, {"r0": 1, "r1": 0})
    assert {len(some) for some in Takes(Dataset(world.store, "d")).read().values()} == {1}
    check(world)


@pytest.mark.parametrize("word", WORDS, ids=["rejected", "regenerate"])
def test_a_take_of_which_a_request_has_not_ended_is_not_answered_by_another_one(word: dict[str, Any]) -> None:
    world = World(1, {}, ["thing"], each=6)
    assert live(world, max_cost=4 * PRICE).not_submitted == 1
    judge(world, "rejected", "r0")
    assert live(world, **word).bought == 2
    assert (len(world.requests), takes(world)) == (2, {"r0": 0}), "the first take is bought whole first"


def test_the_same_word_opens_one_take_also_when_its_images_are_rejected_meanwhile() -> None:
    world = made()
    judge(world, "rejected", "r0")
    for _ in range(2):
        live(world, **REJECTED, word="a run and its retries")
        judge(world, "rejected", "r0")
    assert len(world.requests) == 2
    live(world, **REJECTED, word="another one")
    assert (len(world.requests), takes(world)) == (3, {"r0": 2})


def test_a_take_without_images_is_not_answered_by_another_one() -> None:
    world = made(refused=1.0)
    judge(world, "rejected", "r0")
    for _ in range(3):
        assert live(world, **REJECTED).refused == 1
    assert len(world.requests) == 2
    world.faults = {}
    assert live(world, again=frozenset({"refused"})).stored == 1
    assert (len(world.requests), takes(world)) == (3, {"r0": 1})


def test_a_take_that_is_in_flight_is_followed_and_not_answered_by_another_one() -> None:
    world = made()
    judge(world, "rejected", "r0")
    assert dies_at(world, "after accepted", **REJECTED).run() is None
    for word in WORDS:
        assert live(world, **word).stored == 1
    assert len(world.requests) == 2, "the run that died has no end mark, so its word is not told from the second one"
    world.now += 2 * 86400.0
    live(world)  # writes that end mark
    assert live(world, **WORDS[1]).bought == 1
    check(world)


def test_earlier_takes_stay_and_can_be_approved_after_all() -> None:
    world = made(rows=2)
    judge(world, "rejected", "r0")
    live(world, **REJECTED)
    dataset = Dataset(world.store, "d")
    every = with_all_takes(dataset, read_manifest(dataset, None)).to_pylist()
    shown = [(row["row_id"], row["take"], row["status"], row["verdict"]) for row in every]
    assert shown == [("r0", 1, "stored", None), ("r1", 0, "stored", None), ("r0", 0, "stored", "rejected")]
    assert len({row["uri"] for row in every}) == 3
    given = [(row["row_id"], row["image_index"], "approved", None, row["sha256"], 1) for row in every[2:]]
    from dagster_gptimg.engine.maintain.review import Given, review

    assert review(dataset, [Given(*one) for one in given], "ann").recorded == 1  # type: ignore[arg-type]
    live(world)
    assert (takes(world), manifest(world)[0]["verdict"], len(world.requests)) == ({"r0": 0, "r1": 0}, "approved", 3)
    judge(world, "cleared", "r0")
    live(world)
    assert takes(world) == {"r0": 1, "r1": 0}


@pytest.mark.parametrize("seed", range(8))
def test_whatever_happens_each_rejected_row_gets_one_take(seed: int) -> None:
    """Deaths, lost replies, failures and two processes at once; the bill is the judge."""
    rows = 6
    world = made(rows, seed=seed, failed=0.2, not_sent=0.2, submit_lost=0.1, status=0.1)
    judge(world, "rejected", "r1", "r3", "r4")
    draw = world.random
    for _ in range(4):
        together(*(process(world, starts=draw.uniform(0, 3), **REJECTED) for _ in range(2)))
        life = process(world, **REJECTED)
        life.kill_after = draw.randrange(10, 200)
        life.run()
    world.faults = {}
    world.now = world.when_all_has_ended() + 10_000
    live(world, **REJECTED)
    assert takes(world) == {f"r{n}": int(n in {1, 3, 4}) for n in range(rows)}
    assert len(world.billed()) == rows + 3
    check(world)
