"""A summary: one count of rows, images and dollars, for exit status, sentence and JSON; a bound is never too low."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, get_args

import pytest

from dagster_gptimg.base.exit_status import STOPPED, ExitStatus, StopReason
from dagster_gptimg.base.row_status import COMPLETE, TOLD, RowStatus
from dagster_gptimg.definitions import metadata
from dagster_gptimg.engine.record.results import Unsettled
from dagster_gptimg.engine.record.summary import Spent, Summary, Tally, worst
from dagster_gptimg.fal.registry.price_formulas import UNKNOWN, Price
from dagster_gptimg.store.settled.rows import Brief
from tests.engine.scripted import CUP, RUN

if TYPE_CHECKING:
    from dagster_gptimg.store.settled.rows import Settled
    from tests.engine.scripted import Scene

CENT = Decimal("0.01")
PRICE = Price(CENT, CENT * 6)


@pytest.fixture
def line(scene: Scene) -> Settled:
    """A request with one image that this run has bought and collected for a cent."""
    return scene.settled(CUP, "R1")


# -- what was spent


def test_what_fal_does_not_tell_counts_as_nothing_below_and_as_the_worst_case_above() -> None:
    spent = Spent()
    spent.add(CENT, PRICE)
    assert (spent.low, spent.high, spent.billed) == (CENT, CENT, CENT)
    spent.add(None, PRICE)
    assert (spent.low, spent.high, spent.billed) == (CENT, CENT * 7, CENT)
    spent.doubt(PRICE)
    assert (spent.low, spent.high, spent.billed) == (CENT, CENT * 13, CENT)


@pytest.mark.parametrize("cost", ["NaN", "Infinity", "1e20"])
def test_a_cost_that_is_not_plausible_is_not_known(cost: str) -> None:
    spent = Spent()
    spent.add(Decimal(cost), PRICE)
    assert (spent.low, spent.high, spent.billed) == (Decimal(0), PRICE.high, Decimal(0))


def test_a_price_that_nobody_knows_makes_the_upper_end_unknown() -> None:
    spent = Spent()
    spent.add(None, UNKNOWN)
    summary = Tally(RUN, spent).summary(0.0)
    assert (summary.is_billed, summary.cost.is_known) == (False, False)
    assert summary.bill == "$0.00 known to be billed, the rest unknown"
    assert summary.as_json()["cost_usd"] == {"low": None, "high": None, "billed": 0.0}


# -- whose an image is


@pytest.mark.parametrize(
    ("about", "whose"),
    [
        ({}, "bought"),
        ({"bought_by": "another run"}, "reattached"),
        ({"settled_by": "another run"}, "reused"),
        ({"bought_by": "another run", "settled_by": "another run"}, "reused"),
    ],
)
def test_an_image_is_bought_reattached_or_reused(line: Settled, about: dict[str, Any], whose: str) -> None:
    tally = Tally(RUN)
    tally.row(RowStatus.STORED)
    tally.request(line._replace(**about), PRICE)
    summary = tally.summary(1.0)
    counts = {name: getattr(summary, name) for name in ("bought", "reattached", "reused")}
    assert counts == dict.fromkeys(counts, 0) | {whose: 1}
    assert summary.images == 1


def test_of_what_is_not_settled_only_what_this_run_has_sent_can_cost_something() -> None:
    for status in (RowStatus.HELD, RowStatus.IN_FLIGHT, RowStatus.LOST):
        for run, high in ((RUN, PRICE.high), ("another run", 0), (None, 0)):
            tally = Tally(RUN)
            tally.request(Unsettled(key="k", status=status, bought_by=run), PRICE)
            assert tally.summary(0.0).cost_high == high


def test_what_was_taken_for_older_and_is_this_runs_is_counted_once(line: Settled) -> None:
    written, tally = Tally(RUN), Tally(RUN)
    written.request(line, PRICE)
    tally.brief(Brief("stored", 1, is_missing=False, version=0))
    tally.brief(Brief("stored", 1, is_missing=True, version=0))
    tally.take_as_own(written)
    summary = tally.summary(0.0)
    assert (summary.images, summary.bought, summary.reused) == (1, 1, 0)


def test_rows_that_had_ended_are_counted_by_their_worst_request() -> None:
    tally = Tally(RUN)
    stored, refused = Brief("stored", 2, is_missing=False, version=1), Brief("refused", 0, is_missing=False, version=2)
    gone = Brief("stored", 1, is_missing=True, version=9)
    tally.ended([[stored], [stored, refused], [gone], [stored]])
    summary = tally.summary(0.0)
    assert (summary.rows, summary.stored, summary.refused, summary.missing) == (4, 2, 1, 1)
    assert summary.reused == 6


# -- what a plan expects


def test_a_plan_counts_a_new_row_at_the_price_of_each_of_its_requests() -> None:
    tally = Tally(RUN)
    tally.new([PRICE, PRICE], 8)
    summary = tally.summary(0.0)
    assert (summary.rows, summary.bought, tally.open_requests) == (1, 8, 2)
    assert summary.cost == Price(CENT * 2, CENT * 12)


@pytest.mark.parametrize(
    ("how", "bought", "reattached", "low", "high"),
    [
        ({"buys": True}, 4, 0, CENT, CENT * 6),
        ({"buys": False}, 0, 4, 0, 0),
        ({"buys": False, "may_buy": True}, 0, 4, 0, CENT * 6),
    ],
)
def test_a_plan_expects_what_is_in_flight_and_prices_what_may_be_bought(
    how: dict[str, bool], bought: int, reattached: int, low: Any, high: Any
) -> None:
    tally = Tally(RUN)
    tally.expect(Unsettled(key="k", status=RowStatus.IN_FLIGHT), PRICE, 4, **how)
    summary = tally.summary(0.0)
    assert (summary.bought, summary.reattached, summary.cost_low, summary.cost_high) == (bought, reattached, low, high)


def test_what_is_held_is_neither_expected_nor_bought() -> None:
    tally = Tally(RUN)
    tally.expect(Unsettled(key="k", status=RowStatus.HELD), PRICE, 4, buys=False)
    summary = tally.summary(0.0)
    assert (summary.images, summary.cost_high, tally.open_requests) == (0, Decimal(0), 1)


def test_images_that_fal_is_asked_for_first_are_not_there_yet(line: Settled) -> None:
    tally = Tally(RUN)
    tally.expect(line._replace(kind="missing", images=[]), Price(Decimal(0), CENT), 1, buys=False, is_missing=True)
    summary = tally.summary(0.0)
    assert (summary.refetched, summary.images, tally.open_requests) == (1, 0, 1)


# -- a word for a row, and for a run


def test_the_worst_request_decides_a_row() -> None:
    by_rank = sorted(RowStatus, key=lambda status: status.rank)
    for number, status in enumerate(by_rank):
        assert worst(set(by_rank[number:])) is status


def test_every_reason_to_stop_has_an_exit_status_that_is_no_success() -> None:
    assert set(STOPPED) == set(get_args(StopReason))
    for reason in STOPPED:
        assert Summary(rows=1, stored=1, stop=reason).exit_status not in {ExitStatus.COMPLETE, ExitStatus.INCOMPLETE}


@pytest.mark.parametrize("status", RowStatus)
def test_a_run_is_complete_where_each_row_has_its_images_or_was_erased(status: RowStatus) -> None:
    counts: dict[str, Any] = {status.value: 1}
    expected = ExitStatus.COMPLETE if status in COMPLETE else ExitStatus.INCOMPLETE
    assert Summary(rows=1, **counts).exit_status == expected


@pytest.mark.parametrize("status", TOLD)
def test_a_sentence_and_json_tell_each_status(status: RowStatus) -> None:
    counts: dict[str, Any] = {status.value: 7}
    assert f", 7 {status.words}, " in Summary(rows=7, **counts).sentence()
    assert Summary(rows=7, **counts).as_json()[status.value] == 7


def test_json_says_why_a_run_stopped_and_only_then() -> None:
    told = Summary(stop="budget", message="the limit of $1").as_json()
    assert (told["stop"], told["message"]) == ("budget", "the limit of $1")
    assert not {"stop", "message", "refetched"} & set(Summary().as_json())


@pytest.mark.parametrize(("high", "words"), [("0.101", "$0.11"), ("0.10000001", "$0.11"), ("12.341", "$12.35")])
def test_an_upper_end_is_rounded_up(high: str, words: str) -> None:
    assert Summary(cost_high=Decimal(high)).bill == f"$0.00 billed, up to {words}"


@pytest.mark.parametrize(
    ("summary", "status"),
    [
        (Summary(rows=2, stored=2), 0),
        (Summary(rows=2, stored=1, refused=1), 3),
        (Summary(rows=2, stored=1, not_submitted=1, stop="budget"), 4),
        (Summary(stop="locked"), 5),
        (Summary(stop="unusable"), 5),
        (Summary(stop="interrupted"), 130),
        (Summary(), 0),
    ],
)
def test_exit_statuses(summary: Summary, status: int) -> None:
    assert summary.exit_status == status


def test_the_sentence_says_what_is_news() -> None:
    assert Summary(rows=48, reused=48, images=48).sentence() == "0 bought, 48 reused, $0.00"
    assert "2 held" in Summary(held=2).sentence()
    assert Summary(reused=2, refetched=1).sentence() == "0 bought, 2 reused, 1 image fetched again, $0.00"


@pytest.mark.parametrize(
    ("low", "high", "billed", "words"),
    [
        ("0.04", "0.04", "0.04", "$0.04"),
        ("0", "0.04", "0", "$0.00 billed, up to $0.04"),
        ("0.04", "0.0401", "0.04", "$0.04 billed, up to $0.0401"),
        ("0.04", "inf", "0.04", "$0.04 known to be billed, the rest unknown"),
    ],
)
def test_a_cost_that_is_not_known_to_the_end_is_told_with_its_upper_end(
    low: str, high: str, billed: str, words: str
) -> None:
    found = Summary(cost_low=Decimal(low), cost_high=Decimal(high), cost_billed=Decimal(billed))
    assert found.sentence().endswith(f", {words}")
    assert metadata.counts(found)["run_cost_usd"] == float(billed)
    above = {} if high == billed else {"run_cost_high_usd": "unknown" if high == "inf" else float(high)}
    assert {name: value for name, value in metadata.counts(found).items() if name == "run_cost_high_usd"} == above
