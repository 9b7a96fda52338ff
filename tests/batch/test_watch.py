"""When to look: few calls, little lag, whatever the latency turns out to be."""

from __future__ import annotations

import random

import pytest

from dagster_gptimg.batch.watch import ENOUGH, KEPT, LONGEST, Latency


def looks(latency: Latency, ends_at: float) -> tuple[int, float]:
    """How many looks one request takes, and how late the last one is."""
    waited, count = 0.0, 0
    while True:
        waited += latency.wait(waited)
        count += 1
        if waited >= ends_at:
            return count, waited - ends_at


@pytest.mark.parametrize("mean", [1.0, 10.0, 120.0])
def test_once_the_latency_is_known_looks_are_few_and_lag_is_small(mean: float) -> None:
    draw, latency = random.Random(1), Latency()
    for _ in range(50):
        latency.ended(mean * draw.uniform(0.7, 1.3))
    found = [looks(latency, mean * draw.uniform(0.7, 1.3)) for _ in range(500)]
    assert sum(count for count, _ in found) / 500 < 5
    assert sum(lag for _, lag in found) / 500 < max(0.1 * mean, 0.15)


def test_the_first_looks_are_soon_and_then_grow() -> None:
    latency, waited, waits = Latency(), 0.0, []
    while waited < 600:
        waits.append(latency.wait(waited))
        waited += waits[-1]
    assert waits[0] < 1
    assert waits[2:] == sorted(waits[2:])
    assert max(waits) <= LONGEST
    assert len(waits) < 80


def test_only_the_latest_count() -> None:
    latency = Latency()
    assert latency.quantile(0.5) is None
    for _ in range(KEPT):
        latency.ended(1.0)
    for _ in range(KEPT):
        latency.ended(9.0)
    assert latency.quantile(0.0) == latency.quantile(1.0) == 9.0
    assert ENOUGH < KEPT
