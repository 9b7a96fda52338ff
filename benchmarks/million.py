"""`million`: a million rows that are all done, and a million new ones that are only planned."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from benchmarks.bought import buy
from benchmarks.processes import CLI, LOW, Ran, folder, generate, load_server, run, table
from benchmarks.results import Measured

ROWS = 1_000_000


class Runs(NamedTuple):
    """What a table of so many rows costs.

    Attributes:
        planned: all of them are new, and only a plan is asked for.
        first: all of them are done, and the manifest is missing. again: the manifest is there, too.
    """

    planned: Ran
    first: Ran
    again: Ran


@cache
def runs(rows: int) -> Runs:
    """Plan, fill the store, run twice. What `million` measures is also what `memory` reads."""
    with folder() as home, load_server(1, 1.0, 1000) as server:
        prompts = table(home / "prompts.parquet", rows)
        command = (*CLI, "plan", str(prompts), "--store", str(home / "empty"), "--dataset", "d", *LOW, "--json")
        planned = run(command)
        buy(prompts, home / "store")
        first, again = (generate(server, prompts, home / "store") for _ in range(2))
        for ran, done, new in ((planned, 0, rows), (first, rows, 0), (again, rows, 0)):
            if (ran.said["reused"], ran.said["bought"], ran.said["rows"]) != (done, new, rows):
                raise RuntimeError(f"not what was to be measured: {ran.said}")
        if server.stats()["requests"]:
            raise RuntimeError("something was bought")
        return Runs(planned, first, again)


def measure(scale: float = 1.0) -> Measured:
    """By the clock, the processes' start and end included."""
    found, rows = Measured(), int(ROWS * scale)
    ran = runs(rows)
    for what, one, target in (
        ("a run over 1,000,000 rows that are all done", ran.again, 20),
        ("the same, and the manifest has to be written", ran.first, None),
        ("a plan of 1,000,000 new rows from Parquet", ran.planned, 30),
    ):
        found.add(what, one.wall, "s", target, f"{one.cpu:.1f} CPU-seconds")
    return found
