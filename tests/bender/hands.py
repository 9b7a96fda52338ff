"""Which cells a history bends on purpose: a few at a time, such that each can strike beside the others."""

from __future__ import annotations

import random
from collections import deque
from functools import cache

from tests.bender.cells import Cell, all_cells
from tests.bender.direct import WAYS

CHUNKS = 4
"""Parts of the seeds, each with its own part of the cells: a seed's part is its rest by this number."""

LEADS = 3
"""Cells of a hand at most."""

OF_ALL = frozenset(
    {
        "meta",
        "history",
        "pricing",
        "models",
        "upload token",
        "direct upload",
        "initiate",
        "upload PUT",
        "JWKS",
        "cancel",
    }
)
"""Endpoints whose calls are about no single row, or bent for whichever row it is."""

_ANYWHERE = {"submit", "file download", "lookup", "models", "meta"}
_MODES = {
    "poll": _ANYWHERE | {"history", "status", "result", "pricing", "upload token"},
    "stream": _ANYWHERE | {"history", "status stream", "result", "pricing"},
    "webhook": _ANYWHERE | {"webhook", "JWKS"},
    "upload": _ANYWHERE | {"direct upload", "status", "result", "pricing"},
    "initiate": _ANYWHERE | {"initiate", "status", "result", "pricing"},
    "upload PUT": _ANYWHERE | {"upload PUT", "status", "result", "pricing"},
    "cancel": {"cancel"},
}
"""By how a run goes, the endpoints that it calls."""

_MARKS = {
    "status stream": "stream",
    "webhook": "webhook",
    "JWKS": "webhook",
    "cancel": "cancel",
    "direct upload": "upload",
    "initiate": "initiate",
    "upload PUT": "upload PUT",
}
"""Endpoints that only runs of one mode call."""


@cache
def run_cells() -> tuple[Cell, ...]:
    """All cells of endpoints that runs call, shuffled once for all."""
    cells = [cell for cell in all_cells() if cell.endpoint not in WAYS]
    random.Random(0).shuffle(cells)
    return tuple(cells)


@cache
def hands(chunk: int) -> tuple[tuple[Cell, ...], ...]:
    """A chunk's cells, a few together."""
    left: dict[str, deque[Cell]] = {}
    for cell in run_cells()[chunk::CHUNKS]:
        left.setdefault(cell.endpoint, deque()).append(cell)
    found = []
    while any(left.values()):
        hand: list[Cell] = []
        while len(hand) < LEADS and (endpoint := _next(left, hand)):
            hand.append(left[endpoint].popleft())
        found.append(tuple(hand))
    return tuple(found)


def _next(left: dict[str, deque[Cell]], hand: list[Cell]) -> str | None:
    """The endpoint that goes with a hand and has most cells left."""
    mode = mode_of(hand)
    taken = {cell.endpoint for cell in hand} & OF_ALL - {"cancel"}
    fits = [
        name for name, cells in left.items() if cells and name not in taken and (not hand or _goes(name, hand, mode))
    ]
    return max(fits, key=lambda name: (len(left[name]), name), default=None)


def _goes(name: str, hand: list[Cell], mode: str | None) -> bool:
    """Whether runs that call all endpoints of a hand can call this one, too."""
    modes = [mode] if mode else [_MARKS[name]] if name in _MARKS else [*_MODES]
    wanted = {cell.endpoint for cell in hand} | {name}
    return any(wanted <= _MODES[one] for one in modes)


def mode_of(hand: list[Cell] | tuple[Cell, ...]) -> str | None:
    """How a run goes that calls a hand's endpoints; None where it may go in any way."""
    return next((_MARKS[cell.endpoint] for cell in hand if cell.endpoint in _MARKS), None)
