"""The log of a run: where it is, with rate, time left and budget, in fewer and fewer lines."""

from decimal import Decimal
from typing import Any

from dagster_gptimg.definitions.run_log import RunLog, lasting
from dagster_gptimg.engine.events import Finished, Planned, Progress
from dagster_gptimg.engine.record.summary import Summary


class Lines:
    """A step's log that keeps its lines."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def info(self, message: str) -> None:
        self.found.append(message)


def test_a_line_says_where_the_run_is_and_what_it_has_spent_of_its_budget() -> None:
    now, lines = [0.0], Lines()
    log = RunLog(lines, now=lambda: now[0])  # type: ignore[arg-type]
    log.begin("bags", limit=6.0, spent=1.0)
    log(Planned(Summary(rows=500, not_submitted=500, bought=500)))
    now[0] = 20.0
    log(Progress(done=125, total=500, in_flight=99, failed=0, spent=Decimal("1.23")))
    assert lines.found[-1] == "'bags': 125 of 500, 99 in flight, $2.23 of $6.00, 6.2/s, about 60 s left"


def test_a_line_says_that_the_run_waits_behind_other_runs_of_the_account() -> None:
    now, lines = [0.0], Lines()
    log = RunLog(lines, now=lambda: now[0])  # type: ignore[arg-type]
    log.begin(None)
    now[0] = 20.0
    log(Progress(done=1, total=500, in_flight=99, failed=0, spent=Decimal(0), others_ahead=180))
    assert lines.found[-1].startswith("1 of 500, 99 in flight behind 180 of other runs, $0.00")


def test_a_day_has_a_few_hundred_lines_and_the_first_come_at_once() -> None:
    now, lines = [0.0], Lines()
    log = RunLog(lines, now=lambda: now[0])  # type: ignore[arg-type]
    log.begin(None)
    log(Planned(Summary(rows=10**6)))
    assert len(lines.found) == 1
    per_minute: list[int] = []
    while now[0] < 86_400:
        now[0] += 1
        log(Progress(done=int(now[0]), total=10**6, in_flight=9, failed=0, spent=Decimal(0)))
        if now[0] % 60 == 0:
            per_minute.append(len(lines.found))
    assert per_minute[0] >= 10
    assert per_minute[9] - per_minute[0] <= 20
    assert len(lines.found) <= 330


def test_the_end_is_said_at_once() -> None:
    now, lines = [0.0], Lines()
    log = RunLog(lines, now=lambda: now[0])  # type: ignore[arg-type]
    log.begin(None)
    log(Planned(Summary(rows=1)))
    now[0] = 0.5
    log(Finished(Summary(rows=1, bought=1, seconds=0.5), "file:///m"))
    assert any("1 bought" in line for line in lines.found)


def test_times_are_in_the_unit_that_says_most() -> None:
    found: dict[Any, str] = {seconds: lasting(seconds) for seconds in (50, 180, 5 * 3600, 4 * 86400)}
    assert found == {50: "50 s", 180: "3 min", 5 * 3600: "5 h", 4 * 86400: "4 days"}
