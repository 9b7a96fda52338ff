"""How submits slow down, and when a run buys nothing more: by what fal answers, on a clock that never waits."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from dagster_gptimg.engine.submit.in_flight_limit import InFlightLimit
from dagster_gptimg.engine.submit.rejections import Rejections
from dagster_gptimg.engine.submit.stop import Stop
from dagster_gptimg.errors import (
    AccountLockedError,
    AmbiguousSubmitError,
    NotSentError,
    ReadError,
    RejectedError,
    SubmitError,
)
from dagster_gptimg.fal.registry.builtin import get_model
from tests.simulation.virtual_time import Clock, VirtualLoop

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from dagster_gptimg.engine.job import Job

MODEL = get_model("gpt-image-1-mini")
MINUTE = 60.0


class Run:
    """Submits of many rows; what fal answers depends on the moment.

    Attributes:
        sent: (second, whether fal took it) of every submit.
    """

    def __init__(
        self, loop: VirtualLoop, answer: Callable[[float], SubmitError | None], *, is_gone: bool = False
    ) -> None:
        self.loop, self.answer, self.gone = loop, answer, is_gone
        clock = Clock(loop, 0.0)
        self.stop = Stop(clock)
        job = SimpleNamespace(runtime=SimpleNamespace(clock=clock), fal=self, model=MODEL)
        self.rejections = Rejections(cast("Job", job), self.stop, InFlightLimit(), lambda: 3)
        self.sent = list[tuple[float, bool]]()
        self.own = 0

    async def is_gone(self, endpoint: str) -> bool:
        if not self.gone:
            raise ReadError("nobody tells")
        return self.gone

    async def one(self) -> None:
        """One row: it is sent until fal takes it, nobody knows, or the run stops."""
        while True:
            async with self.stop.turn() as may_send:
                if not may_send:
                    return
                error = self.answer(self.loop.time())
                self.sent.append((self.loop.time(), error is None))
                await asyncio.sleep(0.1)
                if error is None:
                    self.stop.accepted()
                    return
                if isinstance(error, AmbiguousSubmitError):
                    self.stop.left_in_doubt(error)
                    return
                if await self.rejections.is_of_this_request(MODEL.endpoint, error):
                    self.own += 1
                    return


def blip(begins: float, seconds: float, error: SubmitError) -> Callable[[float], SubmitError | None]:
    return lambda now: error if begins <= now < begins + seconds else None


def run(answer: Callable[[float], SubmitError | None], rows: int = 30, **how: Any) -> Run:
    loop, found = VirtualLoop(0.0), list[Run]()

    async def work() -> None:
        found.append(Run(loop, answer, **how))
        await asyncio.gather(*(found[0].one() for _ in range(rows)))

    _to_the_end(loop, work())
    return found[0]


def _to_the_end(loop: VirtualLoop, work: Coroutine[Any, Any, None]) -> None:
    try:
        loop.run_until_complete(work)
    finally:
        loop.close()


@pytest.mark.parametrize("seconds", [3.0, 30.0, 180.0])
@pytest.mark.parametrize("begins", [0.0, 0.55])
def test_of_a_blip_that_leaves_submits_in_doubt_few_rows_suffer(begins: float, seconds: float) -> None:
    ran = run(blip(begins, seconds, AmbiguousSubmitError("502")))
    held = sum(not taken for _, taken in ran.sent)
    assert ran.stop.reason is None
    assert (held <= 5, len(ran.sent)) == (True, 30)


def test_one_connection_that_breaks_slows_nothing_down() -> None:
    broken = iter([None, AmbiguousSubmitError("reset")])
    ran = run(lambda _: next(broken, None), rows=100)
    assert ran.loop.time() < 10.0


@pytest.mark.parametrize("seconds", [3.0, 30.0, 180.0])
@pytest.mark.parametrize(
    "error",
    [
        NotSentError("connection refused"),
        RejectedError("too many", status_code=429),
        RejectedError("no key", status_code=401),
        RejectedError("no", status_code=403),
        RejectedError("not found", status_code=404),
    ],
    ids=["not sent", "429", "401", "403", "404"],
)
def test_what_fal_turns_away_for_a_moment_is_sent_again_and_the_run_goes_on(error: SubmitError, seconds: float) -> None:
    ran = run(blip(0.3, seconds, error))
    assert (ran.stop.reason, sum(taken for _, taken in ran.sent), ran.own) == (None, 30, 0)
    assert sum(not taken for _, taken in ran.sent) < 40
    assert ran.loop.time() < seconds + 1.2 * MINUTE


def test_an_endpoint_that_fal_does_not_list_any_more_ends_the_buying_at_once_and_says_how_to_move_on() -> None:
    ran = run(lambda _: RejectedError("not found", status_code=404), is_gone=True)
    assert (ran.stop.reason, ran.loop.time() < 5.0) == ("unusable", True)
    for words in (
        MODEL.endpoint,
        "3 requests are in flight and are collected",
        f"plan TABLE --model {MODEL.successor}",
    ):
        assert words in ran.stop.message


@pytest.mark.parametrize("code", [401, 403, 404])
def test_what_fal_says_for_minutes_of_key_or_endpoint_ends_the_buying(code: int) -> None:
    ran = run(lambda _: RejectedError("no", status_code=code))
    assert ran.stop.reason == "unusable"
    assert 4 * MINUTE < ran.loop.time() < 8 * MINUTE


def test_a_locked_account_ends_the_buying_at_once() -> None:
    ran = run(lambda _: AccountLockedError("User is locked", status_code=403))
    assert (ran.stop.reason, len(ran.sent) <= 2) == ("locked", True)


@pytest.mark.parametrize("error", [NotSentError("refused"), RejectedError("too many", status_code=429)])
def test_a_fal_that_takes_nothing_for_a_quarter_of_an_hour_is_unusable(error: SubmitError) -> None:
    ran = run(lambda _: error)
    assert ran.stop.reason == "unusable"
    assert 14 * MINUTE < ran.loop.time() < 18 * MINUTE


def test_answers_that_never_tell_end_the_buying_after_few_rows() -> None:
    ran = run(lambda _: AmbiguousSubmitError("502"))
    assert (ran.stop.reason, len(ran.sent) <= 7) == ("unusable", True)


def test_a_rejection_of_one_rows_inputs_is_that_rows_alone() -> None:
    answers = iter([None, RejectedError("bad", status_code=422)])
    ran = run(lambda _: next(answers, None))
    assert (ran.stop.reason, ran.own, ran.loop.time() < 3.0) == (None, 1, True)
