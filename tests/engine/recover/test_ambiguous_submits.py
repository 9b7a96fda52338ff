"""A submit in doubt is held, looked for, and sent again only at the user's word, or by a bet that evidence allows."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from dagster_gptimg.base.row_status import RowStatus
from dagster_gptimg.engine.job import Options
from dagster_gptimg.engine.record.results import Unsettled
from dagster_gptimg.engine.recover.ambiguous_submits import AmbiguousSubmits
from dagster_gptimg.engine.submit.stop import Stop
from dagster_gptimg.errors import ReadError, StoreError
from tests.engine.scripted import CUP, EPOCH, Scene, line, request

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagster_gptimg.engine.record.results import Result
    from dagster_gptimg.engine.request_progress import RequestProgress

SETTLE = 60.0
OTHER = request("a mug")
HELD = Options(settle=SETTLE)
SAID = Options(settle=SETTLE, again=frozenset({"held"}))
BET = Options(settle=SETTLE, on_ambiguous="resubmit")


async def resolve(scene: Scene, progress: RequestProgress | None = None, stop: Stop | None = None) -> Result | None:
    """What becomes of `CUP`, of which only an intent is on record; `None`: a new fact decides."""
    progress = progress or scene.progress(CUP)
    view = progress.view()
    assert view.state == "held"
    return await AmbiguousSubmits(scene.job, scene.results, stop or Stop(scene.clock)).resolve(progress, view)


async def held(scene: Scene, progress: RequestProgress | None = None, stop: Stop | None = None) -> str:
    """What is said of `CUP`, which stays held: nothing is put on record, and nothing is sent."""
    before = scene.receipts(CUP)
    found = await resolve(scene, progress, stop)
    assert isinstance(found, Unsettled)
    assert found.status is RowStatus.HELD
    assert scene.receipts(CUP) == before
    assert scene.fal.count("POST") == 0
    return str(found.error)


def shows(scene: Scene, *wanted: tuple[str, Any]) -> None:
    """Let fal's history show requests, by their ids and what they are of."""
    lines = {request_id: line(request_id, one) for request_id, one in wanted}
    scene.fal.says["history"] = [list(lines.values())]
    scene.fal.says["lookup"] = [lambda *_: lines.get(scene.fal.calls[-1][1])]


# -- without a word of the user's


async def test_silence_is_no_proof_and_the_row_is_held(scene: Scene) -> None:
    intent = scene.intent(CUP)
    progress = scene.progress(CUP)
    words = await held(scene, progress)
    assert "does not show it; the policy is to hold" in words
    assert "--again held" in words
    assert intent.created_at.isoformat(timespec="seconds") in words
    assert scene.clock.seconds == SETTLE
    assert scene.fal.count("history") > 5


async def test_a_history_that_cannot_be_read_is_told_and_nothing_is_concluded(scene: Scene) -> None:
    scene.intent(CUP)
    scene.fal.says["history"] = [ReadError("the history is down")]
    words = await held(scene)
    assert "could not be searched for: fal's history cannot be read now (the history is down)" in words
    assert "--again" not in words


async def test_a_request_that_the_history_shows_later_is_adopted(scene: Scene) -> None:
    scene.intent(CUP)
    scene.clock.then.append(lambda: shows(scene, ("R7", CUP)) if scene.clock.seconds > 20 else None)
    progress = scene.progress(CUP)
    assert await resolve(scene, progress) is None
    assert progress.view().request_id == "R7"
    assert scene.receipts(CUP) == ["0.accepted.R7.history", "0.intent"]
    assert 20 < scene.clock.seconds < SETTLE


async def test_what_another_process_records_meanwhile_decides(scene: Scene) -> None:
    scene.intent(CUP)
    scene.clock.then.append(lambda: scene.accepted(CUP, "R1", how="webhook"))
    progress = scene.progress(CUP)
    assert await resolve(scene, progress) is None
    assert (progress.view().state, progress.view().request_id) == ("in_flight", "R1")


async def test_an_attempt_that_is_older_than_settle_is_looked_for_once(scene: Scene) -> None:
    scene.intent(CUP)
    scene.clock.seconds = 10_000.0
    await held(scene)
    assert (scene.fal.count("history"), scene.clock.slept) == (1, [])


async def test_a_run_that_stops_waits_no_longer(scene: Scene) -> None:
    scene.intent(CUP)
    stop = Stop(scene.clock)
    stop.because("interrupted", "interrupted")
    await held(scene, stop=stop)
    assert scene.clock.slept == []


