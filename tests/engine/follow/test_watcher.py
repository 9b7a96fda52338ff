"""The watcher on a clock that never waits, against a queue with slots: few looks, little lag, nothing forgotten."""

from __future__ import annotations

import asyncio
import random
from bisect import bisect_right
from dataclasses import dataclass, field
from heapq import heappop, heappush, heapreplace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from dagster_gptimg.base.retry_policies import STATUS
from dagster_gptimg.engine.follow.latency import SPARE, UNTOLD
from dagster_gptimg.engine.follow.learned_schedule import SCOUTS
from dagster_gptimg.engine.follow.schedule import STEP, FixedSteps
from dagster_gptimg.engine.follow.tracked_request import TooLate
from dagster_gptimg.engine.follow.watcher import Watcher
from dagster_gptimg.engine.submit.in_flight_limit import InFlightLimit, Place
from dagster_gptimg.errors import GoneError, KeyRejectedError, ReadError
from dagster_gptimg.fal.types import Completed, InProgress, Queued, Status, Submitted
from tests.simulation.virtual_time import Clock, VirtualLoop

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from dagster_gptimg.engine.follow.schedule import Schedule
    from dagster_gptimg.engine.follow.tracked_request import Hear, Teller
    from dagster_gptimg.engine.job import Job


@dataclass
class Queue:
    """fal's queue: first come, first served; each look costs 20 ms.

    Attributes:
        tells_time: whether a completed status has `inference_time`.
        busy: until when each slot is.
        broken: raised instead of an answer, by a request's number and the count of its looks.
    """

    loop: VirtualLoop
    slots: int = 40
    mean: float = 10.0
    tells_time: bool = True
    broken: Callable[[int, int], Exception | None] = lambda _number, _look: None
    stuck: frozenset[int] = frozenset()
    ends: list[float] = field(default_factory=list)
    begins: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    looks: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.draw = random.Random(1)

    def submit(self) -> Submitted:
        begin = self.loop.time()
        while len(self.busy) >= self.slots:
            begin = max(begin, heappop(self.busy))
        self.begins.append(begin)
        self.ends.append(begin + self.mean * self.draw.uniform(0.7, 1.3))
        heappush(self.busy, self.ends[-1])
        return Submitted(
            request_id=str(len(self.ends) - 1), endpoint="e", status_url="", response_url="", cancel_url=""
        )

    async def status(self, request: Submitted, *, logs: bool = False) -> Status:
        await asyncio.sleep(0.02)
        number, now = int(request.request_id), self.loop.time()
        self.looks[number] = self.looks.get(number, 0) + 1
        if (error := self.broken(number, self.looks[number])) is not None:
            raise error
        if now < self.begins[number]:
            return Queued(number - bisect_right(self.begins, now))
        if now < self.ends[number] or number in self.stuck:
            return InProgress()
        return Completed(inference_time=self.ends[number] - self.begins[number] if self.tells_time else None)


by_any_schedule = pytest.mark.parametrize("schedule", [lambda: None, FixedSteps], ids=["learned", "fixed"])
"""What holds of the watcher, whenever it looks."""


def run(work: Callable[[VirtualLoop], Coroutine[Any, Any, None]]) -> None:
    loop = VirtualLoop(0.0)
    try:
        loop.run_until_complete(work(loop))
    finally:
        loop.close()


def watcher(
    queue: Queue,
    in_flight_limit: InFlightLimit | None = None,
    patience: float = 7200.0,
    teller: Teller | None = None,
    schedule: Schedule | None = None,
) -> Watcher:
    runtime = SimpleNamespace(clock=Clock(queue.loop, 0.0))
    job = SimpleNamespace(fal=queue, runtime=runtime, options=SimpleNamespace(patience=patience, logs=False))
    return Watcher(cast("Job", job), in_flight_limit or InFlightLimit(), teller, schedule)


async def follow(
    queue: Queue, count: int, in_flight_limit: InFlightLimit | None = None, schedule: Schedule | None = None
) -> list[float]:
    """Submit and follow so many, as the window allows; returns how late each end was noticed."""
    in_flight_limit = in_flight_limit or InFlightLimit()
    watch, lags = watcher(queue, in_flight_limit, schedule=schedule), list[float]()

    async def one(place: Place, request: Submitted) -> None:
        await watch.ended(request, "kind", fresh=True)
        lags.append(queue.loop.time() - queue.ends[int(request.request_id)])
        place.leave()

    try:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(count):
                place = Place(in_flight_limit)
                await place.enter()
                tasks.create_task(one(place, queue.submit()))
                await asyncio.sleep(0.01)
    finally:
        watch.close()
    return lags


