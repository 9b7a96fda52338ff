"""Calls of the client's that no run makes: each answers, or raises one of the package's own errors, in time."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import TYPE_CHECKING
from unittest.mock import patch

from dagster_gptimg.errors import GptImgError
from dagster_gptimg.fal.http import storage
from dagster_gptimg.fal.registry.model import FalModel
from dagster_gptimg.fal.registry.price_formulas import unknown_price
from tests.bender import judge
from tests.bender.cells import Cell, all_cells
from tests.bender.fal import ENDPOINT, KEY
from tests.bender.process import Process
from tests.bender.weather import Rule
from tests.bender.world import Row, World
from tests.simulation.virtual_time import Clock, VirtualLoop, bury

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dagster_gptimg.fal.http.client import FalClient

EACH = 3
"""Cells of each history."""

IN_TIME = 1200.0
REQUEST = "3d0a1f6e-8f0c-4d3a-9a53-0c5f0e9d8b11"


async def _document(fal: FalClient) -> object:
    return FalModel.from_openapi(await fal.openapi(ENDPOINT), price=unknown_price)


async def _delete(fal: FalClient) -> None:
    await fal.delete_payloads(REQUEST)


async def _upload(fal: FalClient) -> object:
    with patch.object(storage, "PARTS_ABOVE", 100), patch.object(storage, "PART", 60):
        return await fal.upload(b"x" * 200, "image/png", "a.png")


WAYS: dict[str, Callable[[FalClient], Awaitable[object]]] = {
    "models with documents": _document,
    "payload deletion": _delete,
    "multipart create": _upload,
    "multipart part": _upload,
    "multipart complete": _upload,
}


@cache
def direct_cells() -> tuple[Cell, ...]:
    """All cells of endpoints that no run calls."""
    return tuple(cell for cell in all_cells() if cell.endpoint in WAYS)


def direct(seed: int) -> World:
    """A few calls, each with one bend."""
    world = World(seed, [Row("thing")])
    world.fal.accept(KEY, ENDPOINT, {"prompt": "thing"}, 0.0)
    world.fal.requests[REQUEST] = next(iter(world.fal.requests.values()))
    cells = direct_cells()
    for n in range(EACH):
        cell = cells[(seed * EACH + n) % len(cells)]
        if cell.bend == "stale":
            world.weather.rules.clear()
            _call(world, cell)
        world.weather.rules[:] = [Rule(cell)]
        _call(world, cell)
    return world


def _call(world: World, cell: Cell) -> None:
    loop = VirtualLoop(world.now)
    world.loop = loop

    async def call() -> None:
        process = Process(world, "direct")
        process.clock = Clock(loop, 0.0)
        began = loop.time()
        async with process.client() as fal:
            try:
                await WAYS[cell.endpoint](fal)
            except GptImgError as error:
                judge._check_text(str(cell), str(error), is_ours=True)
        assert loop.time() - began < IN_TIME, f"{cell}: it took {loop.time() - began:.0f} s"

    try:
        loop.run_until_complete(asyncio.wait_for(call(), 10 * IN_TIME))
    finally:
        bury(loop)
        world.now, world.loop = loop.now, None
