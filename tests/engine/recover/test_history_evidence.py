"""Evidence for submits in doubt: narrow to adopt a request, wide to deny one, and never from silence or errors."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from dagster_gptimg.engine.recover.history_evidence import Evidence
from dagster_gptimg.engine.recover.history_search import AFTER, BEFORE
from dagster_gptimg.errors import ReadError
from dagster_gptimg.fal.types import HistoryItem, HistoryPage
from tests.engine.scripted import CUP, EPOCH, Scene, at, line, request

if TYPE_CHECKING:
    from dagster_gptimg.engine.plan.plan import Request
    from dagster_gptimg.engine.recover.history_evidence import Search

COPY = request(copy=1)
"""The same request once more, as a table has it that wants two images of a prompt."""

OTHER = request("a mug")


def shows(scene: Scene, *lines: HistoryItem) -> None:
    """Let fal's history have these lines, in its lists and by their ids."""
    by_id = {item.request_id: item for item in lines}
    scene.fal.says["history"] = [lines]
    scene.fal.says["lookup"] = [lambda *_: by_id.get(scene.fal.calls[-1][1])]


async def adopt(scene: Scene, wanted: Request = CUP, evidence: Evidence | None = None) -> Search:
    (attempt,) = scene.dataset.receipts.load(wanted.key)
    return await (evidence or Evidence(scene.job, scene.results)).adopt(wanted, 0, attempt)


async def test_a_request_with_the_very_arguments_near_its_intent_is_adopted_and_put_on_record(scene: Scene) -> None:
    scene.intent(CUP)
    # fal fills its defaults in, and shows inputs in an order of its own
    shown = {"background": "auto", **dict(reversed(CUP.arguments.items()))}
    shows(scene, line("R7", CUP, sent=2.0, json_input=shown))
    assert (await adopt(scene)).is_adopted
    assert scene.receipts(CUP) == ["0.accepted.R7.history", "0.intent"]
    how, accepted = scene.dataset.receipts.load(CUP.key)[0].accepted["R7"]
    assert accepted is not None
    assert (how, accepted.accepted_at) == ("history", at(2))


@pytest.mark.parametrize(
    "shown",
    [
        line("R7", OTHER),
        line("R7", CUP, json_input={**CUP.arguments, "quality": "high"}),
        line("R7", CUP, json_input={**CUP.arguments, "num_images": 2}),
        line("R7", CUP, json_input=None),
        line("R7", CUP, sent=-BEFORE.total_seconds() - 1),
        line("R7", CUP, sent=AFTER.total_seconds() + 1),
    ],
    ids=["another prompt", "another quality", "another count", "no input", "too early", "too late"],
)
async def test_what_is_not_surely_it_is_not_adopted(scene: Scene, shown: HistoryItem) -> None:
    scene.intent(CUP)
    shows(scene, shown)
    found = await adopt(scene)
    assert (found.is_adopted, found.missed) == (False, "")
    assert found.searched.startswith(f"fal's history of {CUP.endpoint} from 2026-11-23 23:55 to 2026-11-24 01:00 UTC")
    assert scene.receipts(CUP) == ["0.intent"]


async def test_a_window_is_that_of_fals_clock_by_which_the_intent_was_off(scene: Scene) -> None:
    hours = timedelta(hours=5)
    scene.intent(CUP, created_at=EPOCH - hours, clock_offset_s=hours.total_seconds())
    shows(scene, line("R7", CUP, sent=1.0))
    assert (await adopt(scene)).is_adopted


async def test_a_history_that_cannot_be_read_says_nothing(scene: Scene) -> None:
    scene.intent(CUP)
    scene.fal.says["history"] = [ReadError("the history is down")]
    found = await adopt(scene)
    assert (found.is_adopted, found.searched) == (False, "")
    assert "cannot be read now (the history is down)" in found.missed


@pytest.mark.parametrize("says", [None, ReadError("503"), line("R8", CUP)])
async def test_a_request_that_a_list_shows_and_its_id_does_not_is_not_adopted(scene: Scene, says: Any) -> None:
    scene.intent(CUP)
    scene.fal.says |= {"history": [[line("R7", CUP)]], "lookup": [says]}
    found = await adopt(scene)
    assert not found.is_adopted
    assert "R7 in a list, but not by its id" in found.missed
    assert scene.receipts(CUP) == ["0.intent"]


@pytest.mark.parametrize("how", ["reply", "webhook", "history"])
async def test_an_id_of_an_equal_request_is_not_adopted_however_it_was_found(scene: Scene, how: str) -> None:
    scene.intent(COPY)
    scene.accepted(COPY, "R7", how=how)
    scene.intent(CUP)
    shows(scene, line("R7", CUP))
    assert not (await adopt(scene)).is_adopted
    shows(scene, line("R7", CUP), line("R8", CUP))
    scene.clock.seconds += 60
    assert (await adopt(scene)).is_adopted
    assert scene.receipts(CUP) == ["0.accepted.R8.history", "0.intent"]


