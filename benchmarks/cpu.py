"""`cpu`: what the worker computes for an image, against a bare loop with as many calls and as many durable writes."""

from __future__ import annotations

import statistics
import sys
from pathlib import Path
from typing import NamedTuple

from benchmarks.processes import Ran, folder, generate, load_server, run, table
from benchmarks.results import Measured
from benchmarks.tls import certificate

IMAGES, SLOTS, LATENCY, IMAGE = 300, 40, 2.0, 1_500_000
ROUNDS = 2
"""Each of the four is measured so often, in turn: what else the machine does then hits all of them."""


class Cost(NamedTuple):
    """Of one image, without the process's start: seconds of CPU, and looks at its status."""

    cpu: float
    looks: float


def measure(scale: float = 1.0) -> Measured:
    """Plain HTTP and TLS, worker and bare loop, interleaved."""
    found, images = Measured(), max(int(IMAGES * scale), 10)
    with folder() as home:
        safe = certificate(home / "tls")
        idle = worker(1, 0.1, None), bare(1, 0.1, None, 1)
        costs: dict[tuple[str, str], list[Cost]] = {}
        for _ in range(ROUNDS):
            for wire, tls in (("HTTP", None), ("TLS", safe)):
                ours = per_image(images, *worker(images, LATENCY, tls), idle[0][0])
                theirs = per_image(images, *bare(images, LATENCY, tls, ours.looks), idle[1][0])
                costs.setdefault(("worker", wire), []).append(ours)
                costs.setdefault(("bare", wire), []).append(theirs)
    for wire in ("HTTP", "TLS"):
        ours, theirs = (mean(costs[who, wire]) for who in ("worker", "bare"))
        rounds = ", ".join(
            f"{1000 * a.cpu:.1f} / {1000 * b.cpu:.1f}"
            for a, b in zip(costs["worker", wire], costs["bare", wire], strict=True)
        )
        about = (
            f"{1000 * ours.cpu:.1f} ms and {ours.looks:.2f} looks an image; bare loop {1000 * theirs.cpu:.1f} ms and "
            f"{theirs.looks:.2f} looks; by round: {rounds} ms"
        )
        found.add(f"CPU of the worker per image, {wire}, against the bare loop", ours.cpu / theirs.cpu, "x", 2, about)
        found.series[wire] = {"worker_ms": 1000 * ours.cpu, "bare_ms": 1000 * theirs.cpu}
    start = f"{idle[0][0].cpu:.2f} s for the worker's start and end, which are not in it"
    found.add("images in each of these runs", images, "images", about=start)
    return found


def mean(costs: list[Cost]) -> Cost:
    """Of several rounds."""
    return Cost(statistics.fmean(cost.cpu for cost in costs), statistics.fmean(cost.looks for cost in costs))


def per_image(images: int, ran: Ran, looks: int, idle: Ran) -> Cost:
    """What one image more costs than a run over one."""
    return Cost((ran.cpu - idle.cpu) / max(images - 1, 1), looks / images)


def worker(images: int, latency: float, tls: Path | None) -> tuple[Ran, int]:
    """The worker over so many images, and how often it looked."""
    with folder() as home, load_server(SLOTS, latency, IMAGE, tls=tls) as server:
        ran = generate(server, table(home / "prompts.csv", images), home / "store")
        return ran, server.stats()["calls"]["status"]


def bare(images: int, latency: float, tls: Path | None, looks: float) -> tuple[Ran, int]:
    """The bare loop over so many images, with so many looks at each, and how often it looked in all."""
    with folder() as home, load_server(SLOTS, latency, IMAGE, tls=tls) as server:
        command = (sys.executable, "-m", "benchmarks.bare", server.url, str(images), str(home), "--looks", str(looks))
        more = ("--wait", str(latency), "--slots", str(SLOTS), *(("--ca", str(server.ca)) if server.ca else ()))
        return run(command + more), server.stats()["calls"]["status"]
