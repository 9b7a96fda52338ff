"""`scale`: cost against rows, slots and latency, on a clock that is only a number; a formula beyond that.

The watcher and the window are the real ones; fal and time are not (`simulation.py`).
"""

from __future__ import annotations

from benchmarks.results import Measured
from benchmarks.schedule import greedy
from benchmarks.simulation import simulate

LATENCY = 10.0
ROWS = (1_000, 10_000, 100_000)
SLOTS = (2, 10, 40, 400)
LATENCIES = (2.0, 10.0, 60.0)
MOST = 1_000_000

CALLS = 6.5
"""Calls an image, of the formula: `dagster_gptimg/engine/follow/latency.py` works it out for a spread of +-30 %."""


def formula(rows: int, slots: int, latency: float) -> tuple[float, float]:
    """Seconds by the clock (Little's law, and half of the last latencies), and HTTP calls."""
    return rows * latency / slots + 0.65 * latency, CALLS * rows


def measure(scale: float = 1.0) -> Measured:
    """By rows at 40 slots and at 400, by slots, by latency."""
    runs = [(int(rows * scale), slots, LATENCY) for rows in ROWS for slots in (40, 400)]
    runs += [(int(4000 * scale), slots, LATENCY) for slots in SLOTS]
    runs += [(int(4000 * scale), 40, latency) for latency in LATENCIES]
    return simulated(list(dict.fromkeys(runs)))


def measure_million(scale: float = 1.0) -> Measured:
    """A million images at 400 slots: some minutes of computing, so it is only done when it is asked for."""
    return simulated([(int(MOST * scale), 400, LATENCY)])


def simulated(runs: list[tuple[int, int, float]]) -> Measured:
    """Simulate (rows, slots, latency), one after the other."""
    found, points = Measured(), list[dict[str, float]]()
    for rows, slots, latency in runs:
        ran = simulate(rows, slots, latency)
        wall, calls = formula(rows, slots, latency)
        points.append(
            {
                "rows": rows,
                "slots": slots,
                "latency": latency,
                "seconds": round(ran.wall, 1),
                "against_greedy": round(ran.wall / greedy(ran.drawn, slots), 4),
                "calls": round(ran.calls, 3),
                "lag": round(ran.lag / latency, 4),
                "most_in_flight": ran.most,
                "formula_seconds": round(wall, 1),
                "formula_calls": calls,
            }
        )
        about = (
            f"{ran.wall / 3600:.2f} h, {ran.calls:.2f} calls an image, lag {ran.lag / latency:.1%}; "
            f"formula {wall / 3600:.2f} h; simulated in {ran.cpu:.0f} CPU-seconds"
        )
        what = f"simulated: {rows:,} images, {slots} slots, {latency:g} s, against the greedy schedule"
        found.add(what, points[-1]["against_greedy"], "x", about=about)
    found.series["points"] = points
    return found
