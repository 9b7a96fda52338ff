"""Writes the measured part of docs/performance.md, and its plots, from `results.json`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from pathlib import Path
from typing import Any

from benchmarks import results

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
TITLES = {
    "slots": "Slots",
    "cpu": "CPU",
    "calls": "Calls and lag",
    "waiting": "Waiting",
    "memory": "Memory",
    "million": "A million rows",
    "stages": "A row that is done",
    "dagster": "Under Dagster",
    "receipts": "Receipts",
    "stores": "Stores",
    "gallery": "The gallery",
    "startup": "Start-up",
    "peers": "Others",
    "scale": "Simulated",
    "scale-million": "Simulated, a million images",
}
BUSY = 1.0
"""A load average before a benchmark, from which on its times may be too long; the one before it counts in it."""


def write() -> None:
    """Draw, and put the tables between the markers; what people have written stays."""
    from benchmarks import plots

    found = results.read()
    drawn = plots.draw(found["benchmarks"])
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n{markdown(found, drawn)}\n{END}{after}", encoding="utf-8")


def markdown(found: dict[str, Any], drawn: Collection[str] = ()) -> str:
    """Everything that was measured, as tables; `drawn` are the names of its plots."""
    machine, benchmarks = found["machine"], found["benchmarks"]
    about = (
        f"{machine['cores']} cores ({machine['architecture']}), {machine['system']}, Python {machine['python']}; load "
        "server and worker on the same machine."
    )
    parts = [about]
    for name in (name for name in TITLES if name in benchmarks):
        parts += ["", f"### {TITLES[name]}", ""]
        parts += [f"![{TITLES[name]}](images/performance/{name}.png)", ""] if name in drawn else []
        parts += [*table(benchmarks[name]["rows"]), "", footnote(benchmarks[name])]
    return "\n".join(parts)


def table(rows: list[dict[str, Any]]) -> list[str]:
    """One benchmark's rows."""
    head = ["| what | measured | target | |", "|---|---|---|---|"]
    return head + [f"| {row['what']} | {amount(row)} | {target(row)} | {row['about']} |" for row in rows]


def amount(row: dict[str, Any]) -> str:
    """A figure with its unit."""
    return f"{row['measured']:,.4g} {row['unit']}".strip() if row["measured"] < 10_000 else f"{row['measured']:,.0f}"


def target(row: dict[str, Any]) -> str:
    """A target, and whether it is met."""
    return "" if row["target"] is None else f"≤ {row['target']:g} {'✓' if row['met'] else '✗'}"


def footnote(benchmark: dict[str, Any]) -> str:
    """How long it took, and what the machine did before."""
    load = benchmark["load_average_before"][0]
    busy = " (of others, or of the one before): its times may be longer than on a quiet machine" if load > BUSY else ""
    took = dt.timedelta(seconds=round(benchmark["seconds"]))
    return f"*Took {took}; load average before it {load:g}{busy}.*"