@pytest.mark.parametrize("slots", [2, 40, 200])
@pytest.mark.parametrize("tells_time", [True, False])
def test_looks_are_few_and_lag_is_small(slots: int, *, tells_time: bool) -> None:
    async def work(loop: VirtualLoop) -> None:
        queue = Queue(loop, slots=slots, tells_time=tells_time)
        count = {2: 400, 40: 2000, 200: 4000}[slots]
        lags = await follow(queue, count)
        assert len(lags) == count
        # Submit, result and download come on top; the first round, in which nothing is known yet, is counted.
        assert sum(queue.looks.values()) / count < (3.85 if tells_time else 4.5)
        assert sum(lags) / count < (0.054 if tells_time else 0.065) * queue.mean
        assert max(queue.ends) < 1.03 * ideal(queue, count)

    run(work)


def ideal(queue: Queue, count: int) -> float:
    """When all would have ended, had they been there from the start."""
    free = [0.0] * queue.slots
    for number in range(count):
        heapreplace(free, free[0] + queue.ends[number] - queue.begins[number])
    return max(free)


def test_a_look_that_is_due_between_two_turns_is_on_time() -> None:
    async def work(loop: VirtualLoop) -> None:
        queue = Queue(loop, broken=lambda _, look: ReadError("503") if look == 1 else None)
        request = queue.submit()
        await asyncio.sleep(60)
        began = loop.time()
        await watcher(queue).ended(request, "kind", fresh=False)
        # Two looks of 20 ms each, and the time between them; the next turn would be 30 ms later.
        assert loop.time() - began == pytest.approx(STATUS.first_pause + 0.04, abs=0.005)

    run(work)


@by_any_schedule
def test_a_run_knows_that_it_waits_behind_other_runs_and_not_behind_itself(
    schedule: Callable[[], Schedule | None],
) -> None:
    async def work(loop: VirtualLoop) -> None:
        queue = Queue(loop, slots=5)
        first, second = (watcher(queue, schedule=schedule()) for _ in range(2))
        async with asyncio.TaskGroup() as tasks:
            for run, count in ((first, 60), (second, 10)):
                for _ in range(count):
                    tasks.create_task(run.ended(queue.submit(), "kind", fresh=True))
                await asyncio.sleep(5)
            # All 55 that wait are before the second run's, and nobody's before the first one's.
            assert first.others_ahead == 0
            assert 40 <= second.others_ahead <= 55
        await asyncio.sleep(60)
        assert second.others_ahead == 0
        first.close()
        second.close()

    run(work)


@by_any_schedule
def test_a_request_that_was_found_is_looked_at_at_once(schedule: Callable[[], Schedule | None]) -> None:
    async def work(loop: VirtualLoop) -> None:
        queue = Queue(loop)
        request = queue.submit()
        await asyncio.sleep(60)
        began = loop.time()
        await watcher(queue, schedule=schedule()).ended(request, "kind", fresh=False)
        assert loop.time() - began < 0.1

    run(work)


@by_any_schedule
def test_reads_that_fail_are_repeated_and_one_that_is_gone_has_ended(schedule: Callable[[], Schedule | None]) -> None:
    async def work(loop: VirtualLoop) -> None:
        gone = GoneError("404")
        queue = Queue(loop, broken=lambda number, look: gone if number == 1 else ReadError("503") if look < 9 else None)
        lags = await follow(queue, 3, schedule=schedule())
        assert len(lags) == 3

    run(work)


@by_any_schedule
def test_a_request_that_never_ends_is_left_to_a_later_run(schedule: Callable[[], Schedule | None]) -> None:
    async def work(loop: VirtualLoop) -> None:
        queue = Queue(loop, stuck=frozenset({0}))
        seen = await watcher(queue, patience=600.0, schedule=schedule()).ended(queue.submit(), "kind", fresh=True)
        assert isinstance(seen, TooLate)
        assert 600 < loop.time() < 700

    run(work)


@by_any_schedule
def test_requests_that_never_end_hold_nobody_up(schedule: Callable[[], Schedule | None]) -> None:
    async def work(loop: VirtualLoop) -> None:
        # They hold no slot at fal: what seems to wait behind them has ended long ago.
        queue = Queue(loop, slots=4, stuck=frozenset(range(4)))
        watch = watcher(queue, patience=400.0, schedule=schedule())
        requests = [queue.submit() for _ in range(12)]
        found = await asyncio.gather(*(watch.ended(request, "kind", fresh=True) for request in requests))
        assert [isinstance(end, TooLate) for end in found] == [True] * 4 + [False] * 8

    run(work)


@by_any_schedule
def test_a_key_that_is_not_known_any_more_is_told_to_whoever_waits(schedule: Callable[[], Schedule | None]) -> None:
    async def work(loop: VirtualLoop) -> None:
        queue = Queue(loop, broken=lambda *_: KeyRejectedError("401"))
        with pytest.raises(KeyRejectedError):
            await watcher(queue, schedule=schedule()).ended(queue.submit(), "kind", fresh=True)

    run(work)


