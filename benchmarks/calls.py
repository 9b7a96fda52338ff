"""`calls`: HTTP calls an image, and how late an end is noticed."""

from __future__ import annotations

import statistics

from benchmarks.policy import curve, every, split
from benchmarks.results import Measured
from benchmarks.slots import IMAGE, LATENCY, ROUNDS, fill

SLOTS = 40
SPREADS = (0.2, 0.6, 1.2)
LATER = f"without the first {SLOTS} images, of which nobody can know how long they take"
WORTHS = tuple(1 / n for n in (5, 8, 12, 20, 35, 65, 120, 250))


def measure(scale: float = 1.0) -> Measured:
    """The measured point is that of the `slots` run at 40 slots; the curves are arithmetic and simulation."""
    found = Measured()
    images, latency = ROUNDS * SLOTS, LATENCY * scale
    stats = fill(SLOTS, images, latency, IMAGE).stats
    calls, lag = sum(stats["calls"].values()) / images, stats["mean_lag"] / statistics.fmean(stats["drawn"])
    kinds = ", ".join(f"{name} {count / images:.2f}" for name, count in sorted(stats["calls"].items()))
    found.add(f"calls per image, {latency:g} s ± 30 %", calls, "calls", 6.6, kinds)
    about = f"mean {stats['mean_lag']:.2f} s, 95th percentile {stats['p95_lag']:.2f} s"
    found.add("mean lag until an end is noticed, of the latency", 100 * lag, "%", 5, about)
    later = statistics.fmean(late for late in stats["lags"][SLOTS:] if late is not None)
    found.add("the same once latencies are known", 100 * later / statistics.fmean(stats["drawn"]), "%", 5, LATER)
    found.series = {
        "measured": [calls, lag],
        "watcher": {str(spread): curve(spread, WORTHS) for spread in SPREADS},
        "split": {str(spread): [split(spread, k) for k in range(1, 25)] for spread in SPREADS},
        "every": [every(step / 100) for step in (1, 2, 3, 5, 7, 10, 15, 20, 30, 50)],
    }
    return found
