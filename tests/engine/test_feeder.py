"""The feeder of a run: which requests are given to the worker, and how often."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from dagster_gptimg.engine.feeder import Feeder
from dagster_gptimg.engine.job import Options
from dagster_gptimg.engine.prepare import prepare
from dagster_gptimg.fal.types import Completed, InProgress
from tests.engine.scripted import CUP, SERVER_ERROR, UNIT_PRICE, Fal, Scene, images, line, request, rows
from tests.simulation.virtual_time import Clock, VirtualLoop, bury

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dagster_gptimg.engine.prepare import Prepared
    from dagster_gptimg.fal.types import Submitted

PLATE, SAUCER = request("a plate"), request("a saucer")
CONNECTING = 60.0
"""Seconds until a POST has a connection."""

ENDED = 30.0
"""The second at which fal has ended the request of `PLATE`."""


class SlowFal(Fal):
    """A fal to which connections take time."""

    async def submit(self, *about: Any, **more: Any) -> Submitted:
        await asyncio.sleep(CONNECTING)
        return await super().submit(*about, **more)


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    made = VirtualLoop(0.0)
    yield made
    bury(made)


def test_an_open_request_that_ends_free_is_bought_again_by_its_first_worker_alone(
    loop: VirtualLoop, make_scene: Callable[..., Scene]
) -> None:
    """The row of the cup is reached while its open request, which has ended free, is about to be sent again."""
    fal = SlowFal()
    scene = make_scene(clock=Clock(loop, 0.0), options=Options(max_in_flight=2), fal=fal)
    scene.dataset.start_run("20261123T000000-0000bbbb")  # a run without an end: its receipts are read
    for wanted, request_id in ((CUP, "of-the-cup"), (PLATE, "of-the-plate")):
        scene.intent(wanted)
        scene.accepted(wanted, request_id)
    broken = Completed(error_type=SERVER_ERROR.error_type)

    def status() -> Any:
        about = fal.calls[-1][1]
        waits = about == "of-the-plate" and loop.now < ENDED
        return InProgress() if waits else broken if about == "of-the-cup" else Completed()

    fal.says = {
        "status": [status],
        "result": [lambda: SERVER_ERROR if fal.calls[-1][1] == "of-the-cup" else images("cdn/0")],
        "lookup": [line("of-the-cup", CUP, status_code=500)],
        "POST": ["R1", "R2", "R3"],
    }

    async def work() -> tuple[Prepared, Feeder]:
        run = await prepare(replace(scene.job, rows=[rows(PLATE, SAUCER, CUP)]))
        feeder = Feeder(run)
        try:
            await feeder.work(asyncio.Event())
        finally:
            feeder.close()
            run.worker.close()
            run.planned.__exit__()
        return run, feeder

    run, feeder = loop.run_until_complete(work())
    assert sorted(about for name, about in fal.calls if name == "POST") == ["a cup", "a saucer"]
    assert run.results.spent.billed == 3 * 2 * UNIT_PRICE, "a cost was counted twice"
    assert feeder.done == run.total == 3, "a request had two workers"
