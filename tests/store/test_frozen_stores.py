"""Stores of an earlier release are read as they stand, and gone on with: nothing is bought again, nothing is lost.

`tests/fixtures/stores` has them as that release wrote them, with what fal has of each request beside them. The bill of
a stand-in for fal that goes on with the same story is the judge.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from dagster_gptimg.engine.plan.model_choice import choose
from dagster_gptimg.store.dataset import Dataset
from dagster_gptimg.store.manifest_columns import DETAILS
from dagster_gptimg.store.root import Store
from tests.frozen_stores import STORES, Story, copied, counts, stories
from tests.harness import cli

RELEASES = ("211b316", "first-model", "what-results-say")
EVERY = [(release, story) for release in RELEASES for story in stories(release)]
ALL = [pytest.param(release, story, id=f"{release}-{story.dataset}") for release, story in EVERY]
RIGHT = [
    # A run looks for 20 s for a result that fal no longer has; the quick tests of requests that end as lost are in
    # tests/e2e/test_open_questions.py, and on a clock of their own in tests/bender/test_ends.py.
    pytest.param(release, story, id=f"{release}-{story.dataset}", marks=pytest.mark.long if is_slow else ())
    for release, story in EVERY
    if not story.wrong
    for is_slow in [(release, story.dataset) == ("211b316", "lost")]
]


@pytest.mark.parametrize(("release", "story"), ALL)
def test_it_is_read_as_it_was_written(
    release: str, story: Story, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with copied(release, story, tmp_path, request) as copy:
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


@pytest.mark.parametrize(("release", "story"), RIGHT)
def test_it_is_gone_on_with(release: str, story: Story, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    with copied(release, story, tmp_path, request) as copy:
        for run in story.runs:
            copy.fal.posts.clear()
            ran = copy.call("generate", run)
            assert (ran.status, counts(ran.summary)) == (run.status, run.counts), ran.stderr
            assert ran.summary["cost_usd"]["billed"] == pytest.approx(run.billed)
            assert copy.fal.bought == run.bought
        copy.check()


def test_every_dataset_of_the_store_is_known_by_its_origin() -> None:
    for release in RELEASES:
        store = Store(str(STORES / release / "local"))
        origins = {name: Dataset(store, name).origin() for name in store.names("")}
        assert origins == {story.dataset: story.origin for story in stories(release) if story.layout == "local"}
    assert Dataset(Store(str(STORES / "211b316" / "local")), "done_at_fal").origin() == "fal"


def test_every_dataset_of_the_store_is_known_by_its_first_model() -> None:
    """Of the older release none has one: theirs is what was the default then, for ever."""
    found = dict[str, str]()
    for release in RELEASES:
        store = Store(str(STORES / release / "local"))
        found |= {f"{release} {name}": choose(None, Dataset(store, name)).model.name for name in store.names("")}
    assert found.pop("first-model another_model") == "gpt-image-2"
    assert {name.partition(" ")[0]: model for name, model in found.items()} == {
        "211b316": "gpt-image-1-mini",
        "first-model": "gpt-image-2.5-flare",
        "what-results-say": "gpt-image-2.5-flare",
    }
    assert {model for name, model in found.items() if name.startswith("211b316")} == {"gpt-image-1-mini"}


def test_what_results_said_is_read_from_its_receipts_and_of_earlier_ones_nothing_is_made_up(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    told = dict[str, dict[str, Any]]()
    for release, name in (("what-results-say", "what_results_say"), ("first-model", "done")):
        story = Story.load(release, name)
        with copied(release, story, tmp_path / release, request) as copy:
            for folder in ("settled", "manifests"):
                shutil.rmtree(Path(copy.store, name, folder))
            assert cli(None, "rebuild", "--store", copy.store, "--dataset", name, env=copy.env).status == 0
            told |= {record["prompt"]: {key: record[key] for key in DETAILS} for record in copy.records()}
    empty = {**dict.fromkeys(DETAILS), "black": False, "c2pa": False}
    assert told == {
        "a lamp": {**empty, "seed": 41, "nsfw": True, "timings": {"inference": 1.5}},
        "a torch": {**empty, "description": "Here it is.", "revised_prompt": "a torch, at night"},
        "a candle": empty,
        **dict.fromkeys(("a cup", "a jug", "a vase"), dict.fromkeys(DETAILS)),
    }
