"""The picture of fal's queue, and what looks make of it."""

from __future__ import annotations

import asyncio
from math import inf
from typing import Any

import pytest

from dagster_gptimg.engine.follow.queue_model import QueueModel
from dagster_gptimg.engine.follow.tracked_request import Seen, TooLate, TrackedRequest
from dagster_gptimg.fal.types import Submitted


class Queue:
    """A picture, and fal's own view of the same requests: first come, first served, in so many slots."""

    def __init__(self, slots: int) -> None:
        self.slots, self.started, self.waited = slots, list[int](), list[int]()
        self.queue_model = QueueModel(lambda f: self.started.append(f.number), lambda f: self.waited.append(f.number))
        self.numbers = 0

    def add(self, count: int, *, fresh: bool = True, now: float = 0.0) -> None:
        for _ in range(count):
            ended: asyncio.Future[Seen | TooLate] = asyncio.Future()
            request = Submitted(
                request_id=str(self.numbers), endpoint="e", status_url="", response_url="", cancel_url=""
            )
            tracked = TrackedRequest(
                request=request, number=self.numbers, kind="kind", ended=ended, began=now, fresh=fresh, until=inf
            )
            self.queue_model.add(tracked)
            self.numbers += 1

    def look(self, tracked: TrackedRequest) -> None:
        """Tell the picture what fal says of a request."""
        if list(self.queue_model.requests).index(tracked.number) < self.slots:
            self.queue_model.is_running(tracked, 0.0)
        else:
            self.queue_model.is_queued(tracked, 0.0)

    def search(self) -> int:
        """Look at what tells most until the slots are known; returns the number of looks."""
        count = 0
        while (tracked := self.queue_model.unsure(1.0)) is not None:
            tracked.looked = 1.0
            self.look(tracked)
            count += 1
        return count

    @property
    def running(self) -> list[int]:
        return [n for n, f in self.queue_model.requests.items() if f.started is not None]


@pytest.fixture(autouse=True)
def loop() -> Any:
    """Futures want one."""
    found = asyncio.new_event_loop()
    asyncio.set_event_loop(found)
    yield
    asyncio.set_event_loop(None)
    found.close()


@pytest.mark.parametrize("slots", [1, 2, 3, 37, 40, 64, 99])
def test_slots_are_found_by_halving(slots: int) -> None:
    queue = Queue(slots)
    queue.add(100)
    assert queue.search() <= 9
    assert (queue.queue_model.slots, queue.running) == (slots, list(range(slots)))
    assert [f.number for f in queue.queue_model.waiting] == list(range(slots, 100))


def test_with_more_slots_than_requests_one_look_is_enough() -> None:
    queue = Queue(100)
    queue.add(60)
    assert queue.search() == 1
    assert (queue.queue_model.slots, len(queue.running)) == (None, 60)


def test_what_has_just_been_submitted_is_no_evidence() -> None:
    queue = Queue(1)
    queue.add(3, now=5.0)
    assert queue.queue_model.unsure(1.0) is None


def test_the_next_one_starts_when_one_ends() -> None:
    queue = Queue(2)
    queue.add(4)
    queue.search()
    queue.started.clear()
    queue.queue_model.drop(queue.queue_model.requests[0], 3.0)
    assert (queue.started, queue.queue_model.requests[2].started) == ([2], 3.0)
    queue.add(1)
    assert queue.running == [1, 2]


def test_more_slots_are_noticed_by_the_one_that_should_wait() -> None:
    queue = Queue(2)
    queue.add(5)
    queue.search()
    queue.slots = 4
    queue.look(queue.queue_model.waiting[0])
    queue.look(queue.queue_model.waiting[0])
    assert (queue.queue_model.slots, queue.running) == (4, [0, 1, 2, 3])


def test_one_that_ended_while_it_should_wait_is_a_slot_more() -> None:
    queue = Queue(2)
    queue.add(4)
    queue.search()
    waiting = queue.queue_model.waiting[0]
    assert queue.queue_model.has_ended(waiting)
    queue.queue_model.drop(waiting, 1.0)
    assert (queue.queue_model.slots, queue.running) == (3, [0, 1, 3])


def test_fewer_slots_are_noticed_by_one_that_should_run() -> None:
    queue = Queue(3)
    queue.add(6)
    queue.search()
    for number in (0, 1, 2):
        queue.queue_model.drop(queue.queue_model.requests[number], 1.0)
    queue.slots = 1
    queue.look(queue.queue_model.requests[4])
    assert (queue.queue_model.slots, queue.running) == (1, [3])
    assert [f.number for f in queue.queue_model.waiting] == [4, 5]
    assert queue.waited[-2:] == [5, 4]


def test_one_that_fal_tries_again_says_nothing_of_the_slots() -> None:
    queue = Queue(3)
    queue.add(5)
    queue.search()
    queue.queue_model.is_queued(queue.queue_model.requests[0], 7.0)
    assert (queue.queue_model.slots, queue.running) == (3, [0, 1, 2])
    assert queue.queue_model.requests[0].started == 7.0


def test_when_nothing_runs_the_first_one_may_start_at_any_moment() -> None:
    queue = Queue(0)
    queue.add(3)
    queue.queue_model.is_queued(queue.queue_model.requests[0], 7.0)
    assert (queue.queue_model.slots, queue.running) == (1, [0])
    assert queue.queue_model.requests[0].started == 7.0


def test_what_was_found_has_no_place_in_the_order() -> None:
    queue = Queue(2)
    queue.add(3, fresh=False)
    queue.queue_model.is_queued(queue.queue_model.requests[0], 7.0)
    assert (queue.queue_model.slots, queue.running) == (None, [0, 1, 2])
    assert queue.queue_model.unsure(1.0) is None
