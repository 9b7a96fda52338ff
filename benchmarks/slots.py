"""`slots`: is any of fal's slots ever idle? Wall time against the greedy schedule of the same drawn latencies."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from benchmarks.processes import Ran, folder, generate, load_server, table
from benchmarks.results import Measured
from benchmarks.schedule import greedy, little

LATENCY = 10.0
ROUNDS = 10
"""Images a slot."""

IMAGE = 1_500_000


class Filled(NamedTuple):
    """One run that kept slots busy.

    Attributes:
        span: seconds from the first intent to the last outcome, both on disk.
        stats: what the load server says.
    """

    span: float
    stats: dict[str, Any]
    ran: Ran


@cache
def fill(slots: int, images: int, latency: float, image_bytes: int) -> Filled:
    """Run the worker over so many images. What `slots` measures is also what `calls` reads."""
    with folder() as home, load_server(slots, latency, image_bytes) as server:
        ran = generate(server, table(home / "prompts.csv", images), home / "store")
        receipts = home / "store" / "d" / "receipts"
        # A fact is written once, so the time of its file is the moment in which it was on record.
        first = min(path.stat().st_mtime for path in receipts.glob("*/*.intent.json"))
        last = max(path.stat().st_mtime for path in receipts.glob("*/*.outcome.*.json"))
        return Filled(last - first, server.stats(), ran)


def measure(scale: float = 1.0) -> Measured:
    """Both sizes, one after the other: at 400 slots server and worker together fill most of a core."""
    found = Measured()
    for slots in (40, 400):
        images, latency = ROUNDS * slots, LATENCY * scale
        filled = fill(slots, images, latency, IMAGE)
        best, bound = greedy(filled.stats["drawn"], slots), little(filled.stats["drawn"], slots)
        about = (
            f"{images} images of 1.5 MB, {latency:g} s ± 30 %: {filled.span:.1f} s; greedy {best:.1f} s; N·L/slots "
            f"{bound:.1f} s, which greedy misses by {100 * (best / bound - 1):.1f} %; start-up and the manifest "
            f"{filled.ran.wall - filled.span:.1f} s more"
        )
        found.add(f"wall time at {slots} slots, against the greedy schedule", filled.span / best, "x", 1.03, about)
        found.series[str(slots)] = {"span": filled.span, "greedy": best, "little": bound, "images": images}
    return found