async def test_an_id_that_only_an_outcome_tells_is_not_adopted(scene: Scene) -> None:
    scene.intent(COPY)
    scene.outcome(COPY, "R7")
    scene.intent(CUP)
    shows(scene, line("R7", CUP))
    assert not (await adopt(scene)).is_adopted


async def test_equal_requests_need_an_id_each(scene: Scene) -> None:
    scene.intent(CUP)
    scene.intent(COPY)
    shows(scene, line("R7", CUP))
    evidence = Evidence(scene.job, scene.results)
    found = [(await adopt(scene, wanted, evidence)).is_adopted for wanted in (CUP, COPY)]
    assert found == [True, False]
    assert scene.receipts(COPY) == ["0.intent"]


async def test_what_another_key_sent_is_not_looked_for_with_this_one(scene: Scene) -> None:
    scene.intent(CUP, account="another key")
    shows(scene, line("R7", CUP))
    found = await adopt(scene)
    assert not found.is_adopted
    assert "it was sent with another key" in found.missed
    assert scene.fal.calls == []


async def test_an_intent_of_which_no_offset_is_known_is_told_where_this_clock_is_wrong(scene: Scene) -> None:
    scene.intent(CUP, clock_offset_s=None)
    scene.fal.clock_offset = 3600.0
    assert "3600 s behind fal's" in (await adopt(scene)).missed


async def test_one_reading_of_the_history_serves_all_that_is_in_doubt(scene: Scene) -> None:
    intents = [scene.intent(CUP), scene.intent(OTHER)]
    evidence = Evidence(scene.job, scene.results)
    evidence.expect(intents)
    shows(scene, line("R7", CUP), line("R8", OTHER))
    assert [(await adopt(scene, wanted, evidence)).is_adopted for wanted in (CUP, OTHER)] == [True, True]
    assert scene.fal.count("history") == 1


# -- what speaks against sending it again


async def against(scene: Scene, *lines: HistoryItem, **about: Any) -> str:
    """What speaks against sending `CUP` again, where fal's history has these lines."""
    intent = scene.intent(CUP, **about)
    shows(scene, *lines)
    return await Evidence(scene.job, scene.results).against_resubmit(intent)


@pytest.fixture
def known(scene: Scene) -> HistoryItem:
    """A request that this run has seen ended around then, and its line in the history."""
    scene.results.record(scene.settled(OTHER, "R1"))
    return line("R1", OTHER)


async def test_nothing_speaks_against_it_where_the_history_shows_what_is_known_and_nothing_like_it(
    scene: Scene, known: HistoryItem
) -> None:
    assert await against(scene, known, line("R2", request("a vase"))) == ""


async def test_a_history_that_shows_nothing_of_what_is_known_denies_nothing(scene: Scene) -> None:
    assert "shows 0 of 0 requests known to have ended" in await against(scene)


async def test_a_history_that_lacks_a_known_request_denies_nothing(scene: Scene, known: HistoryItem) -> None:
    scene.results.record(scene.settled(request("a vase"), "R2"))
    assert "shows 1 of 2 requests" in await against(scene, known)


@pytest.mark.parametrize("about", [{}, {"json_input": None}, {"json_input": {**CUP.arguments, "quality": "high"}}])
async def test_a_line_with_the_prompt_or_without_any_may_be_it(
    scene: Scene, known: HistoryItem, about: dict[str, Any]
) -> None:
    assert await against(scene, known, line("R7", CUP, **about)) == "request R7 in the history may be this one"


@pytest.mark.parametrize(("how", "may_be_it"), [("reply", False), ("webhook", False), ("history", True)])
async def test_a_request_with_the_prompt_is_another_ones_only_where_fal_itself_said_so(
    scene: Scene, known: HistoryItem, how: str, *, may_be_it: bool
) -> None:
    scene.intent(COPY)
    scene.accepted(COPY, "R7", how=how)
    assert bool(await against(scene, known, line("R7", CUP))) == may_be_it


async def test_a_history_that_is_not_whole_or_cannot_be_read_denies_nothing(scene: Scene, known: HistoryItem) -> None:
    intent = scene.intent(CUP)
    for says in (HistoryPage((known,), is_whole=False, cursor=None), ReadError("down")):
        scene.fal.says["history"] = [says]
        assert "cannot be read" in await Evidence(scene.job, scene.results).against_resubmit(intent)


async def test_another_keys_history_denies_nothing(scene: Scene, known: HistoryItem) -> None:
    assert "another key" in await against(scene, known, account="another key")
