"""Collecting: an outcome only after its images are in the store; none from silence, one error, or a bad reading."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

import pytest

from dagster_gptimg.engine.collect.collect import Case, Collector, Lost
from dagster_gptimg.engine.collect.result_reads import AGREED_APART, FAR_APART, REFUSAL_APART, WORDS_APART
from dagster_gptimg.engine.follow.tracked_request import Seen, TooLate
from dagster_gptimg.errors import GoneError, ReadError, StoreError
from dagster_gptimg.fal.registry.price_formulas import Price
from dagster_gptimg.fal.types import Failure, HistoryItem, Pending
from dagster_gptimg.store.receipts.facts import Outcome
from tests.engine.scripted import (
    CUP,
    EPOCH,
    REFUSAL,
    SERVER_ERROR,
    UNIT_PRICE,
    Scene,
    at,
    images,
    line,
    png,
    request,
)

if TYPE_CHECKING:
    from dagster_gptimg.engine.follow.watcher import Watcher

CENT = Decimal("0.01")
EXACT, RANGE = Price(CENT, CENT), Price(CENT, CENT * 6)
PAIR = request("two cups", num_images=2)
ENDED = Failure(kind="ended", status_code=499, error_type="client_cancelled", message="the request was cancelled")


class Ends:
    """A watcher that tells at once what a test has it tell, the last of it for ever.

    Attributes:
        tells: what it saw of a request, or that it waits no longer.
        asked: how often somebody waited for an end.
    """

    def __init__(self, *tells: Seen | TooLate) -> None:
        self.tells = list(tells) or [Seen(is_completed=True, inference_time=2.5)]
        self.asked = 0

    async def ended(self, *_: Any, **__: Any) -> Seen | TooLate:
        self.asked += 1
        return self.tells.pop(0) if len(self.tells) > 1 else self.tells[0]


def case(scene: Scene, wanted: Any = CUP, **about: Any) -> Case:
    told: dict[str, Any] = {"price": EXACT, "fresh": True, "until": 3600.0} | about
    return Case(request=wanted, submitted=scene.fal.request(wanted.endpoint, "R1"), **told)


async def look(scene: Scene, wanted: Any = CUP, ends: Ends | None = None, **about: Any) -> Outcome | Lost | TooLate:
    """What becomes of a request that is collected now."""
    collector = Collector(scene.job, cast("Watcher", ends or Ends()))
    return await collector.collect(case(scene, wanted, **about))


async def collect(scene: Scene, wanted: Any = CUP, ends: Ends | None = None, **about: Any) -> Outcome:
    """The outcome of a request that is collected now."""
    found = await look(scene, wanted, ends, **about)
    assert isinstance(found, Outcome)
    return found


async def lost(scene: Scene, wanted: Any = CUP, **about: Any) -> str:
    """Why a request that is collected now has no outcome; nothing is on record of one."""
    found = await look(scene, wanted, **about)
    assert isinstance(found, Lost)
    assert not any("outcome" in name for name in scene.receipts(wanted))
    return found.why


# -- images first


async def test_an_outcome_names_images_that_are_in_the_store(scene: Scene) -> None:
    scene.fal.says["result"] = [images("cdn/0", "cdn/1")]
    found = await collect(scene, PAIR)
    assert (found.kind, found.request_id, len(found.images)) == ("stored", "R1", 2)
    assert [scene.store.read(f"d/{image.path}") for image in found.images] == [png("cdn/0"), png("cdn/1")]
    assert all(f"{PAIR.key}-R1-{n}" in image.path for n, image in enumerate(found.images))
    assert found.inference_s == 2.5


async def test_without_one_of_its_images_there_is_no_outcome(scene: Scene) -> None:
    scene.fal.says["result"] = [images("cdn/0", "cdn/1")]
    scene.fal.says["fetch"] = [lambda url: ReadError("reset") if url == "cdn/1" else png(url)]
    assert "image 1 is not available: reset" in await lost(scene, PAIR)
    assert sum(url == "cdn/0" for name, url in scene.fal.calls if name == "fetch") == 1  # that one is stored


async def test_an_image_that_the_store_does_not_take_is_no_outcome(scene: Scene) -> None:
    scene.fails["store_image"] = 1
    with pytest.raises(StoreError):
        await collect(scene)
    assert scene.receipts(CUP) == []


async def test_an_image_that_comes_broken_is_fetched_again_and_never_bought_again(scene: Scene) -> None:
    scene.fal.says["fetch"] = [png("cdn/0")[:-20], png("cdn/0")]
    found = await collect(scene)
    assert scene.store.read(f"d/{found.images[0].path}") == png("cdn/0")
    assert (scene.fal.count("fetch"), scene.fal.count("POST")) == (2, 0)


async def test_an_image_that_was_stored_before_a_crash_needs_no_cdn(scene: Scene) -> None:
    await collect(scene)  # its outcome was never put on record
    scene.fal.says["fetch"] = [GoneError("404")]
    found = await collect(scene)
    assert scene.has_whole(found.images[0])


async def test_fewer_images_than_asked_for_are_kept_and_more_are_noted(scene: Scene) -> None:
    assert len((await collect(scene, PAIR)).images) == 1
    scene.fal.says["result"] = [images("cdn/0", "cdn/1", "cdn/2")]
    found = await collect(scene, PAIR)
    assert len(found.images) == 2
    assert "1 were not fetched" in found.notes[0]


# -- what makes no outcome


@pytest.mark.parametrize("error", [ReadError("nginx 503"), GoneError("404")])
async def test_a_result_that_cannot_be_read_is_never_an_end(scene: Scene, error: ReadError) -> None:
    scene.fal.says["result"] = [error]
    await lost(scene)
    assert scene.fal.count("result") > 5


async def test_one_reading_of_an_error_is_no_end(scene: Scene) -> None:
    scene.fal.says["result"] = [SERVER_ERROR, images("cdn/0")]
    assert (await collect(scene)).kind == "stored"


async def test_an_old_request_is_looked_at_twice_and_its_server_error_is_no_end(scene: Scene) -> None:
    scene.fal.says["result"] = [SERVER_ERROR]
    assert "not yet sufficient evidence" in await lost(scene, accepted_at=at(-7200.0))
    assert scene.fal.count("result") == 2


async def test_a_request_that_fal_never_said_to_have_ended_has_no_end(scene: Scene) -> None:
    scene.fal.says["result"] = [REFUSAL]
    await lost(scene, ends=Ends(Seen(is_completed=False)))


async def test_a_result_that_is_still_pending_is_waited_for_again(scene: Scene) -> None:
    scene.fal.says["result"] = [Pending(), images("cdn/0")]
    ends = Ends()
    assert (await collect(scene, ends=ends)).kind == "stored"
    assert ends.asked == 2


async def test_a_request_that_does_not_end_is_left_to_a_later_run(scene: Scene) -> None:
    too_late = TooLate("not ended after 3600 s")
    assert await look(scene, ends=Ends(too_late)) == too_late
    assert scene.fal.calls == []


async def test_a_result_of_another_request_is_not_taken(scene: Scene) -> None:
    scene.fal.says["result"] = [images("cdn/other", answers_for="R9"), images("cdn/0", answers_for="R1")]
    found = await collect(scene)
    assert scene.store.read(f"d/{found.images[0].path}") == png("cdn/0")
    assert ("fetch", "cdn/other") not in scene.fal.calls


async def test_one_look_is_one_look(scene: Scene) -> None:
    scene.fal.says["result"] = [ReadError("503")]
    await lost(scene, once=True)
    assert scene.fal.count("result") == 1


# -- what does


@pytest.mark.parametrize(
    ("failure", "error_type", "apart"),
    [
        (REFUSAL, None, REFUSAL_APART),
        (SERVER_ERROR, None, FAR_APART),
        (ENDED, None, FAR_APART),
        (SERVER_ERROR, SERVER_ERROR.error_type, AGREED_APART),
    ],
)
async def test_an_end_without_images_takes_two_readings_apart(
    scene: Scene, failure: Failure, error_type: str | None, apart: float
) -> None:
    scene.fal.says["result"] = [failure]
    found = await collect(scene, ends=Ends(Seen(is_completed=True, error_type=error_type)))
    assert (found.kind, found.error_type, found.status_code) == (
        failure.kind,
        failure.error_type,
        failure.status_code,
    )
    assert found.error == failure.message
    assert "two readings of the result" in found.evidence
    assert scene.fal.count("result") >= 2
    assert scene.clock.seconds >= apart


async def test_a_line_of_the_history_is_the_second_witness(scene: Scene) -> None:
    scene.fal.says["result"] = [SERVER_ERROR]
    scene.fal.says["lookup"] = [line("R1", CUP, status_code=500)]
    found = await collect(scene)
    assert (found.kind, found.evidence) == ("free", "fal's status, result and history")
    assert scene.fal.count("result") == 1


def with_images(*urls: str) -> HistoryItem:
    return line("R1", CUP, json_output={"images": [{"url": url} for url in urls]})


@pytest.mark.parametrize("result", [REFUSAL, SERVER_ERROR, GoneError("expired")])
async def test_images_of_the_history_win_over_whatever_the_result_says(scene: Scene, result: Any) -> None:
    scene.fal.says["result"] = [result]
    scene.fal.says["lookup"] = [with_images("cdn/0")]
    found = await collect(scene)
    assert (found.kind, scene.has_whole(found.images[0])) == ("stored", True)


async def test_an_end_by_the_history_alone_takes_two_readings_apart(scene: Scene) -> None:
    scene.fal.says["result"] = [GoneError("expired")]
    scene.fal.says["lookup"] = [line("R1", CUP, status_code=422)]
    found = await collect(scene)
    assert found.kind == "ended"  # the history keeps no words: not a refusal, and as final
    assert "two readings of fal's history" in found.evidence
    assert scene.fal.count("lookup") >= 2
    assert scene.clock.seconds >= WORDS_APART


async def test_a_history_without_the_request_is_no_end(scene: Scene) -> None:
    scene.fal.says["result"] = [GoneError("expired")]
    assert "neither the result nor its images" in await lost(scene)


# -- what it cost


@pytest.mark.parametrize(
    ("units", "unit_price", "price", "cost"),
    [
        (3, UNIT_PRICE, RANGE, 3 * UNIT_PRICE),
        (0, UNIT_PRICE, RANGE, Decimal(0)),
        (None, UNIT_PRICE, EXACT, CENT),
        (None, UNIT_PRICE, RANGE, None),
        (3, ReadError("503"), EXACT, CENT),
        (3, ReadError("503"), RANGE, None),
    ],
)
async def test_a_cost_is_what_fal_billed_or_a_certain_price_and_no_guess(
    scene: Scene, units: int | None, unit_price: Any, price: Price, cost: Decimal | None
) -> None:
    scene.fal.says["result"] = [images("cdn/0", units=units)]
    scene.fal.says["unit_price"] = [unit_price]
    found = await collect(scene, price=price)
    assert found.cost_usd == cost
    assert found.billable_units == (None if units is None else Decimal(units))


async def test_a_failure_that_fal_never_bills_costs_nothing_and_a_refusal_what_fal_says(scene: Scene) -> None:
    scene.fal.says["result"] = [SERVER_ERROR]
    assert (await collect(scene)).cost_usd == 0
    scene.fal.says["result"] = [replace(REFUSAL, billable_units=Decimal(2))]
    assert (await collect(scene, until=10**6)).cost_usd == 2 * UNIT_PRICE
    scene.fal.says["result"] = [REFUSAL]
    assert (await collect(scene, until=10**6)).cost_usd is None


class Posted:
    """What webhooks brought: one image."""

    async def images(self, *_: str) -> Any:
        return images("cdn/0", units=None)


@pytest.mark.parametrize(("price", "reads"), [(EXACT, 0), (RANGE, 1)])
async def test_a_webhook_saves_the_reading_only_where_the_price_is_certain(
    scene: Scene, price: Price, reads: int
) -> None:
    collector = Collector(scene.job, cast("Watcher", Ends()), webhook_events=cast("Any", Posted()))
    found = await collector.collect(case(scene, price=price))
    assert isinstance(found, Outcome)
    assert found.kind == "stored"
    assert found.cost_usd == CENT
    assert scene.fal.count("result") == reads


async def test_who_waits_long_gives_its_place_to_others(scene: Scene) -> None:
    left: list[float] = []
    scene.fal.says["result"] = [*[ReadError("503")] * 5, images("cdn/0")]
    await collect(scene, on_wait=lambda: left.append(scene.clock.seconds))
    assert len(left) == 2  # the pauses of 8 and 16 seconds
    assert scene.clock.now() > EPOCH
