"""What single answers of fal's must not do: one row each, by name, on the bender's clock and by its bill."""

from __future__ import annotations

from decimal import Decimal
from math import inf
from typing import TYPE_CHECKING, Any

import pytest

from dagster_gptimg.engine.collect.collect import Collector
from dagster_gptimg.engine.job import Options
from tests.bender import judge
from tests.bender.cells import Cell
from tests.bender.fal import HOUR, Habits
from tests.bender.histories import live
from tests.bender.hooks import HOST
from tests.bender.process import Process
from tests.bender.weather import Rule
from tests.bender.world import Row, World

if TYPE_CHECKING:
    from dagster_gptimg.engine.collect.collect import Case, Lost
    from dagster_gptimg.engine.follow.tracked_request import TooLate
    from dagster_gptimg.store.receipts.facts import Outcome

ROWS = 5
ODD = "thing 2"
"""The row that something is answered of; the others must not notice."""


def world_of(*cells: Cell, seconds: float = inf, habits: Habits | None = None) -> World:
    """Five rows, of which one is bent."""
    world = World(3, [Row(f"thing {n}") for n in range(ROWS)], habits or Habits(), slots=10)
    world.weather.rules += [Rule(cell, frozenset({ODD}), lasts=seconds) for cell in cells]
    return world


def run(world: World, watch: str = "poll", patience: float = 900.0) -> Process:
    """One run to its end; what must hold of any has been looked at."""
    life = Process(world, f"run {len(world.lives)}", Options(settle=60.0, patience=patience, watch=watch))  # type: ignore[arg-type]
    live(life)
    assert life.end is not None, life.refused
    return life


def statuses(life: Process) -> dict[str, str]:
    return {row["prompt"]: row["status"] for row in life.table or ()}


def check_others(life: Process) -> None:
    """All rows but the odd one have their images."""
    assert {status for prompt, status in statuses(life).items() if prompt != ODD} == {"stored"}


@pytest.mark.parametrize("units", ["0.3333333333333333", "1.0000001", "0.00000000000000000001"])
def test_a_cost_of_many_digits_is_kept_to_the_last_one_and_every_run_goes_on(units: str) -> None:
    world = world_of(habits=Habits(units=units))
    for _ in range(2):
        assert set(statuses(run(world)).values()) == {"stored"}
    assert {Decimal(one.about["cost_usd"]) for one in judge.stored(world)} == {Decimal(units) * Decimal("0.01")}


@pytest.mark.parametrize("bend", ["half a surrogate pair", "half a character", "deep", "400 digits", "long"])
@pytest.mark.parametrize("field", ["detail", "detail[].msg", "detail[].type"])
def test_one_odd_refusal_stops_no_other_row_and_no_later_run(field: str, bend: str) -> None:
    world = world_of(Cell("result", "error body", field, bend))
    world.fal.ends[ODD] = "refused"
    for _ in range(2):
        check_others(run(world))
    assert len(world.fal.requests) == ROWS


@pytest.mark.parametrize("code", ["400", "403", "404", "422", "410"])
@pytest.mark.parametrize("seconds", [0.5, 30.0])
def test_a_typed_error_of_a_result_that_is_read_for_a_while_loses_no_image(code: str, seconds: float) -> None:
    cell = Cell("result", "error", code, "a model's" if code in {"400", "422"} else "fal's own")
    world = world_of(cell, seconds=seconds)
    world.weather.rules[0].times = inf
    assert set(statuses(run(world)).values()) == {"stored"}
    assert len(world.fal.requests) == ROWS


@pytest.mark.parametrize(
    "bend", ["no stream", "broken before the head", "never", "a byte a second", "endless", "no body"]
)
def test_a_run_whose_streams_fail_looks_for_itself_and_ends(bend: str) -> None:
    world = world_of(Cell("status stream", "answer", "", bend))
    assert set(statuses(run(world, "stream")).values()) == {"stored"}


@pytest.mark.parametrize("endpoint", ["status", "result", "lookup", "file download"])
@pytest.mark.parametrize("bend", ["a byte a second", "endless", "never", "a head, and never a body"])
def test_an_answer_without_an_end_delays_its_own_row_alone(endpoint: str, bend: str) -> None:
    world = world_of(Cell(endpoint, "answer", "", bend))
    life = run(world, patience=300.0)
    check_others(life)
    assert life.ended - life.began < 1500.0


@pytest.mark.parametrize(
    "cell", [Cell("history", "body", "has_more", "a text"), Cell("history", "answer", "", "endless")]
)
def test_a_history_without_an_end_holds_no_run(cell: Cell) -> None:
    world = world_of(Cell("submit", "answer", "", "broken before the head"))
    world.weather.rules.append(Rule(cell, None))
    life = run(world)
    check_others(life)
    assert life.ended - life.began < 1500.0


