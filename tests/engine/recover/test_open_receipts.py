"""What earlier runs have left open is found, whatever is lost; and the user's word speaks of what stood on record."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from dagster_gptimg.engine.job import Options
from dagster_gptimg.engine.recover.open_receipts import LOOKED_FOR, OpenReceipts
from dagster_gptimg.store.receipts.facts import GivenUp, Word
from tests.engine.scripted import CUP, EPOCH, RUN, Scene, plan, request

if TYPE_CHECKING:
    from collections.abc import Callable


MUG, VASE = request("a mug"), request("a vase")
WORD = Word(id="the word", run=RUN)
EARLIER_RUN = "20261123T000000-earlier0"


def begun(scene: Scene, run: str = EARLIER_RUN, *, ended: bool = False) -> None:
    """Put the marks of a run on record."""
    scene.dataset.start_run(run)
    if ended:
        scene.dataset.end_runs([run])


async def read(scene: Scene) -> OpenReceipts:
    return await OpenReceipts.read(scene.job, scene.results)


# -- what is open


async def test_where_every_run_has_ended_and_the_index_is_whole_no_receipt_is_listed(scene: Scene) -> None:
    scene.results.record(scene.settled(CUP, "R1"))
    await scene.results.checkpoint()
    begun(scene, ended=True)
    scene.intent(MUG)
    found = await read(scene)
    assert found.facts == {}
    assert (found.is_to_buy(CUP.key, CUP.row_id), found.has_images(CUP.key)) == (False, True)


async def test_what_an_open_run_has_left_is_found_in_each_of_its_states(scene: Scene) -> None:
    begun(scene)
    scene.intent(CUP)
    scene.intent(MUG)
    scene.accepted(MUG, "R1")
    scene.intent(VASE)
    scene.accepted(VASE, "R2")
    scene.outcome(VASE, "R2")
    found = await read(scene)
    assert found.runs == [EARLIER_RUN]
    assert [found.is_open(one.key) for one in (CUP, MUG, VASE)] == [True, True, False]
    assert [found.is_to_buy(one.key, one.row_id) for one in (CUP, MUG, VASE)] == [False, False, False]
    assert [intent.row_id for intent in found.in_doubt()] == [CUP.row_id]
    assert set(found.request_ids()) == {"R1", "R2"}
    assert not found.has_nothing_open()


async def test_what_an_open_run_has_left_is_found_beside_a_whole_index(scene: Scene) -> None:
    scene.results.record(scene.settled(CUP, "R1"))
    await scene.results.checkpoint()
    begun(scene)
    scene.intent(MUG)
    found = await read(scene)
    assert [found.is_open(one.key) for one in (CUP, MUG)] == [False, True]
    assert not found.is_to_buy(MUG.key, MUG.row_id)


@pytest.mark.parametrize("lost", ["the index", "an end mark"])
async def test_what_was_bought_is_found_where_index_or_marks_are_lost(scene: Scene, lost: str) -> None:
    scene.intent(CUP)
    scene.accepted(CUP, "R1")
    scene.outcome(CUP, "R1")
    begun(scene, ended=lost == "the index")
    found = await read(scene)
    assert not found.is_to_buy(CUP.key, CUP.row_id)
    assert found.has_images(CUP.key)


async def test_a_receipt_that_cannot_be_read_keeps_its_row_from_being_bought(scene: Scene) -> None:
    begun(scene)
    scene.intent(CUP)
    (name,) = (name for name, _ in scene.dataset.receipts.names(CUP.key))
    scene.store.write(f"d/receipts/{CUP.key[:2]}/{name}", b"")
    found = await read(scene)
    assert found.is_open(CUP.key)
    assert not found.is_to_buy(CUP.key, CUP.row_id)


async def test_what_nothing_stands_on_record_of_is_to_buy(scene: Scene) -> None:
    begun(scene)
    found = await read(scene)
    assert found.is_to_buy(CUP.key, CUP.row_id)
    assert await found.attempts(CUP) == []
    assert found.has_nothing_open()


@pytest.mark.parametrize(("again", "is_to_buy"), [((), False), (("refused",), True), ((CUP.row_id,), True)])
async def test_a_refused_request_is_bought_again_at_the_users_word_only(
    make_scene: Callable[..., Scene], again: tuple[str, ...], *, is_to_buy: bool
) -> None:
    scene = make_scene(options=Options(again=frozenset(again)))
    begun(scene)
    scene.intent(CUP)
    scene.accepted(CUP, "R1")
    scene.outcome(CUP, "R1", "refused")
    assert (await read(scene)).is_to_buy(CUP.key, CUP.row_id) == is_to_buy


async def test_an_id_that_two_keys_have_is_the_ones_that_has_it_by_a_reply(scene: Scene) -> None:
    begun(scene)
    for one, how in ((CUP, "history"), (MUG, "reply")):
        scene.intent(one)
        scene.accepted(one, "R1", how=how)
    found = await read(scene)
    assert [found.owns(one.key)(0, "R1") for one in (CUP, MUG)] == [False, True]
    assert [intent.row_id for intent in found.in_doubt()] == [CUP.row_id]


async def test_a_row_that_was_paid_for_twice_is_told(scene: Scene) -> None:
    begun(scene)
    scene.intent(CUP)
    for request_id in ("R1", "R2"):
        scene.accepted(CUP, request_id)
        scene.outcome(CUP, request_id)
    assert (await read(scene)).paid_twice == [(CUP.row_id, ["R1", "R2"])]


async def test_a_second_purchase_in_a_store_without_exclusive_create_is_counted_once(scene: Scene) -> None:
    for number, one in enumerate((CUP, MUG, VASE)):
        scene.intent(one)
        scene.accepted(one, f"R{number}")
        scene.outcome(one, f"R{number}")
    scene.accepted(MUG, "R4")
    scene.accepted(CUP, "R5")
    scene.outcome(CUP, "R5")
    found = await read(scene)
    assert found.paid_twice == []  # no run is open, so that nothing was listed
    doubles = found.doubles()
    assert doubles.rows == [(CUP.row_id, ["R0", "R5"])]
    assert (doubles.open, len(doubles.costs)) == (1, 1)
    assert "not ended yet: 1 request" in str(doubles)
    assert found.doubles().rows == []


@pytest.mark.parametrize(("ago", "is_looked_for"), [(timedelta(0), True), (LOOKED_FOR + timedelta(1), False)])
async def test_a_request_that_was_given_up_is_looked_for_as_long_as_fal_looks_back(
    scene: Scene, ago: timedelta, *, is_looked_for: bool
) -> None:
    begun(scene)
    scene.intent(CUP)
    scene.accepted(CUP, "R1")
    fact = GivenUp(request_id="R1", word=WORD, recorded_at=EPOCH - ago)
    scene.dataset.receipts.create_given_up(CUP.key, 0, fact)
    assert (await read(scene)).is_open(CUP.key) == is_looked_for


# -- in which order


async def test_what_is_open_comes_before_anything_is_bought_and_what_no_row_asks_for_is_never_bought(
    scene: Scene,
) -> None:
    begun(scene)
    scene.intent(CUP)
    scene.intent(VASE)
    found = await read(scene)
    with plan(MUG, VASE) as planned:
        first = [(one.key, buys) for one, buys in found.first(planned)]
        assert first == [(VASE.key, True), (CUP.key, False)]
        assert [keys for _, keys in found.to_buy(planned)] == [{MUG.key}]


async def test_what_another_partition_has_left_is_its_own(scene: Scene) -> None:
    begun(scene)
    scene.intent(CUP, partition="north")
    found = await read(scene)
    with plan(MUG) as planned:
        assert list(found.first(planned)) == []


# -- of what the user's word speaks


@pytest.mark.parametrize(
    ("opened_by", "applies_to"),
    [
        (None, 2),
        (Word(id="another", run="an ended run"), 2),
        (WORD, 1),
        (Word(id="another", run=EARLIER_RUN), 1),
    ],
    ids=["no word", "an earlier word", "the same word", "a run at the same time"],
)
async def test_a_word_speaks_of_what_stood_on_record_and_buys_once(
    scene: Scene, opened_by: Any, applies_to: int
) -> None:
    begun(scene)
    scene.intent(CUP)
    scene.intent(CUP, n=1, word=opened_by)
    found = await read(scene)
    attempts = found.facts[CUP.key]
    assert found.again_applies_to(CUP.key, attempts, WORD) == applies_to
    scene.intent(CUP, n=2)
    assert found.again_applies_to(CUP.key, scene.dataset.receipts.load(CUP.key), WORD) == applies_to
