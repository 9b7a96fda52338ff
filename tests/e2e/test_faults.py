"""fal at its worst, over real HTTP: the bill is explained to the cent, and no row is without a reason.

ROWS=1000 pytest tests/e2e/test_faults.py        as many as the promise speaks of
"""

from __future__ import annotations

import json
import os
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from tests.harness import Fal, Ran, cli, records

if TYPE_CHECKING:
    from pathlib import Path

ROWS = int(os.environ.get("ROWS", "60"))
LOW = ("--set", "quality=low", "--set", "image_size=1024x1024")
EVERY_FAULT = (
    "submit_lost", "submit_dropped", "submit_cut", "submit_429", "submit_500", "submit_503", "submit_504", "status_500",
    "status_503", "status_drop", "result_500_gateway", "result_drop", "failed", "failed_runner", "refused", "requeue",
    "stuck", "fewer_images", "image_404", "image_truncated", "image_short", "image_flipped", "image_html",
    "image_empty", "history_500",
)  # fmt: skip


def call(tmp_path: Path, store: Path, *more: str, rows: int = ROWS) -> tuple[str, ...]:
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join(json.dumps({"prompt": f"picture {n}"}) for n in range(rows)), encoding="utf-8")
    return ("generate", str(path), "--store", str(store), "--dataset", "d", "--json", *LOW, *more)


@pytest.mark.long  # up to half a minute of waiting for the history; tests/e2e/test_open_questions.py has the quick one
def test_lost_replies_are_healed_through_the_history(fal: Fal, store: Path, tmp_path: Path) -> None:
    fal.set(faults={"submit_lost": 0.1})
    ran = cli(fal, *call(tmp_path, store, "--settle", "20"))
    assert (ran.status, ran.summary["images"]) == (0, ROWS), ran.stderr
    prompts = [row["prompt"] for row in fal.charged()]
    assert len(prompts) == len(set(prompts)) == ROWS
    receipts = [path.name for path in (store / "d" / "receipts").rglob("*.history.json")]
    assert len(receipts) >= ROWS // 30, "no reply was lost, and nothing was tested"


def test_with_the_history_off_each_doubtful_row_is_held_and_nobody_is_told_to_buy_it_again(
    fal: Fal, store: Path, tmp_path: Path
) -> None:
    fal.set(faults={"submit_lost": 0.1, "history_500": 1.0})
    ran = cli(fal, *call(tmp_path, store, "--settle", "2"))
    assert ran.status == 3
    prompts = [row["prompt"] for row in fal.charged()]
    assert len(prompts) == len(set(prompts)) == ROWS, "each was bought once, and none a second time"
    held = [r for r in records(store, "d") if r["status"] == "held"]
    assert ran.summary["held"] == len(held) == ROWS - ran.summary["images"] > 0
    assert all("could not be searched for" in row["error"] and "--again" not in row["error"] for row in held)
    fal.set(faults={})
    ran = cli(fal, *call(tmp_path, store, "--settle", "20"))
    assert (ran.status, ran.summary["images"], len(fal.charged())) == (0, ROWS, ROWS), ran.stderr


@pytest.mark.long  # the tests above, and those of tests/e2e/test_open_questions.py, look at each fault
def test_every_fault_at_once_and_the_bill_is_explained_to_the_cent(fal: Fal, store: Path, tmp_path: Path) -> None:
    fal.set(faults=dict.fromkeys(EVERY_FAULT, 0.05), history_lag=0.5)
    fal.fail("picture 3", "stuck", times=1)  # drawn alone, it might strike nothing
    for _ in range(2):
        ran = cli(fal, *two_each(tmp_path, store, "--settle", "3"))
        assert ran.status in {0, 3}, ran.stderr
    explained(fal, store, cli_without_faults(fal, *two_each(tmp_path, store, "--settle", "6")))


@pytest.mark.kill  # another minute, and no quick test
def test_every_fault_at_once_and_an_account_that_is_locked_now_and_then(fal: Fal, store: Path, tmp_path: Path) -> None:
    fal.set(faults=dict.fromkeys((*EVERY_FAULT, "locked"), 0.05), history_lag=0.5)
    fal.fail("picture 3", "stuck", times=1)
    rows = 2 * ROWS  # enough for another lock in the next run
    runs = [cli(fal, *two_each(tmp_path, store, "--settle", "3", rows=rows)) for _ in range(3)]
    assert [run.status for run in runs].count(5) > 1
    assert all(run.summary["stop"] == "locked" and "Top up your" in run.stderr for run in runs if run.status == 5)
    explained(fal, store, cli_without_faults(fal, *two_each(tmp_path, store, "--settle", "6", rows=rows)), rows)


def two_each(tmp_path: Path, store: Path, *more: str, rows: int = ROWS) -> tuple[str, ...]:
    """Two images a request, so that there can be fewer than asked for; and not much patience."""
    return call(tmp_path, store, "--set", "num_images=2", "--patience", str(8 + rows / 40), *more, rows=rows)


def cli_without_faults(fal: Fal, *arguments: str) -> Ran:
    fal.set(faults={})
    return cli(fal, *arguments)


def explained(fal: Fal, store: Path, ran: Ran, wanted: int = ROWS) -> None:
    """What every charge and every row came to."""
    table = records(store, "d")
    rows = {row["row_id"]: row for row in table}
    statuses = Counter(row["status"] for row in rows.values())
    print(f"\n{dict(statuses)}, ${fal.bill()['total_usd']}")  # noqa: T201
    assert set(statuses) <= {"stored", "refused", "held", "in_flight"}, statuses
    assert len(rows) == wanted
    assert all(row["error"] for row in table if row["status"] != "stored")
    assert len({row["prompt"] for row in fal.charged()}) == len(fal.charged()), "paid twice"
    ended = {row["request_id"]: row for row in fal.charged() if row["outcome"] != "stuck"}
    assert {row["request_id"] for row in table if row["cost_usd"]} == set(ended), "a charge and a receipt do not meet"
    assert sum(Decimal(str(row["cost_usd"] or 0)) for row in table) == sum(
        Decimal(r["cost_usd"]) for r in ended.values()
    )
    unpaid = {row["prompt"]: row for row in table if row["status"] in {"held", "in_flight"}}
    assert not set(unpaid) & {row["prompt"] for row in ended.values()}
    # What never ends is billed by the emulator all the same: it stands there by its id, or its submit is in doubt.
    for row in (row for row in fal.charged() if row["outcome"] == "stuck"):
        shown = unpaid[row["prompt"]]
        assert (shown["status"], shown["request_id"]) in {("in_flight", row["request_id"]), ("held", None)}
    images = Counter(row["row_id"] for row in table if row["status"] == "stored")
    assert set(images.values()) == {1, 2}, "fewer images than asked for are kept, and more than that as well"
    assert {row["images_wanted"] for row in table} == {2}
    assert statuses["in_flight"] > 0, "no request was stuck, and nothing was tested"
    assert ran.summary["images"] == sum(images.values()) > wanted
