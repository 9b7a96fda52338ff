"""The table of what was bent: endpoint by endpoint and field by field, over all seeds of a run."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

from tests.bender.cells import Cell

if TYPE_CHECKING:
    from collections.abc import Iterable

PROPERTY = "bends"
"""The name under which a test reports what it has bent (`record_property`)."""


def packed(struck: Counter[Cell], wanted: Iterable[Cell]) -> str:
    """What a part of the seeds has bent, among what it should have."""
    return json.dumps([[*cell, struck[cell]] for cell in wanted])


def unpacked(reports: Iterable[str]) -> Counter[Cell]:
    """Several packed reports together; what was not bent stands with 0."""
    found: Counter[Cell] = Counter()
    for report in reports:
        for *cell, count in json.loads(report):
            found[Cell(*cell)] += count
    return found


def lines(found: Counter[Cell], *, whole: bool) -> list[str]:
    """The table, a line for each field of each endpoint; `whole`: with the count of every bend."""
    places: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in sorted(found):
        field = "" if cell.where == "error" else cell.field
        places.setdefault((cell.endpoint, cell.where, field), []).append(cell)
    told = [f"{'endpoint':22} {'where':10} {'field':60} bends  least   most  never"]
    for (endpoint, where, field), cells in places.items():
        counts = [found[cell] for cell in cells]
        never = sum(not count for count in counts)
        told.append(
            f"{endpoint:22} {where:10} {field:60} {len(cells):5} {min(counts):6} {max(counts):6} {never or '':>6}"
        )
        if whole:
            told.append("    " + ", ".join(f"{cell.field} {cell.bend} {found[cell]}".strip() for cell in cells))
    total, never = found.total(), sum(not count for count in found.values())
    return [*told, f"{len(found)} ways to bend something, {total} strikes, {never} never struck"]
