"""`python -m benchmarks [NAME ...]`: measure, keep the results, write docs/performance.md. `report` only writes."""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
import time

from benchmarks import results

MODULES = {
    "startup": "startup:measure",
    "slots": "slots:measure",
    "calls": "calls:measure",
    "cpu": "cpu:measure",
    "peers": "peers:measure",
    "waiting": "waiting:measure",
    "memory": "memory:measure",
    "million": "million:measure",
    "stages": "stages:measure",
    "dagster": "under_dagster:measure",
    "receipts": "receipts:measure",
    "stores": "stores:measure",
    "gallery": "gallery:measure",
    "scale": "scale:measure",
    "scale-million": "scale:measure_million",
}
"""In this order: `calls` reads what `slots` has just run, and `million` what `memory` has."""

LONG = {"scale-million"}
"""Only when asked for by name; their results are kept."""


def main() -> None:
    """Run what was asked for; everything, if nothing was."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(MODULES)}, report")
    parser.add_argument("--scale", type=float, default=1.0, help="below 1: shorter latencies, to try a benchmark out")
    given = parser.parse_args()
    unknown = set(given.names) - {*MODULES, "report"}
    if unknown:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that servers and workers end with it
    names = [name for name in MODULES if name in (given.names or MODULES.keys() - LONG)]
    for name in names:
        load, began = results.load_average(), time.monotonic()
        print(f"{name} (load average {load[0]:g})", flush=True)
        module, _, function = MODULES[name].partition(":")
        measured = getattr(importlib.import_module(f"benchmarks.{module}"), function)(given.scale)
        if given.scale == 1.0:
            results.keep(name, measured, load, time.monotonic() - began)
    if given.scale == 1.0:
        from benchmarks import report

        report.write()


if __name__ == "__main__":
    main()
