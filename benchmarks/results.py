"""What a benchmark has measured, and `results.json`, which keeps it."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("results.json")


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
        what: it is of. unit: of `measured` and `target`.
        target: at most so much; None for a figure that only others are compared with.
        about: how it was measured, and what stands beside it.
    """

    what: str
    measured: float
    unit: str
    target: float | None = None
    about: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        return None if self.target is None else self.measured <= self.target


@dataclass
class Measured:
    """What one benchmark has found: rows for the table, and series for the plots."""

    rows: list[Row] = field(default_factory=list)
    series: dict[str, Any] = field(default_factory=dict)

    def add(self, what: str, measured: float, unit: str, target: float | None = None, about: str = "") -> None:
        """One more row; it is printed."""
        row = Row(what, float(f"{measured:.4g}"), unit, target, about)
        self.rows.append(row)
        print(line(row), flush=True)


def line(row: Row) -> str:
    """A row for people."""
    target = "" if row.target is None else f"  (target ≤ {row.target:g}: {'met' if row.met else 'MISSED'})"
    return f"  {row.what}: {row.measured:g} {row.unit}{target}{f'  [{row.about}]' if row.about else ''}"


def load_average() -> list[float]:
    """Of the last 1, 5 and 15 minutes: whether others were at work."""
    return [round(load, 2) for load in os.getloadavg()]


def read() -> dict[str, Any]:
    """All that is on record: `machine`, and by name what each benchmark has found."""
    try:
        return dict(json.loads(FILE.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}


def keep(name: str, measured: Measured, load: list[float], seconds: float) -> None:
    """Put what a benchmark has found in place of what it found last time."""
    results = read()
    results["machine"] = {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.system(),
        "architecture": platform.machine(),
    }
    rows = [asdict(row) | {"met": row.met} for row in measured.rows]
    found = {"load_average_before": load, "seconds": round(seconds, 1), "rows": rows, "series": measured.series}
    results.setdefault("benchmarks", {})[name] = found
    FILE.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
