"""When to look, as arithmetic and as the watcher's own policy on drawn latencies: calls an image against lag."""

from __future__ import annotations

import random
import statistics
from typing import TYPE_CHECKING, NamedTuple

from dagster_gptimg.engine.follow.latency import KEPT, Latency

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

OTHER_CALLS = 3
"""Submit, result, download: with any policy."""

DRAWN = 2000
MEAN = 10.0


class Cost(NamedTuple):
    """What a policy costs: calls an image, and the mean lag as a share of the mean latency."""

    calls: float
    lag: float


def split(spread: float, looks: int) -> Cost:
    """The spread cut into so many equal looks: the k-th finds the k-th part of the requests.

    So looks are (k + 1) / 2 in the mean, and the lag is half a part.

    Args:
        spread: the range of latencies as a share of their mean; 0.6 for +-30 %.
        looks: parts.
    """
    return Cost(OTHER_CALLS + (looks + 1) / 2, spread / looks / 2)


def every(step: float) -> Cost:
    """A look every `step` (a share of the mean latency), from the submit on."""
    return Cost(OTHER_CALLS + 1 / step + 0.5, step / 2)


def watcher(spread: float, look: float, seed: int = 1) -> Cost:
    """The watcher's policy, on latencies drawn evenly over a spread; it has learned from `KEPT` others before.

    Args:
        spread: as in `split`.
        look: what a look is worth, as `dagster_gptimg.engine.follow.latency.LOOK`.
        seed: of the draws.
    """
    draw, latency = drawer(spread, MEAN, seed), Latency(look)
    for _ in range(KEPT):
        latency.ended(draw())
    seen = [looked(latency, draw()) for _ in range(DRAWN)]
    looks, lag = statistics.fmean(n for n, _ in seen), statistics.fmean(late for _, late in seen)
    return Cost(OTHER_CALLS + looks, lag / MEAN)


def looked(latency: Latency, seconds: float) -> tuple[int, float]:
    """How often one request is looked at, and how long after its end the last look comes."""
    looks, age = 0, 0.0
    while not looks or age < seconds:
        looks, age = looks + 1, latency.next_look(age)
    return looks, age - seconds


def drawer(spread: float, mean: float, seed: int) -> Callable[[], float]:
    """Draws latencies."""
    dice = random.Random(seed)
    return lambda: mean * (1 + spread * (dice.random() - 0.5))


def curve(spread: float, looks: Sequence[float]) -> list[Cost]:
    """The watcher's policy for several worths of a look."""
    return [watcher(spread, look) for look in looks]
