"""`peers`: fal's own client and the bare loop over the same images, on the same load server."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeAlias

from benchmarks.processes import LoadServer, Ran, folder, generate, load_server, run, table
from benchmarks.results import Measured
from benchmarks.schedule import greedy

SLOTS, LATENCY, IMAGE = 40, 5.0, 1_500_000
IMAGES = 160
EVERY = 0.5
"""Seconds between two looks of the bare loop."""

Way: TypeAlias = Callable[[LoadServer, int, Path], tuple[Ran, float]]


class Peer(NamedTuple):
    """One way of doing it.

    Attributes:
        wall: against the greedy schedule, without the start of the process. calls, cpu: an image; CPU in ms.
    """

    wall: float
    calls: float
    cpu: float


def worker(server: LoadServer, images: int, home: Path) -> tuple[Ran, float]:
    """The worker, and its own count of seconds."""
    ran = generate(server, table(home / "prompts.csv", images), home / "store")
    return ran, float(ran.said["seconds"])


def python(module: str, *more: str) -> Way:
    """A loop of the benchmarks'."""

    def way(server: LoadServer, images: int, home: Path) -> tuple[Ran, float]:
        name, *before = module.split()
        place = (*before, server.url, str(images), str(home))
        ran = run((sys.executable, "-m", f"benchmarks.{name}", *place, "--slots", str(SLOTS), *more))
        return ran, float(ran.said["seconds"])

    return way


WAYS: dict[str, Way] = {
    "dagster-gptimg": worker,
    "fal-client, async": python("official async"),
    "fal-client, thread pool": python("official threads"),
    f"bare aiohttp loop, a look each {EVERY:g} s": python("bare", "--every", str(EVERY)),
}


def measure(scale: float = 1.0) -> Measured:
    """One after the other."""
    found, images, latency = Measured(), max(int(IMAGES * scale), SLOTS), LATENCY
    for name, way in WAYS.items():
        one = peer(way, images, latency)
        found.add(f"{name}: wall time against the greedy schedule", one.wall, "x")
        found.add(f"{name}: calls per image", one.calls, "calls")
        found.add(f"{name}: CPU per image", one.cpu, "ms")
        found.series[name] = one._asdict()
    found.add("images of each, 40 slots, 5 s ± 30 %", images, "images")
    return found


def peer(way: Way, images: int, latency: float) -> Peer:
    """Measure one of them; the CPU of its start is taken off."""
    with folder() as home, load_server(SLOTS, 0.1, IMAGE) as server:
        idle, _ = way(server, 1, home)
    with folder() as home, load_server(SLOTS, latency, IMAGE) as server:
        ran, seconds = way(server, images, home)
        stats = server.stats()
    best = greedy(stats["drawn"], SLOTS)
    return Peer(seconds / best, sum(stats["calls"].values()) / images, 1000 * (ran.cpu - idle.cpu) / (images - 1))
