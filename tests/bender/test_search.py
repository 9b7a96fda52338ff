"""A search by Hypothesis for any order of bends, runs, deaths and words that pays twice or loses an image."""

from __future__ import annotations

import os
from math import inf
from typing import Any

import pytest
import stamina.instrumentation
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from dagster_gptimg.engine.job import Options
from tests.bender import judge
from tests.bender.cells import Cell
from tests.bender.fal import HOUR, Habits
from tests.bender.hands import run_cells
from tests.bender.histories import LASTS, live, quiet
from tests.bender.process import PATIENCE, Process
from tests.bender.store import LIES
from tests.bender.weather import Rule
from tests.bender.world import Row, World

pytestmark = pytest.mark.simulation
EXAMPLES = max(int(os.environ.get("SEEDS", "400")) // 20, 10)
STEPS = 10
PROMPTS = ("thing 0", "thing 1", "twins", "twins")
ENDS = st.sampled_from([{}, {"refused": 0.5}, {"failed": 0.5}, {"unloaded": 0.3, "empty": 0.3}])


class Search(RuleBasedStateMachine):
    """Any order of what fal, a store, clocks and people do."""

    def __init__(self) -> None:
        super().__init__()
        stamina.instrumentation.set_on_retry_hooks([])
        self.world = World(5, [Row(prompt) for prompt in PROMPTS], Habits(latency=(1.0, 4.0)), slots=3)
        self.lives = 0

    @rule(
        cell=st.sampled_from(run_cells()),
        prompt=st.none() | st.sampled_from(PROMPTS),
        lasts=st.sampled_from(LASTS),
        since=st.sampled_from([0.0, 2.0, 10.0]),
    )
    def bend(self, cell: Cell, prompt: str | None, lasts: float, since: float) -> None:
        prompts = None if prompt is None else frozenset({prompt})
        begins, times = self.world.now + since, inf if lasts else 1
        self.world.weather.rules.append(Rule(cell, prompts, begins, times=times, lasts=lasts or inf))

    @rule()
    def all_is_well_again(self) -> None:
        self.world.weather.rules.clear()
        self.world.lies.rates.clear()

    @rule(rates=st.dictionaries(st.sampled_from(LIES), st.sampled_from([0.02, 0.1, 0.3]), max_size=3))
    def the_store_lies(self, rates: dict[str, float]) -> None:
        self.world.lies.rates = rates

    @rule(ends=ENDS, slow=st.sampled_from([0.0, 0.3]))
    def requests_end(self, ends: dict[Any, float], slow: float) -> None:
        self.world.habits.ends, self.world.habits.slow = ends, slow

    @rule(
        kill_after=st.none() | st.integers(0, 200),
        interrupt=st.none() | st.floats(0.1, 12.0),
        again=st.sampled_from([(), (), ("held",), ("refused", "lost")]),
        skew=st.sampled_from([0.0, 0.0, HOUR, -3 * HOUR]),
        company=st.booleans(),
    )
    def run(
        self, kill_after: int | None, interrupt: float | None, again: tuple[str, ...], skew: float, *, company: bool
    ) -> None:
        options = Options(settle=20.0, max_in_flight=4, patience=PATIENCE, again=frozenset(again))
        self.lives += 1
        lives = [Process(self.world, f"run {self.lives}", options, kill_after, interrupt, skew)]
        if company:
            lives.append(Process(self.world, f"company {self.lives}", options, starts=1.0))
        live(*lives)

    @rule(seconds=st.sampled_from([1.0, 30.0, HOUR]))
    def wait(self, seconds: float) -> None:
        self.world.now += seconds

    def teardown(self) -> None:
        try:
            quiet(self.world)
            judge.check_texts(self.world, [])
        finally:
            self.world.forget()
            stamina.instrumentation.set_on_retry_hooks(None)


Search.TestCase.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
)
TestSearch = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")(Search.TestCase)