async def test_an_intent_that_cannot_be_read_is_held_whatever_is_said(make_scene: Callable[..., Scene]) -> None:
    for options in (HELD, SAID, BET):
        scene = make_scene(options=options)
        scene.intent(CUP)
        (name,) = (name for name, _ in scene.dataset.receipts.names(CUP.key))
        scene.store.write(f"d/receipts/{CUP.key[:2]}/{name}", b"{")
        assert "Nothing is bought for it until this is repaired" in await held(scene)
        assert scene.clock.slept == []


# -- at the user's word


async def test_the_users_word_gives_it_up_only_after_it_was_looked_for_as_long_as_settle(
    make_scene: Callable[..., Scene],
) -> None:
    scene = make_scene(options=SAID)
    # made by a machine whose clock is hours behind: it may be about to send it
    scene.intent(CUP, created_at=EPOCH - timedelta(hours=5))
    progress = scene.progress(CUP)
    seen: list[list[str]] = []
    scene.clock.then.append(lambda: seen.append(scene.receipts(CUP)))
    assert await resolve(scene, progress) is None
    assert scene.clock.seconds == SETTLE
    assert seen[-1] == ["0.intent"]
    void = scene.dataset.receipts.load(CUP.key)[0].void
    assert void is not None
    assert (void.reason, void.word) == ("word", progress.word)
    assert (progress.view().state, progress.view().attempt) == ("open", 1)


async def test_what_is_found_is_not_given_up_although_it_was_said(make_scene: Callable[..., Scene]) -> None:
    scene = make_scene(options=SAID)
    scene.intent(CUP)
    shows(scene, ("R7", CUP))
    assert await resolve(scene) is None
    assert scene.receipts(CUP) == ["0.accepted.R7.history", "0.intent"]


@pytest.mark.parametrize(
    "about", [{"again_applies_to": 0}, {"buys": False}], ids=["opened since", "no row asks for it"]
)
async def test_the_word_speaks_of_what_stood_on_record_and_a_row_asks_for(
    make_scene: Callable[..., Scene], about: dict[str, Any]
) -> None:
    scene = make_scene(options=SAID)
    scene.intent(CUP)
    await held(scene, scene.progress(CUP, **about))


@pytest.mark.parametrize("options", [SAID, BET], ids=["word", "bet"])
async def test_a_run_that_buys_nothing_more_gives_nothing_up(
    make_scene: Callable[..., Scene], options: Options
) -> None:
    scene = make_scene(options=options)
    scene.intent(CUP)
    scene.results.record(scene.settled(OTHER, "R1"))
    shows(scene, ("R1", OTHER))
    stop = Stop(scene.clock)
    stop.because("budget", "the limit")
    await held(scene, stop=stop)


async def test_without_its_record_nothing_is_given_up(make_scene: Callable[..., Scene]) -> None:
    scene = make_scene(options=SAID)
    scene.intent(CUP)
    progress = scene.progress(CUP)
    scene.fails["create_void"] = 1
    with pytest.raises(StoreError):
        await resolve(scene, progress)
    assert progress.view().state == "held"


# -- by the policy that bets


async def test_the_bet_is_made_where_the_history_shows_what_is_known_and_nothing_like_it(
    make_scene: Callable[..., Scene],
) -> None:
    scene = make_scene(options=BET)
    scene.intent(CUP)
    scene.results.record(scene.settled(OTHER, "R1"))
    shows(scene, ("R1", OTHER))
    assert await resolve(scene) is None
    void = scene.dataset.receipts.load(CUP.key)[0].void
    assert void is not None
    assert void.reason == "settled"
    assert scene.clock.seconds == SETTLE


async def test_the_bet_is_not_made_without_evidence(make_scene: Callable[..., Scene]) -> None:
    scene = make_scene(options=BET)
    scene.intent(CUP)
    assert "the history shows 0 of 0 requests known to have ended" in await held(scene)


async def test_the_bet_is_not_made_where_it_could_not_be_looked_for(make_scene: Callable[..., Scene]) -> None:
    scene = make_scene(options=BET)
    scene.intent(CUP, clock_offset_s=None)
    scene.results.record(scene.settled(OTHER, "R1"))
    shows(scene, ("R1", OTHER))
    scene.fal.clock_offset = 3600.0
    assert "its error at that time is not known" in await held(scene)


# -- whatever else a key has


async def test_every_attempt_that_may_have_a_request_is_looked_for(scene: Scene) -> None:
    scene.intent(CUP)
    scene.intent(CUP, n=1)
    scene.accepted(CUP, "R2", n=1)
    shows(scene, ("R1", CUP), ("R2", CUP))
    progress = scene.progress(CUP)
    await AmbiguousSubmits(scene.job, scene.results, Stop(scene.clock)).search(progress)
    assert set(progress.attempts[0].accepted) == {"R1"}
    assert scene.receipts(CUP) == ["0.accepted.R1.history", "0.intent", "1.accepted.R2.reply", "1.intent"]
