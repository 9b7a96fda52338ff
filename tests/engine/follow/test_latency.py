"""When to look: the ages that cost least, whatever the latency turns out to be."""

from __future__ import annotations

import random
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_gptimg.engine.follow.latency import ENOUGH, FIRST, KEPT, LOOK, REFRESH, Latency, next_ages


def looks(latency: Latency, ends_at: float) -> tuple[int, float]:
    """How many looks one request takes, and how late the last one is."""
    age, count = 0.0, 0
    while age < ends_at:
        age = latency.next_look(age)
        count += 1
    return count, age - ends_at


def cost(latencies: list[float], chosen: list[float], look: float) -> float:
    """What looks and lag cost together."""
    total = 0.0
    for latency in latencies:
        at = next(n for n, age in enumerate(chosen) if age >= latency)
        total += (at + 1) * look + chosen[at] - latency
    return total


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=7), st.floats(0.01, 20))
def test_no_other_ages_cost_less(latencies: list[float], look: float) -> None:
    latencies.sort()
    after, found = next_ages(latencies, look), list[float]()
    while not found or found[-1] < latencies[-1]:
        found.append(after[sum(latency <= found[-1] for latency in latencies) if found else 0])
    every = (
        [*chosen, latencies[-1]] for size in range(len(latencies)) for chosen in combinations(latencies[:-1], size)
    )
    assert cost(latencies, found, look) <= min(cost(latencies, chosen, look) for chosen in every) + 1e-6


@pytest.mark.parametrize("mean", [1.0, 10.0, 120.0])
def test_for_latencies_within_30_percent_the_arithmetic_of_the_docstring_holds(mean: float) -> None:
    draw, latency = random.Random(1), Latency()
    for _ in range(KEPT):
        latency.ended(mean * draw.uniform(0.7, 1.3))
    found = [looks(latency, mean * draw.uniform(0.7, 1.3)) for _ in range(2000)]
    assert sum(count for count, _ in found) / 2000 < 3.6
    assert sum(lag for _, lag in found) / 2000 < 0.05 * mean


def test_a_handful_of_ends_are_enough_to_begin_with() -> None:
    latency = Latency()
    latency.ended(10.0)
    assert 7.0 <= latency.next_look(0.0) <= 10.0
    assert latency.next_look(12.9) == pytest.approx(13.0)


def test_while_nothing_is_known_steps_grow() -> None:
    latency, age, steps = Latency(), 0.0, []
    while age < 600:
        steps.append(latency.next_look(age) - age)
        age += steps[-1]
    assert steps[0] == pytest.approx(FIRST)
    assert all(later >= earlier - 1e-9 for earlier, later in pairwise(steps))
    assert len(steps) < 45


def test_beyond_all_that_was_seen_looks_go_on_with_growing_steps() -> None:
    latency = Latency()
    for _ in range(ENOUGH):
        latency.ended(10.0)
    assert latency.next_look(10.0) == pytest.approx(11.0)
    assert latency.next_look(100.0) - 100.0 > latency.next_look(20.0) - 20.0
    assert latency.next_look(1e6) - 1e6 <= 60.0


def test_only_the_latest_count() -> None:
    latency = Latency()
    assert not latency.is_known
    for seconds in (1.0, 9.0):
        for _ in range(KEPT + REFRESH):
            latency.ended(seconds)
    assert latency.mean == pytest.approx(9.0)
    assert latency.next_look(0.0) == pytest.approx(9.0)
    assert 0 < LOOK < 1
