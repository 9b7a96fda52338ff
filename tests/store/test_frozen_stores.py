"""Stores of an earlier release are read as they stand, and gone on with: nothing is bought again, nothing is lost.

`tests/fixtures/stores` has them as that release wrote them, with what fal has of each request beside them. The bill of
a stand-in for fal that goes on with the same story is the judge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dagster_gptimg.store.dataset import Dataset
from dagster_gptimg.store.root import Store
from tests.frozen_stores import STORES, copied, counts, stories
from tests.harness import cli

if TYPE_CHECKING:
    from pathlib import Path

    from tests.frozen_stores import Story

RELEASE = "211b316"
ALL = stories(RELEASE)
RIGHT = [story for story in ALL if not story.wrong]


def named(story: Story) -> str:
    return story.dataset


@pytest.mark.parametrize("story", ALL, ids=named)
def test_it_is_read_as_it_was_written(story: Story, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    with copied(RELEASE, story, tmp_path, request) as copy:
        before = copy.objects()
        if story.read is None:
            ran = cli(None, "manifest", "--store", copy.store, "--dataset", story.dataset, env=copy.env)
            assert (ran.status, ran.stdout) == (2, "")
        else:
            assert copy.statuses() == story.read
        for run in story.runs[:1] if not story.wrong else ():
            ran = copy.call("plan", run)
            assert ran.status == 0, ran.stderr
            assert counts(ran.summary) == run.plan
        assert copy.objects() == before
        assert not copy.fal.seen, "reading asks fal nothing"


@pytest.mark.parametrize("story", RIGHT, ids=named)
def test_it_is_gone_on_with(story: Story, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    with copied(RELEASE, story, tmp_path, request) as copy:
        for run in story.runs:
            copy.fal.posts.clear()
            ran = copy.call("generate", run)
            assert (ran.status, counts(ran.summary)) == (run.status, run.counts), ran.stderr
            assert ran.summary["cost_usd"]["billed"] == pytest.approx(run.billed)
            assert copy.fal.bought == run.bought
        copy.check()


def test_every_dataset_of_the_store_is_known_by_its_origin() -> None:
    store = Store(str(STORES / RELEASE / "local"))
    origins = {name: Dataset(store, name).origin() for name in store.names("")}
    assert origins == {story.dataset: story.origin for story in ALL if story.layout == "local"}
    assert set(origins.values()) > {"fal"}
