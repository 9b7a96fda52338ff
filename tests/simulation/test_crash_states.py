"""Every state that a crash can leave in the store, and several runs in any order: the bill judges what comes of it."""

from __future__ import annotations

import copy
import json
import os
import random
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from dagster_gptimg.engine.job import Options
from dagster_gptimg.store.dataset import Dataset
from dagster_gptimg.store.images.image_files import store_image
from dagster_gptimg.store.receipts.facts import Outcome
from dagster_gptimg.store.root import Store
from tests.simulation.disk import Crashes, Recorder
from tests.simulation.test_seeds import FAULTS, check
from tests.simulation.virtual_time import EPOCH
from tests.simulation.world import PATIENCE, PRICE, Life, Request, World, picture

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


pytestmark = pytest.mark.simulation


class Step(NamedTuple):
    """One operation on the store, and what fal had accepted when the next one came."""

    operation: str
    name: str
    data: bytes
    requests: dict[str, Request]


class RecordingStore(Store):
    """A store that remembers what was done to it, in order."""

    def watch(self, world: World) -> None:
        self.world = world
        self.steps: list[Step] = []

    def create(self, name: str, data: bytes) -> None:
        super().create(name, data)
        self._note("create", name, data)

    def write(self, name: str, data: bytes) -> None:
        super().write(name, data)
        self._note("write", name, data)

    def write_file(self, name: str, source: Path) -> None:
        self.write(name, source.read_bytes())

    def delete(self, name: str) -> None:
        super().delete(name)
        self._note("delete", name, b"")

    def _note(self, operation: str, name: str, data: bytes) -> None:
        now = copy.deepcopy(self.world.requests)
        if self.steps:  # a POST that left before this operation may have reached fal although nothing else was done
            self.steps[-1] = self.steps[-1]._replace(requests=now)
        self.steps.append(Step(operation, name, data, now))


@pytest.mark.parametrize("seed", range(4))
def test_every_prefix_of_a_runs_writes_is_a_state_that_the_next_run_mends(seed: int) -> None:
    faults = {"submit_lost": 0.2, "failed": 0.1, "refused": 0.1, "read": 0.1} if seed else {}
    world = World(seed, faults, ["one", "two", "twins", "twins"])
    world.store = store = RecordingStore(f"memory://recorded/{seed}-{id(world)}")
    store.watch(world)
    Life(world).run()
    steps = store.steps
    assert len(steps) > 15
    for length in range(len(steps) + 1):
        crashed = World(1000 + length, {}, world.rows)
        for step in steps[:length]:
            getattr(crashed.store, step.operation)(step.name, *([step.data] if step.operation != "delete" else []))
        crashed.requests = copy.deepcopy(steps[length - 1].requests) if length else {}
        crashed.now = world.now + 100.0
        for _ in range(2):
            assert Life(crashed, options=Options(settle=60.0)).run() is not None
        check(crashed)
        crashed.forget()


LIVES = int(os.environ.get("LIVES", "16"))
FAULTY = {"submit_lost": 0.2, "failed": 0.1, "refused": 0.1, "read": 0.1}


