"""`python -m benchmarks [NAME ...]`: measure, keep the results, write docs/performance.md. `report` only writes."""

from __future__ import annotations

import argparse
import importlib
import time

from benchmarks import results

MODULES = {
    "startup": "startup",
    "slots": "slots",
    "calls": "calls",
    "cpu": "cpu",
    "peers": "peers",
    "waiting": "waiting",
    "memory": "memory",
    "million": "million",
    "dagster": "under_dagster",
    "receipts": "receipts",
    "scale": "scale",
}
"""In this order: `calls` reads what `slots` has just run, and `memory` what `million` needs as well."""


def main() -> None:
    """Run what was asked for; everything, if nothing was."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(MODULES)}, report")
    parser.add_argument("--scale", type=float, default=1.0, help="below 1: shorter latencies, to try a benchmark out")
    given = parser.parse_args()
    unknown = set(given.names) - {*MODULES, "report"}
    if unknown:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    names = [name for name in MODULES if name in given.names or not given.names]
    for name in names:
        load, began = results.load_average(), time.monotonic()
        print(f"{name} (load {load[0]:g})", flush=True)
        measured = importlib.import_module(f"benchmarks.{MODULES[name]}").measure(given.scale)
        if given.scale == 1.0:
            results.keep(name, measured, load, time.monotonic() - began)
    if given.scale == 1.0:
        from benchmarks import report

        report.write()


if __name__ == "__main__":
    main()
