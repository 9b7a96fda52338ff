"""Benchmarks do not rot: their arithmetic, their simulation at a small size, and the store that nobody has bought."""

from __future__ import annotations

import json
import random
import urllib.request
from typing import TYPE_CHECKING

import pytest

from benchmarks import bought, policy, processes, results, schedule, simulation
from benchmarks.__main__ import LONG, MODULES
from benchmarks.report import TITLES
from benchmarks.s3 import kind_of
from tests.harness import cli

if TYPE_CHECKING:
    from pathlib import Path

    from dagster_gptimg.testing import EmulatedFal as Fal


def test_the_greedy_schedule_lies_between_littles_bound_and_one_latency_above_it() -> None:
    assert schedule.greedy([3.0, 1.0, 1.0, 1.0], 2) == 3.0
    assert schedule.greedy([1.0, 1.0, 1.0, 3.0], 2) == 4.0
    assert schedule.greedy([5.0], 40) == 5.0
    dice = random.Random(3)
    latencies = [dice.uniform(7, 13) for _ in range(400)]
    bound = schedule.little(latencies, 40)
    assert bound < schedule.greedy(latencies, 40) < bound + max(latencies)


def test_splitting_a_spread_of_30_percent_into_6_looks_takes_6_and_a_half_calls_for_5_percent_of_lag() -> None:
    assert policy.split(0.6, 6) == pytest.approx((6.5, 0.05))


def test_the_watchers_policy_costs_no_more_than_equal_looks() -> None:
    ours = policy.watcher(0.6, 1 / 65)
    assert ours.calls < 6.7
    assert ours.lag < 0.055
    equal = policy.split(0.6, 6)
    assert ours.calls + 65 * ours.lag < equal.calls + 65 * equal.lag + 0.1


def test_looks_each_so_many_seconds_are_many() -> None:
    assert policy.every(0.1) == pytest.approx((10.5 + 3, 0.05))


def test_a_simulated_run_keeps_its_slots_busy() -> None:
    ran = simulation.simulate(1000, 40, 10.0)
    best = schedule.greedy(ran.drawn, 40)
    assert best < ran.wall < 1.03 * best
    assert ran.calls < 7.0
    assert ran.lag < 0.055 * 10
    assert ran.most == 100


def test_a_run_sees_all_rows_as_done_in_a_store_that_nobody_has_bought(fal: Fal, tmp_path: Path) -> None:
    table = tmp_path / "prompts.csv"
    table.write_text("sku,prompt\n" + "".join(f"{n},bag number {n % 9}\n" for n in range(20)), encoding="utf-8")
    with urllib.request.urlopen(f"{fal.url}/v1/meta") as answer:
        origin = f"emulator:{json.load(answer)['emulator']['id']}"
    assert bought.buy(table, tmp_path / "store", origin) == 20
    where = ("--store", str(tmp_path / "store"), "--dataset", "d")
    ran = cli(fal, "generate", str(table), *where, "--set", "quality=low", "--set", "image_size=1024x1024", "--json")
    assert ran.status == 0, ran.stderr
    assert (ran.summary["bought"], ran.summary["reused"], ran.summary["missing"]) == (0, 20, 0)
    assert fal.bill()["rows"] == []


def test_the_worker_of_the_benchmarks_buys_from_the_load_server(tmp_path: Path) -> None:
    """Were its model not the one that the server serves, each run would end with rows in doubt."""
    with processes.load_server(slots=2, latency=0.1, image_bytes=10_000) as server:
        ran = processes.generate(server, processes.table(tmp_path / "prompts.csv", 3), tmp_path / "store")
    assert json.loads(ran.stdout.splitlines()[-1])["bought"] == 3


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/bucket/d/receipts/ab/x.0.intent.json", "PUT receipts"),
        ("/bucket/d/dataset.json", "PUT dataset.json"),
        ("/bucket", "PUT"),
    ],
)
def test_what_is_written_to_s3_is_counted_by_its_kind(path: str, kind: str) -> None:
    assert kind_of("PUT", path) == kind


def test_results_are_kept_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "FILE", tmp_path / "results.json")
    for measured in (1.5, 2.5):
        found = results.Measured()
        found.add("something", measured, "x", 2, "so")
        results.keep("slots", found, [0.1, 0.2, 0.3], 1.0)
    [row] = results.read()["benchmarks"]["slots"]["rows"]
    assert row == {"what": "something", "measured": 2.5, "unit": "x", "target": 2, "about": "so", "met": False}


def test_every_benchmark_has_its_part_of_the_page() -> None:
    assert MODULES.keys() == TITLES.keys()
    assert MODULES.keys() > LONG
