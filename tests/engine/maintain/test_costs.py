"""Costs: what all receipts of a dataset say equals the bill to the last digit, whatever became of its rows since."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from dagster_gptimg.cli.commands import costs as costs_command
from dagster_gptimg.engine.maintain.costs import BYS
from tests.engine.maintain.test_prune import forget_at_fal, generate, prune
from tests.harness import Fal, cli, records, table, target
from tests.support import MINI_LOW

ANSWER = {"requests", "images", "billed_usd", "estimated_usd", "unknown"}


def costs(store: Path, *more: str) -> dict[str, Any]:
    ran = cli(None, "costs", "--store", str(store), "--json", *more)
    assert ran.status == 0, ran.stderr
    return ran.summary


def total(store: Path, *more: str) -> Decimal:
    found = costs(store, *more)["total"]
    assert (found["estimated_usd"], found["unknown"]) == ("0.00", 0)
    return Decimal(found["billed_usd"])


def bill(fal: Fal) -> Decimal:
    return sum((Decimal(str(row["cost_usd"])) for row in fal.bill()["rows"]), Decimal(0))


def test_costs_equal_the_bill_whatever_became_of_the_rows(fal: Fal, store: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"

    def write(*rows: tuple[str, str, int]) -> str:
        path.write_text("\n".join(json.dumps({"id": i, "prompt": p, "num_images": n}) for i, p, n in rows))
        return str(path)

    fal.fail("a free failure", "failed", times=1)
    fal.fail("a refusal", "refused")
    first = [(f"r{n}", f"a thing, number {n}", 1) for n in range(12)]
    generate(fal, store, write(*first, ("x", "a free failure", 1), ("y", "a refusal", 1), ("z", "three at once", 3)))
    assert total(store) == bill(fal)
    edited = [("r0", "another thing", 1), *first[1:9], ("z", "three at once", 2)]  # three rows removed, two edited
    generate(fal, store, write(*edited), "--allow-rebuy")
    assert total(store) == bill(fal)
    shown = sum(Decimal(str(record["cost_usd"] or 0)) for record in records(store, "d"))
    assert shown < bill(fal)  # the image table says what its images cost, and not what all have cost
    generate(fal, store, write(*edited, ("y", "a refusal", 1)), "--again", "refused")
    assert total(store) == bill(fal)
    generate(fal, store, write(*edited))
    assert prune(store, "--left", "--delete", "--yes").status == 0
    assert total(store) == bill(fal)
    forget_at_fal(fal)
    generate(fal, store, write(*edited, first[11]), "--again", "missing")  # bought twice, at the user's word
    assert total(store) == bill(fal)
    assert cli(None, "forget", "r1", "r2", "--yes", "--store", str(store), "--dataset", "d").status == 0
    assert total(store) == bill(fal)
    store.rename(tmp_path / "moved")
    assert total(tmp_path / "moved") == bill(fal)
    assert total(tmp_path / "moved", "--dataset", "d", "--by", "day") == bill(fal)
    for derived in ("settled", "manifests"):
        for file in (tmp_path / "moved" / "d" / derived).rglob("*.parquet"):
            file.unlink()
    assert total(tmp_path / "moved") == bill(fal)


def test_costs_are_told_by_dataset_partition_day_month_and_model(fal: Fal, store: Path, tmp_path: Path) -> None:
    for part, count in (("x", 2), ("y", 3)):
        rows = table(tmp_path / f"{part}.jsonl", count, part=part, prompt2=part)
        ran = cli(fal, "generate", rows, *target(store, "cats"), "--id-column", "id", "--template", "{prompt} {part}",
                  "--partition", f"part={part}", *MINI_LOW)  # fmt: skip
        assert ran.status == 0, ran.stderr
    generate(fal, store, table(tmp_path / "t.jsonl", 1))
    found = costs(store, "--by", "dataset")
    assert [(group["dataset"], group["billed_usd"]) for group in found["groups"]] == [("cats", "0.05"), ("d", "0.01")]
    assert found["total"]["billed_usd"] == "0.06"
    assert set(found["total"]) == ANSWER
    parts = costs(store, "--by", "partition")["groups"]
    assert [(group["dataset"], group["partition"], group["requests"]) for group in parts] == [
        ("cats", "x", 2),
        ("cats", "y", 3),
        ("d", None, 1),
    ]
    days = {str(record["completed_at"])[:10] for record in records(store, "cats") + records(store, "d")}
    assert {group["day"] for group in costs(store, "--by", "day")["groups"]} == days
    assert {group["month"] for group in costs(store, "--by", "month")["groups"]} == {day[:7] for day in days}
    assert [group["model"] for group in costs(store, "--by", "model")["groups"]] == ["gpt-image-1-mini"]
    told = cli(None, "costs", "--store", str(store))
    assert [line.split()[0] for line in told.stdout.splitlines()] == ["dataset", "cats", "d", "in"]


def test_what_is_in_doubt_or_in_flight_is_estimated_and_what_fal_does_not_say_is_not_made_up(
    fal: Fal, store: Path, tmp_path: Path
) -> None:
    rows = table(tmp_path / "t.jsonl", 3)
    fal.fail("number 1", "submit_lost")
    fal.fail("number 2", "stuck")
    fal.set(history_lag=86400.0)
    generate(fal, store, rows, "--settle", "0", "--patience", "1")
    found = costs(store)["total"]
    assert (found["requests"], found["billed_usd"], found["estimated_usd"]) == (3, "0.01", "0.02")
    fal.mend()
    fal.set(history_lag=0.0)
    assert found["unknown"] == 0


def test_days_and_months_are_those_of_utc(fal: Fal, store: Path, tmp_path: Path) -> None:
    generate(fal, store, table(tmp_path / "t.jsonl", 1))
    [receipt] = store.glob("d/receipts/*/*.outcome.*.json")
    said = json.loads(receipt.read_text())
    receipt.write_text(json.dumps(said | {"completed_at": "2026-03-01T01:30:00+02:00"}))
    assert [group["day"] for group in costs(store, "--by", "day")["groups"]] == ["2026-02-28"]
    assert [group["month"] for group in costs(store, "--by", "month")["groups"]] == ["2026-02"]


def test_the_command_line_has_all_groups() -> None:
    [by] = [parameter for parameter in costs_command.params if parameter.name == "by"]
    assert isinstance(by.type, click.Choice)
    assert tuple(by.type.choices) == BYS


def test_a_dataset_that_is_not_there_is_an_error_and_an_empty_store_costs_nothing(store: Path) -> None:
    ran = cli(None, "costs", "--store", str(store), "--dataset", "d")
    assert (ran.status, "no dataset 'd'" in ran.stderr) == (2, True)
    assert costs(store)["total"]["requests"] == 0