@pytest.mark.parametrize("seed", range(LIVES))
def test_a_power_cut_at_any_moment_costs_nothing(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world, crashes = lives_on_disk(seed, tmp_path, monkeypatch)
    monkeypatch.undo()
    crashes.recorder.assert_whole()
    count = 0
    for count, (files, requests) in enumerate(crashes.states(random.Random(seed), most=12), 1):
        check_images_are_there(files)
        crashed = World(1000 + count, {}, world.rows)
        for name, data in files.items():
            crashed.store.write(name, data)
        crashed.requests, crashed.now = copy.deepcopy(requests), world.now + 100.0
        for _ in range(2):
            assert Life(crashed, options=Options(settle=60.0)).run() is not None
        check(crashed)
        crashed.forget()
    assert count > 20


def check_images_are_there(files: Mapping[str, bytes]) -> None:
    """An outcome that outlived the cut has its images: they were durable before it was recorded."""
    for name, data in files.items():
        if ".outcome." in name and data:
            for image in json.loads(data)["images"]:
                assert f"d/{image['path']}" in files, f"{name} is there, and its image is not"


def test_an_outcome_that_outlived_its_accepted_keeps_its_request_from_its_twin() -> None:
    """Two names in one folder, both un-synced when the power went, and the earlier one is gone (LIVES=73, seed 72)."""
    world = World(7, {}, ["twins", "twins"])
    world.faults = {"submit_lost": 1.0, "history": 1.0}  # two intents, and fal has both
    Life(world, options=Options(settle=1.0)).run()
    world.faults = {"read": 1.0}  # both are adopted, and cannot be collected
    world.now += 100.0
    Life(world, options=Options(settle=1.0, patience=5.0)).run()
    world.faults = {}
    receipts = Dataset(world.store, "d").receipts
    accepted = [(name, parsed) for _, names in receipts.by_key() for name, parsed in names if parsed.how]
    for name, parsed in accepted:
        world.store.delete(f"d/receipts/{parsed.key[:2]}/{name}")
        if parsed.request_id == "R0":
            stored(world, parsed.key, parsed.request_id)
    assert len(accepted) == 2
    world.now += 100.0
    for _ in range(2):
        assert Life(world).run() is not None
    check(world)
    world.forget()


def stored(world: World, key: str, request_id: str) -> None:
    """The image and the outcome of a request, as a run leaves them."""
    now = EPOCH + timedelta(seconds=world.now)
    image = store_image(world.store, "d", f"{key}-{request_id}-0", picture(f"cdn/{request_id}/0"))
    outcome = Outcome(
        request_id=request_id, kind="stored", images=(image,), cost_usd=PRICE, completed_at=now, recorded_at=now
    )
    Dataset(world.store, "d").receipts.create_outcome(key, 0, outcome)


def lives_on_disk(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[World, Crashes]:
    """Some processes on one local folder, all but the last killed at one of their system calls."""
    draw = random.Random(seed)
    world = World(seed, FAULTY if seed else {}, ["one", "two", "twins", "twins"])
    world.store = Store(str(tmp_path))
    crashes = Crashes(Recorder(tmp_path, monkeypatch), lambda: world.requests)
    for last in draw.choice([[], [draw.randint(1, 120)], [draw.randint(1, 60), draw.randint(1, 120)]]):
        end_at_call(Life(world), crashes, len(crashes.recorder.calls) + last)
        world.now += draw.choice([0.0, 100.0])
    assert Life(world).run() is not None
    return world, crashes


def end_at_call(life: Life, crashes: Crashes, number: int) -> None:
    """Live until so many calls have been made."""
    before = crashes.recorder.on_call

    def on_call() -> None:
        before()
        if len(crashes.recorder.calls) >= number:
            life.kill_after = 0
            life.effect()

    crashes.recorder.on_call = on_call
    life.run()
    crashes.recorder.on_call = before


class Runs(RuleBasedStateMachine):
    """Any order of runs, deaths, pauses and faults over one fal and one store."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(5, {}, ["one", "two", "twins", "twins"])

    @rule(faults=st.dictionaries(st.sampled_from(FAULTS), st.sampled_from([0.1, 0.5, 1.0]), max_size=3))
    def misbehave(self, faults: dict[str, float]) -> None:
        self.world.faults = faults

    @rule(
        kill_after=st.none() | st.integers(0, 120),
        interrupt=st.none() | st.floats(0.1, 12.0),
        in_flight=st.integers(1, 6),
    )
    def run(self, kill_after: int | None, interrupt: float | None, in_flight: int) -> None:
        options = Options(settle=20.0, max_in_flight=in_flight, patience=PATIENCE)
        Life(self.world, kill_after, interrupt, options).run()

    @rule(seconds=st.sampled_from([1.0, 30.0, 4000.0]))
    def wait(self, seconds: float) -> None:
        self.world.now += seconds

    @rule(rows=st.permutations(["one", "two", "twins", "twins"]))
    def sort(self, rows: list[str]) -> None:
        self.world.rows = rows

    def teardown(self) -> None:
        self.world.faults = {}
        for _ in range(2):
            self.world.now = self.world.when_all_has_ended() + 100.0
            end = Life(self.world, options=Options(settle=60.0, patience=PATIENCE)).run()
            assert end is not None
        check(self.world)
        self.world.forget()


Runs.TestCase.settings = settings(
    max_examples=60, stateful_step_count=8, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
TestRuns = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")(Runs.TestCase)
