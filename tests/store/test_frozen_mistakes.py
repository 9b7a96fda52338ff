"""What an earlier release put on record wrongly is put right: looked up again by its id, and collected, for no money.

The stories are among the frozen stores (`wrong`): an outcome `free` or `refused` that came from one blip of a gateway,
and units that no derived file could hold. The images were made and billed all the time, and fal still has them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.frozen_stores import STORES, copied, stories

if TYPE_CHECKING:
    from pathlib import Path

    from tests.frozen_stores import Story

RELEASE = "211b316"
WRONG = [story for story in stories(RELEASE) if story.wrong]
REFUTED = [story for story in WRONG if story.wrong in {"free", "refused"}]


def named(story: Story) -> str:
    return story.dataset


def recorded_wrongly(story: Story) -> list[str]:
    """Ids of requests that an outcome calls free or refused, although fal has their images."""
    receipts = (STORES / RELEASE / story.layout / story.dataset / "receipts").rglob("*.outcome.*.json")
    outcomes = [json.loads(path.read_text("utf-8")) for path in receipts]
    has_images = {request_id for request_id, images in story.paid_images().items() if images}
    return [o["request_id"] for o in outcomes if o["kind"] != "stored" and o["request_id"] in has_images]


@pytest.mark.parametrize("story", WRONG, ids=named)
def test_every_image_that_was_paid_for_is_collected_and_none_is_bought_again(
    story: Story, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    [run] = story.runs
    with copied(RELEASE, story, tmp_path, request) as copy:
        ran = copy.call("generate", run)
        assert copy.fal.bought == run.bought, ran.stderr
        assert ran.status == run.status, ran.stderr
        assert {name: ran.summary[name] for name in run.counts} == run.counts
        copy.check()


@pytest.mark.parametrize("story", REFUTED, ids=named)
def test_what_was_taken_for_free_or_refused_is_looked_up_again_by_its_id(
    story: Story, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    wrongly = recorded_wrongly(story)
    assert wrongly
    with copied(RELEASE, story, tmp_path, request) as copy:
        copy.call("generate", story.runs[0])
        assert [request_id for request_id in wrongly if not copy.fal.asked_for(request_id)] == []


@pytest.mark.parametrize("story", WRONG, ids=named)
def test_once_it_is_right_it_stays_so(story: Story, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    [run] = story.runs
    with copied(RELEASE, story, tmp_path, request) as copy:
        copy.call("generate", run)
        copy.fal.posts.clear()
        ran = copy.call("generate", run)
        assert (ran.status, copy.fal.posts) == (run.status, []), ran.stderr
        assert ran.summary["images"] == ran.summary["reused"] == run.counts["images"]
        copy.check()