def test_places_that_are_taken_widen_nothing_before_their_requests_were_seen_running() -> None:
    async def work(loop: VirtualLoop) -> None:
        queue, in_flight_limit = Queue(loop, slots=40), InFlightLimit()
        watch, submitting, limits = watcher(queue, in_flight_limit), asyncio.Semaphore(8), list[int]()

        async def one(place: Place) -> None:
            async with submitting:  # a place is taken long before its request is at fal
                await asyncio.sleep(0.1)
            limits.append(in_flight_limit.limit)
            await watch.ended(queue.submit(), "kind", fresh=True)
            place.leave()

        async with asyncio.TaskGroup() as tasks:
            for _ in range(300):
                place = Place(in_flight_limit)
                await place.enter()
                tasks.create_task(one(place))
        watch.close()
        assert max(limits) == 100

    run(work)


def test_while_nothing_is_known_only_the_scouts_are_looked_at_again() -> None:
    async def work(loop: VirtualLoop) -> None:
        queue = Queue(loop, slots=400, mean=120.0)
        following = asyncio.create_task(follow(queue, 300))
        await asyncio.sleep(60)
        assert sum(looks > 1 for looks in queue.looks.values()) <= SCOUTS + 1  # and the one that was asked for twice
        assert len(queue.looks) < 100
        following.cancel()
        await asyncio.wait({following})

    run(work)


def test_slots_that_come_later_are_found_and_used() -> None:
    async def work(loop: VirtualLoop) -> None:
        queue, in_flight_limit = Queue(loop, slots=10), InFlightLimit()
        await follow(queue, 200, in_flight_limit)
        assert in_flight_limit.limit == 100
        queue.slots = 200
        began = loop.time()
        await follow(queue, 1000, in_flight_limit)
        assert in_flight_limit.limit >= 200
        assert loop.time() - began < 100

    run(work)


class Noting(InFlightLimit):
    """A window that notes the slots that it is told of."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[int] = []

    def learned(self, slots: int, rate: float) -> None:
        self.told.append(slots)
        super().learned(slots, rate)


def test_slots_that_were_seen_are_not_counted_anew_while_ends_come_in_waves() -> None:
    async def work(loop: VirtualLoop) -> None:
        in_flight_limit = Noting()
        await follow(Queue(loop, slots=40), 600, in_flight_limit)
        assert set(in_flight_limit.told[1:]) == {40}

    run(work)


class Tells:
    """Says that it tells of all requests, and tells of the first one only."""

    def follow(self, request: Submitted, hear: Hear, *, fresh: bool) -> bool:
        if request.request_id == "0":
            asyncio.get_running_loop().call_later(15, hear, "0", Completed(inference_time=10.0))
        return fresh

    def leave(self, request: Submitted) -> None: ...
    def turn(self) -> None: ...
    def close(self) -> None: ...


def test_an_end_that_nobody_tells_of_is_asked_for_once_it_is_known_how_long_requests_take() -> None:
    async def work(loop: VirtualLoop) -> None:
        queue = Queue(loop)
        watch = watcher(queue, teller=Tells())
        await asyncio.gather(*(watch.ended(queue.submit(), "kind", fresh=True) for _ in range(2)))
        assert 20 < loop.time() < 2 * 15 + SPARE + 1 < UNTOLD

    run(work)


def test_nobody_waits_for_ever_when_the_timer_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(loop: VirtualLoop) -> None:
        schedule = FixedSteps()
        monkeypatch.setattr(schedule, "probe", lambda _: 1 // 0)
        watch = watcher(queue := Queue(loop), schedule=schedule)
        with pytest.raises(ZeroDivisionError):
            await watch.ended(queue.submit(), "kind", fresh=True)

    run(work)


@by_any_schedule
def test_who_does_not_wait_any_more_is_not_looked_at(schedule: Callable[[], Schedule | None]) -> None:
    async def work(loop: VirtualLoop) -> None:
        queue = Queue(loop)
        watch = watcher(queue, schedule=schedule())
        task = asyncio.create_task(watch.ended(queue.submit(), "kind", fresh=True))
        await asyncio.sleep(3.5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        looks = dict(queue.looks)
        await asyncio.sleep(100)
        assert queue.looks == looks
        watch.close()

    run(work)


def test_fixed_steps_look_at_every_request_once_a_step() -> None:
    async def work(loop: VirtualLoop) -> None:
        queue = Queue(loop, slots=4)
        lags = await follow(queue, 40, schedule=FixedSteps())
        assert max(lags) < STEP + 0.2
        for number, looks in queue.looks.items():
            assert looks == pytest.approx((queue.ends[number] + STEP - 0.01 * number) / STEP, abs=3)

    run(work)