def test_the_second_request_with_the_same_id_is_not_taken_for_an_image_of_its_own() -> None:
    same = [Cell("submit", "body", name, "another's") for name in ("request_id", "status_url", "response_url")]
    world = world_of(*same, Cell("submit", "header", "x-fal-request-id", "another's"))
    life = run(world)
    check_others(life)
    pictures = [row["request_id"] for row in life.table or () if row["status"] == "stored"]
    assert len(pictures) == len(set(pictures))
    assert len(world.fal.requests) == ROWS


def test_an_answer_to_a_submit_that_names_a_request_of_an_earlier_run_is_not_taken_for_its_own() -> None:
    world = world_of(Cell("submit", "answer", "", "stale"))
    world.rows, rows = [row for row in world.rows if row.prompt != ODD], world.rows
    check_others(run(world))
    world.rows = rows
    life = run(world)
    check_others(life)
    assert statuses(life) == {row.prompt: "stored" for row in rows}, "found in the history: fal has it"
    assert len(world.fal.requests) == len({row["request_id"] for row in life.table or ()}) == ROWS


@pytest.mark.parametrize("name", ["status_url", "response_url", "cancel_url"])
@pytest.mark.parametrize("watch", ["poll", "stream"])
def test_a_url_of_another_request_is_not_followed(name: str, watch: str) -> None:
    world = world_of(Cell("submit", "body", name, "another's"))
    assert statuses(run(world, watch)) == {row.prompt: "stored" for row in world.rows}
    assert len(world.fal.requests) == ROWS


def test_one_answer_with_a_wrong_date_does_not_lead_the_search_astray() -> None:
    world = world_of(Cell("submit", "answer", "", "broken before the head"))
    world.weather.rules.append(Rule(Cell("meta", "header", "Date", "another zone"), None, times=1))
    life = run(world)
    check_others(life)
    assert (statuses(life)[ODD], len(world.fal.requests)) == ("stored", ROWS)


def test_a_request_that_ended_without_images_is_told_so_and_not_looked_for_again() -> None:
    world = world_of()
    world.fal.ends[ODD] = "empty"
    for seconds in (60.0, 3.0):
        life = run(world)
        check_others(life)
        [row] = [row for row in life.table or () if row["prompt"] == ODD]
        assert (row["status"], row["error_type"]) == ("lost", "ended_without_images")
        assert life.ended - life.began < seconds
        world.now += 3600.0
    assert len(world.fal.requests) == ROWS


def test_what_fal_could_not_load_has_failed_and_is_tried_again() -> None:
    world = world_of()
    world.fal.ends[ODD] = "unloaded"
    check_others(run(world))
    world.fal.ends.clear()
    world.now += 3600.0
    assert set(statuses(run(world)).values()) == {"stored"}


@pytest.mark.parametrize("field", ["sent_at", "json_input", "status_code", "request_id"])
def test_a_line_of_the_history_that_cannot_be_read_hides_no_other_one(field: str) -> None:
    lost = frozenset({ODD})
    world = world_of()
    world.weather.rules.append(Rule(Cell("submit", "answer", "", "broken before the head"), lost, times=1))
    world.weather.rules.append(Rule(Cell("history", "body", f"items[].{field}", "wrong type"), frozenset({"thing 0"})))
    assert set(statuses(run(world)).values()) == {"stored"}
    assert len(world.fal.requests) == ROWS


def test_what_a_run_has_sent_is_its_spending_though_another_run_has_collected_it() -> None:
    world = world_of()
    buyer = Process(world, "buyer", Options(settle=60.0, patience=120.0, watch="webhook", webhook_url=HOST))
    collector = Process(world, "collector", Options(settle=60.0, watch="stream"), starts=1.0)
    live(buyer, collector)
    assert buyer.end is not None
    assert collector.end is not None
    assert (collector.end.summary.bought, collector.end.summary.reattached) == (0, ROWS)
    assert (buyer.end.summary.bought, buyer.end.summary.cost_billed) == (ROWS, Decimal("0.05"))
    assert (buyer.end.spent, collector.end.spent) == (Decimal("0.05"), Decimal(0))  # by which budgets are counted


def test_an_error_that_nobody_expected_is_its_own_rows_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    world, true = world_of(), Collector.collect

    async def broken(self: Collector, case: Case) -> Outcome | Lost | TooLate:
        if case.request.arguments["prompt"] == ODD:
            raise RuntimeError("nobody expected this")
        return await true(self, case)

    monkeypatch.setattr(Collector, "collect", broken)
    life = run(world)
    check_others(life)
    assert statuses(life)[ODD] == "in_flight"
    monkeypatch.undo()
    assert set(statuses(run(world)).values()) == {"stored"}
    assert len(world.fal.requests) == ROWS


