"""Runs that take their ends from a receiver's inbox, on the emulator: its counter and its bill are the judges."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.test_webhook_receiver import receiver
from tests.harness import Fal, cli, kill, records, start
from tests.support import MINI_LOW

if TYPE_CHECKING:
    from pathlib import Path

ROWS = 20
LOW = MINI_LOW
AROUND = 4
"""Calls of a run besides those for its images: whether fal knows the key, who it is, the model's status, one price."""


def call(tmp_path: Path, store: Path, base: str, *more: str) -> tuple[str, ...]:
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join(json.dumps({"prompt": f"picture {n}"}) for n in range(ROWS)), encoding="utf-8")
    webhooks = ("--watch", "webhook", "--webhook-url", base)
    return ("generate", str(path), "--store", str(store), "--dataset", "d", "--json", *LOW, *webhooks, *more)


def judge(fal: Fal, store: Path, ran: Any) -> None:
    assert (ran.status, ran.summary["images"]) == (0, ROWS), ran.stderr
    charged = fal.charged()
    assert len({row["prompt"] for row in charged}) == len(charged) == ROWS
    table = records(store, "d")
    assert {row["request_id"] for row in table} == {row["request_id"] for row in charged}
    assert sum(float(row["cost_usd"]) for row in table) == pytest.approx(float(fal.bill()["total_usd"]))
    assert not list((store / "d/inbox").rglob("*.json"))


def test_at_most_three_calls_an_image(fal: Fal, store: Path, tmp_path: Path) -> None:
    fal.set(latency=1.0)
    with receiver(fal, store) as base:
        before = fal.calls()
        ran = cli(fal, *call(tmp_path, store, base))
        assert (fal.calls() - before - AROUND) / ROWS <= 3
    judge(fal, store, ran)


@pytest.mark.parametrize(
    "fault",
    [
        "webhook_lost",
        "webhook_twice",
        "webhook_late",
        "webhook_overtaken",
        "webhook_no_payload",
        # What the receiver refuses is lost to the run; that it refuses these: tests/cli/test_webhook_receiver.py
        pytest.param("webhook_forged", marks=pytest.mark.long),
        pytest.param("webhook_stale", marks=pytest.mark.long),
    ],
)
def test_whatever_happens_to_webhooks_each_image_is_there_once(
    fal: Fal, store: Path, tmp_path: Path, fault: str
) -> None:
    fal.set(faults={fault: 0.3}, slow_seconds=3.0)
    with receiver(fal, store) as base:
        ran = cli(fal, *call(tmp_path, store, base))
    assert (ran.status, ran.summary["images"]) == (0, ROWS), ran.stderr
    assert len(fal.charged()) == ROWS


def test_what_fewer_images_than_asked_for_cost_is_read_from_fal(fal: Fal, store: Path, tmp_path: Path) -> None:
    fal.set(faults={"fewer_images": 0.5})
    with receiver(fal, store) as base:
        ran = cli(fal, *call(tmp_path, store, base, "--set", "num_images=2"))
    assert ROWS < ran.summary["images"] < 2 * ROWS, ran.stderr
    images = Counter(row["row_id"] for row in records(store, "d"))
    told = {row["row_id"] for row in records(store, "d") if row["billable_units"] is not None}
    # (What the run asked for by itself, because no webhook came soon enough, is read from fal as well.)
    assert told >= {row_id for row_id, count in images.items() if count == 1}


def test_lost_replies_are_healed_without_the_history(fal: Fal, store: Path, tmp_path: Path) -> None:
    fal.set(faults={"submit_lost": 0.2, "history_500": 1.0})
    with receiver(fal, store) as base:
        ran = cli(fal, *call(tmp_path, store, base, "--settle", "20"))
    judge(fal, store, ran)
    assert len(list((store / "d/receipts").rglob("*.webhook.json"))) >= 3


def test_killed_runs_lose_nothing_and_pay_nothing_twice(fal: Fal, store: Path, tmp_path: Path) -> None:
    fal.set(latency=0.4, slots=10, faults={"history_500": 1.0})
    with receiver(fal, store) as base:
        run = call(tmp_path, store, base)
        for seconds in (1.3, 1.6, 1.9):
            process = start(fal, *run)
            time.sleep(seconds)  # the moment itself is what differs
            kill(process)
        ran = cli(fal, *run, "--settle", "5")
        if ran.status == 3:  # killed between an intent and its POST: nobody can know, and it was not paid for
            assert len(fal.charged()) == ROWS - ran.summary["held"]
            ran = cli(fal, *run, "--again", "held", "--settle", "5")
    assert (ran.status, ran.summary["images"], len(fal.charged())) == (0, ROWS, ROWS), ran.stderr
    assert len({row["prompt"] for row in fal.charged()}) == ROWS


def test_a_receiver_is_needed_and_said(fal: Fal, store: Path, tmp_path: Path) -> None:
    ran = cli(fal, *call(tmp_path, store, ""))
    assert ran.status == 2
    assert "go together" in ran.stderr
