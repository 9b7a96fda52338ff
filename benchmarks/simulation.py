"""The watcher and the window on a clock that is only a number: what they cost, without waiting for it.

The real `Watcher`, `InFlightLimit` and `Place`; only fal and time are not. A request costs no bytes and no receipt
here.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

from benchmarks.policy import drawer
from dagster_gptimg.engine.follow.watcher import Watcher
from dagster_gptimg.engine.job import Job
from dagster_gptimg.engine.submit.in_flight_limit import InFlightLimit, Place
from dagster_gptimg.fal.types import Completed, InProgress, Queued, Status, Submitted
from tests.simulation.virtual_time import Clock, VirtualLoop

CALL = 0.05
"""Seconds of a submit, and of a result with its download."""


class _Fal:
    """Slots, first come first served."""

    def __init__(self, slots: int, now: Callable[[], float], draw: Callable[[], float]) -> None:
        self._free, self._now, self._draw = [0.0] * slots, now, draw
        self._flying: dict[str, tuple[float, float]] = {}
        self.calls: Counter[str] = Counter()
        self.lag = self.last_end = 0.0
        self.drawn: list[float] = []

    def submit(self, number: int) -> Submitted:
        self.calls["submit"] += 1
        self.drawn.append(self._draw())
        starts = max(self._now(), heapq.heappop(self._free))
        ends = starts + self.drawn[-1]
        heapq.heappush(self._free, ends)
        self.last_end = max(self.last_end, ends)
        self._flying[str(number)] = (starts, ends)
        return Submitted(request_id=str(number), endpoint="e", status_url="", response_url="", cancel_url="")

    async def status(self, request: Submitted, *, logs: bool = False) -> Status:
        del logs
        self.calls["status"] += 1
        (starts, ends), now = self._flying[request.request_id], self._now()
        if now < starts:
            return Queued(None)
        if now < ends:
            return InProgress()
        self.lag += now - ends
        return Completed(inference_time=ends - starts)

    def collect(self, request: Submitted) -> None:
        self.calls.update(("result", "file"))
        del self._flying[request.request_id]


class Simulated(NamedTuple):
    """One simulated run.

    Attributes:
        wall: seconds that it would have taken. cpu: seconds that the simulation took.
        calls: an image. lag: mean, in seconds. most: requests in flight at once.
    """

    wall: float
    cpu: float
    calls: float
    lag: float
    most: int
    drawn: list[float]


def simulate(images: int, slots: int, latency: float, spread: float = 0.6, seed: int = 1) -> Simulated:
    """Run the watcher and the window over so many images."""
    loop, began = VirtualLoop(0.0), time.process_time()
    try:
        fal = _Fal(slots, loop.time, drawer(spread, latency, seed))
        most = loop.run_until_complete(_run(images, fal, loop))
        calls = sum(fal.calls.values()) / images
        return Simulated(loop.now, time.process_time() - began, calls, fal.lag / images, most, fal.drawn)
    finally:
        loop.close()


async def _run(images: int, fal: _Fal, loop: VirtualLoop) -> int:
    in_flight_limit = InFlightLimit()
    options: Any = SimpleNamespace(patience=float("inf"), logs=False)
    job: Any = SimpleNamespace(fal=fal, runtime=SimpleNamespace(clock=Clock(loop, 0.0)), options=options)
    watcher, submits = Watcher(cast("Job", job), in_flight_limit), asyncio.Semaphore(8)
    tasks, most = set[asyncio.Task[None]](), 0

    async def one(number: int, place: Place) -> None:
        async with submits:
            await asyncio.sleep(CALL)
            request = fal.submit(number)
        await watcher.ended(request, "kind", fresh=True)
        await asyncio.sleep(CALL)
        fal.collect(request)
        place.leave()

    for number in range(images):
        place = Place(in_flight_limit)
        await place.enter()
        most = max(most, in_flight_limit.taken)
        task = asyncio.create_task(one(number, place))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    while tasks:
        await asyncio.wait(tasks)
    watcher.close()
    return most