@pytest.mark.parametrize("code", ["404", "500"])
def test_a_run_all_of_whose_streams_fail_looks_for_itself_and_keeps_its_patience(code: str) -> None:
    world = World(3, [Row(f"thing {n}") for n in range(ROWS)], Habits(latency=(3.0, 3.5)), slots=10)
    world.weather.rules.append(Rule(Cell("status stream", "error", code, "fal's own"), None))
    life = run(world, "stream", patience=40.0)
    assert set(statuses(life).values()) == {"stored"}
    assert life.ended - life.began < 60.0


@pytest.mark.parametrize("code", ["425", "500"])
def test_a_status_that_can_never_be_read_hides_none_that_wait_behind_it(code: str) -> None:
    world = World(3, [Row(f"thing {n}") for n in range(ROWS)], slots=1)
    world.weather.rules.append(Rule(Cell("status", "error", code, "fal's own"), frozenset({"thing 0"})))
    life = run(world, patience=300.0)
    assert {status for prompt, status in statuses(life).items() if prompt != "thing 0"} == {"stored"}


@pytest.mark.parametrize("starts", [(0.0, 0.0, 0.0), (0.0, 1.0, 9.0)], ids=["at once", "one by one"])
def test_runs_that_are_told_together_to_buy_refused_rows_again_buy_each_once(starts: tuple[float, ...]) -> None:
    world = World(3, [Row(f"thing {n}") for n in range(ROWS)], Habits(), slots=10)
    world.fal.ends = dict.fromkeys((row.prompt for row in world.rows), "refused")
    run(world)
    again = Options(settle=60.0, patience=900.0, again=frozenset({"refused"}))
    live(*(Process(world, f"told {n}", again, starts=start) for n, start in enumerate(starts)))
    assert len(world.fal.requests) == 2 * ROWS


@pytest.mark.parametrize("skew", [2 * HOUR, -2 * HOUR], ids=["ahead", "behind"])
@pytest.mark.parametrize("how", [{"again": frozenset({"held"})}, {"on_ambiguous": "resubmit"}], ids=["word", "policy"])
def test_a_wrong_clock_shortens_no_wait_for_another_runs_submit(skew: float, how: dict[str, Any]) -> None:
    world = World(3, [Row(ODD)], Habits(lag=60.0), slots=10)
    world.weather.rules.append(Rule(Cell("submit", "answer", "", "slow"), frozenset({ODD}), times=1))
    first = Process(world, "sends", Options(settle=60.0, patience=900.0))
    live(first, Process(world, "wrong", Options(settle=30.0, patience=900.0, **how), skew=skew, starts=2.0))
    assert len(world.fal.requests) == 1
    assert statuses(run(world)) == {ODD: "stored"}


@pytest.mark.parametrize("skew", [7 * 60.0, -HOUR, 5 * HOUR])
def test_a_lost_reply_is_found_in_the_history_by_a_machine_with_a_wrong_clock(skew: float) -> None:
    world = World(3, [Row(ODD)], Habits(), slots=10)
    world.weather.rules.append(Rule(Cell("submit", "answer", "", "broken before the head"), frozenset({ODD}), times=1))
    life = Process(world, "wrong", Options(settle=60.0, patience=900.0), skew=skew)
    live(life)
    assert (statuses(life), len(world.fal.requests)) == ({ODD: "stored"}, 1)


def test_a_lost_reply_is_found_soon_although_the_history_answers_slowly_once() -> None:
    world = World(3, [Row(ODD)], Habits(), slots=10)
    world.weather.rules.append(Rule(Cell("submit", "answer", "", "broken before the head"), frozenset({ODD}), times=1))
    world.weather.rules.append(Rule(Cell("history", "answer", "", "slow"), None, times=1))
    life = run(world)
    assert (statuses(life), len(world.fal.requests)) == ({ODD: "stored"}, 1)
    assert life.ended - life.began < 60.0


def test_the_users_word_buys_a_refused_row_again_once_in_a_run() -> None:
    world = World(3, [Row(ODD)], Habits(refusals_billed=True), slots=10)
    world.fal.ends[ODD] = "refused"
    run(world)
    again = Options(settle=60.0, patience=900.0, again=frozenset({"refused"}), max_cost=Decimal("0.05"))
    live(Process(world, "told", again))
    assert len(world.fal.requests) == 2
