"""The image table that several runs write: each replaces the records of its rows, and leaves the others."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

from tests.engine.maintain.test_prune import generate, prune
from tests.harness import Fal, cli, records, table, target
from tests.support import MINI_LOW


def rows_of(store: Path) -> dict[str, str]:
    return {record["row_id"]: record["status"] for record in records(store, "d")}


def test_a_run_over_the_first_rows_leaves_the_others(fal: Fal, store: Path, tmp_path: Path) -> None:
    rows = table(tmp_path / "t.jsonl", 5)
    generate(fal, store, rows)
    before = {record["row_id"]: record for record in records(store, "d")}
    ran = generate(fal, store, rows, "--limit", "1")
    assert (ran.summary["rows"], ran.summary["bought"]) == (1, 0)
    assert {record["row_id"]: record for record in records(store, "d")} == before
    assert prune(store, "--left", "--delete", "--yes", "--json").summary["images"] == 0
    generate(fal, store, table(tmp_path / "t.jsonl", 4))  # a whole run drops what has left the table
    assert list(rows_of(store)) == ["r0", "r1", "r2", "r3"]


def test_a_run_over_the_first_rows_replaces_these(fal: Fal, store: Path, tmp_path: Path) -> None:
    rows = table(tmp_path / "t.jsonl", 3)
    generate(fal, store, rows)
    lines = Path(rows).read_text().splitlines()
    Path(rows).write_text("\n".join([json.dumps({"id": "r0", "prompt": "edited"}), *lines[1:]]))
    assert generate(fal, store, rows, "--limit", "1").summary["bought"] == 1
    told = {record["row_id"]: record["prompt"] for record in records(store, "d")}
    assert told == {"r0": "edited", "r1": "a thing, number 1", "r2": "a thing, number 2"}
    assert len(records(store, "d")) == 3


@pytest.mark.parametrize("again", [1, 2])
def test_two_tables_in_one_dataset_keep_their_records(fal: Fal, store: Path, tmp_path: Path, again: int) -> None:
    one, two = table(tmp_path / "one.jsonl", 2), tmp_path / "two.jsonl"
    two.write_text("\n".join(json.dumps({"id": f"s{n}", "prompt": f"something else {n}"}) for n in range(3)))
    for _ in range(again):
        generate(fal, store, one)
        generate(fal, store, str(two))
    assert set(rows_of(store)) == {"r0", "r1", "s0", "s1", "s2"}
    assert len(records(store, "d")) == 5
    assert prune(store, "--left", "--delete", "--yes", "--json").summary["images"] == 0
    assert sum(Decimal(str(record["cost_usd"])) for record in records(store, "d")) == Decimal("0.05")
    two.write_text(two.read_text().splitlines()[0])
    generate(fal, store, str(two))
    assert set(rows_of(store)) == {"r0", "r1", "s0"}


def test_the_same_table_under_a_new_name_is_no_second_one(fal: Fal, store: Path, tmp_path: Path) -> None:
    generate(fal, store, table(tmp_path / "monday.jsonl", 4))
    generate(fal, store, table(tmp_path / "tuesday.jsonl", 3))
    assert list(rows_of(store)) == ["r0", "r1", "r2"]


def test_a_limited_run_with_another_template_does_not_disarm_the_guard(fal: Fal, store: Path, tmp_path: Path) -> None:
    rows = table(tmp_path / "t.jsonl", 12)
    generate(fal, store, rows)
    other = ("--template", "{prompt}, again")
    assert generate(fal, store, rows, *other, "--limit", "1").summary["bought"] == 1
    ran = cli(fal, "generate", rows, *target(store), "--id-column", "id", *MINI_LOW, *other)
    assert (ran.status, "of the 12 rows that have images would be bought again" in ran.stderr) == (2, True), ran.stderr
    assert len(fal.charged()) == 13
