"""One request's way: money is reserved before the POST, and every step is on record before the next one."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from dagster_gptimg.base.row_status import RowStatus
from dagster_gptimg.engine.job import Options
from dagster_gptimg.engine.submit.budget import Budget
from dagster_gptimg.engine.submit.in_flight_limit import InFlightLimit
from dagster_gptimg.engine.submit.stop import Stop
from dagster_gptimg.engine.worker import Worker
from dagster_gptimg.errors import AmbiguousSubmitError, NotSentError, ReadError, RejectedError, StoreError
from dagster_gptimg.fal.registry.price_formulas import Price
from dagster_gptimg.fal.types import Completed
from dagster_gptimg.store.settled.rows import Settled
from tests.engine.scripted import CUP, REFUSAL, SERVER_ERROR, UNIT_PRICE, Scene, images, line
from tests.simulation.virtual_time import Clock, VirtualLoop, bury

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from dagster_gptimg.engine.record.results import Result

T = TypeVar("T")
CENT, NOTHING = Decimal("0.01"), Decimal(0)
PRICE = Price(CENT, CENT * 6)


class Desk:
    """A worker on a clock that is a number, over one scene.

    Attributes:
        attempts: that a request may be given in the run.
    """

    def __init__(self, loop: VirtualLoop, make: Callable[..., Scene], limit: Decimal | None, **options: Any) -> None:
        self.scene = make(clock=Clock(loop, 0.0), options=Options(settle=5.0, patience=3600.0, **options))
        self.budget, self.stop = Budget(limit), Stop(self.scene.job.runtime.clock)
        scene, limits = self.scene, InFlightLimit()
        self.worker = Worker(scene.job, scene.results, self.budget, self.stop, limits, lambda _: None)

    async def run(self, **about: Any) -> Result:
        """What becomes of `CUP`."""
        told: dict[str, Any] = {"price": PRICE, "left": self.scene.options.attempts} | about
        return await self.worker.run(self.scene.progress(CUP, **told))

    @property
    def posts(self) -> int:
        return self.scene.fal.count("POST")


@pytest.fixture
def at_desk(make_scene: Callable[..., Scene]) -> Iterator[Callable[..., T]]:
    """Runs a coroutine with a desk, in virtual time."""
    loops: list[VirtualLoop] = []

    def call(work: Callable[[Desk], Coroutine[Any, Any, T]], limit: Decimal | None = None, **options: Any) -> T:
        loop = VirtualLoop(0.0)
        loops.append(loop)

        async def with_desk() -> T:
            desk = Desk(loop, make_scene, limit, **options)
            try:
                return await work(desk)
            finally:
                desk.worker.close()

        return loop.run_until_complete(with_desk())

    yield call
    for loop in loops:
        bury(loop)


def test_a_request_is_bought_collected_and_on_record_in_this_order(at_desk: Callable[..., None]) -> None:
    async def work(desk: Desk) -> None:
        found = await desk.run()
        assert isinstance(found, Settled)
        assert (found.kind, found.cost_usd, found.bought_by) == ("stored", 2 * UNIT_PRICE, desk.scene.results.run)
        assert desk.scene.receipts(CUP) == ["0.accepted.R1.reply", "0.intent", "0.outcome.R1"]
        done = [name for name in desk.scene.did if name.startswith(("create", "store_image"))]
        assert done == ["create_intent", "create_accepted", "store_image", "create_outcome"]

    at_desk(work)


def test_the_worst_case_is_reserved_when_the_post_leaves_and_refunded_by_what_was_billed(
    at_desk: Callable[..., None],
) -> None:
    async def work(desk: Desk) -> None:
        seen: list[tuple[Decimal, Decimal]] = []

        def reply(_: Any) -> str:
            seen.append((desk.budget.reserved, desk.budget.spent))
            return "R1"

        desk.scene.fal.says["POST"] = [reply]
        await desk.run()
        assert seen == [(PRICE.high, NOTHING)]
        assert (desk.budget.reserved, desk.budget.spent) == (NOTHING, 2 * UNIT_PRICE)

    at_desk(work, limit=PRICE.high)


def test_a_post_that_could_pass_the_budget_is_not_sent(at_desk: Callable[..., None]) -> None:
    async def work(desk: Desk) -> None:
        found = await desk.run()
        assert found.status is RowStatus.NOT_SUBMITTED
        assert (desk.posts, desk.scene.receipts(CUP), desk.stop.reason) == (0, [], "budget")

    at_desk(work, limit=PRICE.high - CENT)


def test_an_ambiguous_reply_is_followed_by_no_second_post_and_stays_spent_at_worst_case(
    at_desk: Callable[..., None],
) -> None:
    async def work(desk: Desk) -> None:
        desk.scene.fal.says["POST"] = [AmbiguousSubmitError("the reply was lost")]
        found = await desk.run()
        assert found.status is RowStatus.HELD
        assert (desk.posts, desk.scene.receipts(CUP)) == (1, ["0.intent"])
        assert (desk.budget.reserved, desk.budget.spent) == (NOTHING, PRICE.high)
        assert (desk.scene.results.spent.low, desk.scene.results.spent.billed) == (NOTHING, NOTHING)

    at_desk(work, limit=Decimal(1))


def test_an_attempt_in_doubt_is_not_sent_again_by_a_later_run(at_desk: Callable[..., None]) -> None:
    async def work(desk: Desk) -> None:
        desk.scene.intent(CUP)
        assert (await desk.run()).status is RowStatus.HELD
        assert desk.posts == 0

    at_desk(work)


def test_what_fal_rejects_for_its_inputs_costs_nothing_and_fails_alone(at_desk: Callable[..., None]) -> None:
    async def work(desk: Desk) -> None:
        desk.scene.fal.says["POST"] = [RejectedError("bad", status_code=422)]
        found = await desk.run()
        assert (found.status, desk.posts, desk.stop.reason) == (RowStatus.FAILED, 1, None)
        assert (desk.budget.reserved, desk.budget.spent) == (NOTHING, NOTHING)

    at_desk(work, limit=PRICE.high)


def test_a_free_failure_is_tried_again_as_a_new_attempt_and_not_for_ever(at_desk: Callable[..., None]) -> None:
    async def work(desk: Desk) -> None:
        ids = iter(("R1", "R2", "R3", "R4"))
        fal = desk.scene.fal
        fal.says["POST"] = [lambda _: next(ids)]
        fal.says["status"] = [Completed(error_type=SERVER_ERROR.error_type)]
        fal.says["result"] = [SERVER_ERROR]
        fal.says["lookup"] = [line("R1", CUP, status_code=500)]
        found = await desk.run()
        assert (found.status, desk.posts) == (RowStatus.FAILED, desk.scene.options.attempts)
        assert desk.budget.spent == 0
        outcomes = [name for name in desk.scene.receipts(CUP) if "outcome" in name]
        assert outcomes == ["0.outcome.R1", "1.outcome.R2", "2.outcome.R3"]

    at_desk(work, limit=PRICE.high)


def test_a_refusal_is_final_and_on_record_after_two_readings_apart(at_desk: Callable[..., None]) -> None:
    async def work(desk: Desk) -> None:
        desk.scene.fal.says["result"] = [REFUSAL]
        found = await desk.run()
        assert found.status is RowStatus.REFUSED
        assert (desk.posts, desk.scene.fal.count("result")) == (1, 2)
        assert (await desk.run()).status is RowStatus.REFUSED
        assert desk.posts == 1

    at_desk(work)


def test_images_that_cannot_be_had_are_lost_for_now_and_nothing_is_bought_for_them(
    at_desk: Callable[..., None],
) -> None:
    async def work(desk: Desk) -> None:
        desk.scene.fal.says["fetch"] = [ReadError("503")]
        found = await desk.run()
        assert found.status is RowStatus.LOST
        assert (desk.posts, desk.scene.receipts(CUP)) == (1, ["0.accepted.R1.reply", "0.intent"])
        assert desk.budget.spent == PRICE.high
        del desk.scene.fal.says["fetch"]
        assert (await desk.run()).status is RowStatus.STORED
        assert desk.posts == 1

    at_desk(work, limit=Decimal(1))


def test_another_runs_attempt_is_followed_and_not_bought(at_desk: Callable[..., None]) -> None:
    async def work(desk: Desk) -> None:
        progress = desk.scene.progress(CUP, price=PRICE)
        desk.scene.intent(CUP)  # after this run has looked
        desk.scene.accepted(CUP, "R9")
        found = await desk.worker.run(progress)
        assert isinstance(found, Settled)
        assert (found.request_id, desk.posts) == ("R9", 0)
        assert (desk.budget.reserved, desk.budget.spent) == (NOTHING, NOTHING)

    at_desk(work, limit=PRICE.high)


def test_a_request_that_two_attempts_name_is_counted_once(at_desk: Callable[..., None]) -> None:
    async def work(desk: Desk) -> None:
        for n in range(2):  # both replies were lost, and the history told the same request for both
            desk.scene.intent(CUP, n)
            desk.scene.accepted(CUP, "R9", n, how="history")
        progress = desk.scene.progress(CUP, price=PRICE)
        progress.attempts[0].add_outcome("R9", desk.scene.outcome(CUP, "R9", cost_usd=UNIT_PRICE))  # by another run
        await desk.worker.run(progress)
        recorded = [attempt.outcomes["R9"] for attempt in progress.attempts]
        assert [outcome is not None and outcome.kind for outcome in recorded] == ["stored", "stored"]
        assert desk.posts == 0
        assert desk.scene.results.spent.billed == UNIT_PRICE

    at_desk(work)


def test_a_request_that_no_row_asks_for_is_collected_and_never_bought(at_desk: Callable[..., None]) -> None:
    async def work(desk: Desk) -> None:
        assert (await desk.run(buys=False)).status is RowStatus.NOT_SUBMITTED
        desk.scene.intent(CUP)
        desk.scene.accepted(CUP, "R1")
        assert (await desk.run(buys=False)).status is RowStatus.STORED
        assert desk.posts == 0

    at_desk(work)


def test_after_a_reason_to_stop_nothing_is_sent(at_desk: Callable[..., None]) -> None:
    async def work(desk: Desk) -> None:
        desk.stop.because("locked", "User is locked")
        assert (await desk.run()).status is RowStatus.NOT_SUBMITTED
        assert (desk.posts, desk.budget.reserved) == (0, NOTHING)

    at_desk(work, limit=Decimal(1))


def test_a_request_that_waits_for_its_turn_is_not_sent_after_a_reason_to_stop(at_desk: Callable[..., None]) -> None:
    async def work(desk: Desk) -> None:
        desk.stop.turned_away(NotSentError("connection refused"))  # holds all submits back for a second
        running = asyncio.create_task(desk.run())
        await asyncio.sleep(0.5)
        assert (desk.posts, desk.budget.reserved) == (0, PRICE.high)
        desk.stop.because("locked", "User is locked")
        assert (await running).status is RowStatus.NOT_SUBMITTED
        assert (desk.posts, desk.budget.reserved, desk.budget.spent) == (0, NOTHING, NOTHING)
        assert desk.scene.receipts(CUP) == []

    at_desk(work, limit=Decimal(1))


def test_an_outcome_that_the_store_does_not_take_leaves_the_request_in_flight(at_desk: Callable[..., None]) -> None:
    async def work(desk: Desk) -> None:
        desk.scene.fails["create_outcome"] = 1
        with pytest.raises(StoreError):
            await desk.run()
        assert desk.scene.receipts(CUP) == ["0.accepted.R1.reply", "0.intent"]
        assert (await desk.run()).status is RowStatus.STORED
        assert desk.posts == 1

    at_desk(work)


def test_a_submit_that_is_under_way_is_not_torn_apart_by_an_interrupt(at_desk: Callable[..., None]) -> None:
    async def work(desk: Desk) -> None:
        answers, submit = asyncio.Event(), desk.scene.fal.submit

        async def slowly(*given: Any) -> Any:
            found = await submit(*given)
            await answers.wait()
            return found

        desk.scene.fal.submit = slowly  # type: ignore[method-assign,assignment]
        running = asyncio.create_task(desk.run())
        while not desk.posts:  # noqa: ASYNC110 - nobody would set an event
            await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.sleep(0.01)
        answers.set()
        await desk.worker.sent(5.0)
        assert desk.scene.receipts(CUP) == ["0.accepted.R1.reply", "0.intent"]

    at_desk(work)


def test_the_users_word_buys_again_what_was_refused_once(at_desk: Callable[..., None]) -> None:
    async def work(desk: Desk) -> None:
        desk.scene.intent(CUP)
        desk.scene.accepted(CUP, "R0")
        desk.scene.outcome(CUP, "R0", "refused")
        desk.scene.fal.says["result"] = [images("cdn/0")]
        assert (await desk.run()).status is RowStatus.STORED
        intent = desk.scene.dataset.receipts.load(CUP.key)[1].intent
        assert intent is not None
        assert intent.word is not None
        assert desk.posts == 1

    at_desk(work, again=frozenset({"refused"}))
