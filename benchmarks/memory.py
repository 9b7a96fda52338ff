"""`memory`: resident bytes of the worker above an idle process: what grows with the number of rows."""

from __future__ import annotations

import sys

from benchmarks.million import ROWS, runs
from benchmarks.processes import Ran, Sample, folder, generate, load_server, run, table
from benchmarks.results import Measured

BOUGHT = (1_000, 10_000, 30_000)
SLOTS, LATENCY, IMAGE = 200, 0.5, 1000
MB = 1_000_000
FEW = 1_000
"""Rows of which nothing is left to see but what the first of them costs."""

IDLE = """
import time
from dagster_gptimg.engine import operations
from dagster_gptimg.cli import commands, progress
from dagster_gptimg.engine import run
from dagster_gptimg.prompts import read_rows
from dagster_gptimg.store import manifest
from dagster_gptimg.store.settled import index
import aiohttp, httpx_aiohttp, pyarrow.csv, pyarrow.parquet
import fsspec.implementations.local, pyarrow as pa, rich.progress
from PIL import Image
Image.init()
pa.array([1])
time.sleep(1)
"""
"""A worker that has imported all it needs, and has read nothing. The first array has pyarrow import pandas, where that
is installed: as in a run."""


def measure(scale: float = 1.0) -> Measured:
    """The most of all samples of each run; small images and a short latency, so that it does not take hours."""
    found, idle = Measured(), run((sys.executable, "-c", IDLE)).peak
    found.add("an idle process", idle / MB, "MB")
    peaks = {rows: bought(rows) for rows in (max(int(n * scale), 10) for n in BOUGHT)}
    for rows, ran in peaks.items():
        about = f"{ran.wall:.0f} s, {ran.cpu:.0f} CPU-seconds"
        found.add(f"above it, {rows:,} rows bought", (ran.peak - idle) / MB, "MB", about=about)
    first, *_, last = peaks
    found.add(f"slope from {first:,} to {last:,} rows bought", (peaks[last].peak - peaks[first].peak) / MB, "MB", 50)
    few, million = runs(max(int(FEW * scale), 10)), runs(int(ROWS * scale))
    found.add("above it, 1,000 rows planned", (few.planned.peak - idle) / MB, "MB")
    found.add("above it, 1,000,000 rows planned", (million.planned.peak - idle) / MB, "MB", 50)
    found.add("above it, 1,000 rows all done", (few.again.peak - idle) / MB, "MB")
    found.add("above it, 1,000,000 rows all done", (million.again.peak - idle) / MB, "MB", 50)
    found.add("above it, the same with the manifest to be written", (million.first.peak - idle) / MB, "MB", 50)
    found.series = {
        "idle": idle / MB,
        "bought": {str(rows): curve(ran.samples) for rows, ran in peaks.items()},
        "planned": curve(million.planned.samples),
        "done": curve(million.again.samples),
        "manifest": curve(million.first.samples),
    }
    return found


def bought(rows: int) -> Ran:
    """The worker over so many rows, all to be bought."""
    with folder() as home, load_server(SLOTS, LATENCY, IMAGE) as server:
        return generate(server, table(home / "prompts.csv", rows), home / "store")


def curve(samples: list[Sample]) -> list[tuple[float, float]]:
    """Seconds and MB, at most 120 points."""
    step = max(len(samples) // 120, 1)
    return [(round(sample.at, 2), round(sample.rss / MB, 1)) for sample in samples[::step]]
