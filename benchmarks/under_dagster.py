"""`dagster`: what Dagster adds to a partition of 1,000 images, and to images that are ops or partitions each.

The command line and `dagster asset materialize` do the same work. The two others are small and given per image.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.processes import LoadServer, Ran, folder, generate, load_server, run
from benchmarks.results import Measured

IMAGES, SLOTS, LATENCY, IMAGE = 1000, 100, 2.0, 100_000
FEW = 8
"""Images of the others: at about 5 CPU-seconds each, more would take hours."""

PIPELINE = "benchmarks/pipeline.py"
DAGSTER = (sys.executable, "-m", "dagster")


def measure(scale: float = 1.0) -> Measured:
    """One after the other, each with a store and a DAGSTER_HOME of its own."""
    found, images, few = Measured(), max(int(IMAGES * scale), 10), max(int(FEW * scale), 2)
    with folder() as home, load_server(SLOTS, LATENCY, IMAGE) as server:
        cli = generate(server, partitioned(home / "prompts.csv", images), home / "store", "--id-column", "sku")
    asset = under_dagster(images, "asset", "materialize", "-f", PIPELINE, "--select", "images", "--partition", "all")
    about = f"{asset.wall:.1f} s against {cli.wall:.1f} s; CPU {asset.cpu:.1f} s against {cli.cpu:.1f} s"
    more = asset.wall - cli.wall
    found.add("`dagster asset materialize` of 1,000 images takes longer than the command line by", more, "s", 8, about)
    start = under_dagster(1, "asset", "list", "-f", PIPELINE)
    found.add("of which Dagster's start (`dagster asset list` of the same definitions)", start.wall, "s")
    found.add("dagster-gptimg: CPU per image under Dagster", asset.cpu / images, "s", about="start included")
    for name, command in (
        ("a dynamic-op fan-out", ("job", "execute", "-f", PIPELINE, "-j", "fan_out")),
        ("a run for each prompt's partition", ()),
    ):
        one, some = (under_dagster(count, *command) for count in (1, 1 + few))
        cpu, wall = (some.cpu - one.cpu) / few, (some.wall - one.wall) / few
        about = f"{1 + few} images against 1; {wall:.2f} s by the clock"
        found.add(f"{name}: CPU per image", cpu, "s", about=about)
        found.series[name] = {"cpu": cpu, "wall": wall}
    found.series["dagster-gptimg"] = {"cpu": asset.cpu / images, "wall": asset.wall / images}
    return found


def partitioned(path: Path, rows: int) -> Path:
    """A table whose rows all are in one partition."""
    lines = (f"sku-{n:07d},all,a leather bag on a plain white ground number {n}\n" for n in range(rows))
    path.write_text("sku,part,prompt\n" + "".join(lines), encoding="utf-8")
    return path


def under_dagster(images: int, *command: str) -> Ran:
    """One process of Dagster's; without a command, the pipeline runs itself."""
    with folder() as home, load_server(SLOTS, LATENCY if images >= SLOTS else 0.05, IMAGE) as server:
        (home / "dagster").mkdir()
        (home / "dagster" / "dagster.yaml").write_text("telemetry:\n  enabled: false\n", encoding="utf-8")
        started = (*DAGSTER, *command) if command else (sys.executable, "-m", "benchmarks.pipeline")
        return run(started, environment(server, home, images))


def environment(server: LoadServer, home: Path, images: int) -> dict[str, str]:
    """What `pipeline.py` reads."""
    table = partitioned(home / "prompts.csv", images)
    return {
        **server.env,
        "DAGSTER_HOME": str(home / "dagster"),
        "BENCH_COUNT": str(images),
        "BENCH_FOLDER": str(home),
        "BENCH_TABLE": str(table),
    }
