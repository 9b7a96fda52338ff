"""The cost is known before: what is open was paid for, what has ended is reused, and only the rest is bought."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagster_gptimg.engine.forecast import forecast
from dagster_gptimg.engine.recover.open_receipts import OpenReceipts
from tests.engine.scripted import CUP, MODEL, RUN, plan, request

if TYPE_CHECKING:
    from tests.engine.scripted import Scene

MUG, VASE = request("a mug"), request("a vase")


async def test_a_plan_counts_what_is_open_as_paid_for_and_the_rest_as_to_buy(scene: Scene) -> None:
    scene.dataset.start_run(RUN)
    scene.intent(CUP)
    scene.accepted(CUP, "R1")
    scene.intent(VASE)
    receipts = await OpenReceipts.read(scene.job, scene.results)
    with plan(CUP, MUG, VASE) as planned:
        summary = forecast(scene.job, planned, receipts, scene.results).summary(0.0)
    assert (summary.rows, summary.reattached, summary.bought, summary.held) == (3, 1, 1, 1)
    assert summary.cost_high == MODEL.cost(MUG.arguments).high
