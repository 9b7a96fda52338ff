"""Thousands of histories in which everything that fal says is bent, by seed; judged by fal's bill.

SEEDS=4000 pytest -m simulation             all of them (`make test-sim`): every cell of the table is bent
SEED=1234 SEEDS=1 pytest -m simulation      one of them, again
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from functools import partial
from math import inf
from typing import TYPE_CHECKING

import pytest
import stamina.instrumentation

from tests.bender import judge
from tests.bender.direct import direct, direct_cells
from tests.bender.hands import CHUNKS, run_cells
from tests.bender.histories import Lead, calm, history
from tests.bender.process import Logs
from tests.bender.table import PROPERTY, packed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.bender.cells import Cell
    from tests.bender.world import World

pytestmark = pytest.mark.simulation
SEEDS = int(os.environ.get("SEEDS", "400"))
FIRST = int(os.environ.get("SEED", "0"))
ENOUGH = 4000
"""Seeds from 0 on that bend nearly every cell; the rest has histories of its own."""
TRIES = 40
"""Histories in which one cell is to be bent, at most."""


@pytest.fixture
def logs() -> Iterator[Logs]:
    """The lines that are logged, with the errors that are tried again."""
    found, root = Logs(), logging.getLogger()
    root.addHandler(found)
    stamina.instrumentation.set_on_retry_hooks([lambda details: found.lines.append(str(details))])
    yield found
    stamina.instrumentation.set_on_retry_hooks(None)
    root.removeHandler(found)


def run(make: Callable[[int], World], seed: int, struck: Counter[Cell], logs: Logs) -> None:
    """Run and judge one history; when it fails, print how to see it again."""
    logs.lines.clear()
    try:
        world = make(seed)
        judge.check_texts(world, logs.lines)
    except BaseException:
        print(f"\nreplay: SEED={seed} SEEDS=1 python -m pytest -m simulation tests/bender")  # noqa: T201 - for a person
        raise
    struck.update(world.weather.struck)
    world.forget()


# A killed process closes nothing; here it shares its memory with the test.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_whatever_fal_says_nothing_is_paid_twice_lost_or_mixed_up(
    chunk: int, logs: Logs, record_property: Callable[[str, object], None]
) -> None:
    struck: Counter[Cell] = Counter()
    wanted = run_cells()[chunk::CHUNKS]
    try:
        for seed in range(FIRST, FIRST + SEEDS):
            if seed % CHUNKS == chunk:
                run(history, seed, struck, logs)
        if (FIRST, SEEDS >= ENOUGH) == (0, True):
            _bend_the_rest(struck, wanted, logs)
    finally:
        record_property(PROPERTY, packed(struck, wanted))
    _check_all_were_bent(struck, wanted)


def _bend_the_rest(struck: Counter[Cell], wanted: tuple[Cell, ...], logs: Logs) -> None:
    """Bend what no seed has: some bends strike only where a history happens to come by."""
    for cell in [cell for cell in wanted if not struck[cell]]:
        for seed in range(ENOUGH, ENOUGH + TRIES):
            if not struck[cell]:
                run(partial(calm, leads=[Lead(cell, inf)]), seed, struck, logs)


def test_calls_that_no_run_makes_end_in_time_whatever_fal_says(
    logs: Logs, record_property: Callable[[str, object], None]
) -> None:
    struck: Counter[Cell] = Counter()
    try:
        for seed in range(FIRST, FIRST + SEEDS):
            run(direct, seed, struck, logs)
    finally:
        record_property(PROPERTY, packed(struck, direct_cells()))
    _check_all_were_bent(struck, direct_cells())


def _check_all_were_bent(struck: Counter[Cell], wanted: tuple[Cell, ...]) -> None:
    never = [str(cell) for cell in wanted if not struck[cell]]
    if (FIRST, SEEDS >= ENOUGH) == (0, True):
        assert not never, f"{len(never)} never struck: {never}"
