"""`dagster-gptimg review`: from the command line into the image table, beside runs and the other commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dagster_gptimg.store import layout
from tests.harness import Fal, Ran, cli, emulator, records, table, target
from tests.support import MINI_LOW

if TYPE_CHECKING:
    from collections.abc import Iterator

HOSTILE = "<script>alert(1)</script>\x1b[2J\u202e"


@pytest.fixture(scope="module")
def fal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fal]:
    with emulator(tmp_path_factory.mktemp("fal") / "state", "--latency", "0.05", "--slots", "20") as running:
        yield running


@pytest.fixture
def rows(fal: Fal, store: Path, tmp_path: Path) -> str:
    """A table of three rows whose images are stored."""
    found = table(tmp_path / "t.jsonl", 3)
    generate(fal, store, found)
    return found


def generate(fal: Fal, store: Path, rows: str) -> dict[str, Any]:
    ran = cli(fal, "generate", rows, *target(store), "--id-column", "id", *MINI_LOW)
    assert ran.status == 0, ran.stderr
    return ran.summary


def review(store: Path, *arguments: str) -> Ran:
    return cli(None, "review", *arguments, *target(store))


def shown(store: Path) -> dict[str, Any]:
    return {r["row_id"]: r["verdict"] for r in records(store, "d")}


def verdict_files(store: Path) -> list[Path]:
    return sorted((store / "d" / layout.VERDICTS).rglob("*.json"))


def test_verdicts_come_into_the_image_table_and_stay_through_runs(
    fal: Fal, store: Path, rows: str, tmp_path: Path
) -> None:
    ran = review(store, "reject", "r0", "--note", HOSTILE, "--by", "ann")
    assert (ran.status, ran.summary) == (0, {"recorded": 1, "unchanged": 0, "not_applied": []}), ran.stderr
    assert "1 verdict recorded" in ran.stderr
    assert review(store, "approve", "r1:0").status == 0
    first = {r["row_id"]: r for r in records(store, "d")}
    assert {row: r["verdict"] for row, r in first.items()} == {"r0": "rejected", "r1": "approved", "r2": None}
    assert (first["r0"]["verdict_by"], first["r0"]["verdict_number"]) == ("ann", 1)
    assert first["r0"]["verdict_note"].isprintable()
    assert first["r1"]["verdict_by"], "the name of the system's user"

    manifest = store / "d" / layout.manifest_name(None)
    before = manifest.read_bytes()
    assert generate(fal, store, rows)["bought"] == 0
    assert manifest.read_bytes() != before, "the run writes the verdicts into the table"
    written = manifest.read_bytes()
    assert generate(fal, store, rows)["bought"] == 0
    assert manifest.read_bytes() == written
    assert {r["row_id"]: r for r in records(store, "d")} == first

    lines = [f"r0,0,{first['r0']['sha256']},cleared,,1", f"r2,0,{first['r2']['sha256']},rejected,,1"]
    file = tmp_path / "verdicts.csv"
    file.write_text("row_id,image_index,sha256,verdict,note,seen\n" + "\n".join(lines))
    ran = review(store, "import", str(file))
    assert (ran.status, ran.summary["recorded"]) == (3, 1)
    assert ran.summary["not_applied"] == [{"line": 3, "row_id": "r2", "image_index": 0, "why": "stale"}]
    assert "line 3, row 'r2', image 0: not applied (stale)" in ran.stderr
    assert shown(store) == {"r0": None, "r1": "approved", "r2": None}

    manifest.unlink()
    assert cli(None, "rebuild", "--store", str(store), "--dataset", "d").status == 0
    assert shown(store) == {"r0": None, "r1": "approved", "r2": None}


def test_the_rest_is_approved_and_what_has_a_verdict_stays(store: Path, rows: str) -> None:
    assert review(store, "reject", "r1", "--by", "bob").status == 0
    ran = review(store, "approve", "--rest", "--by", "ann", "--note", "fine")
    assert (ran.status, ran.summary["recorded"], "2 verdicts recorded" in ran.stderr) == (0, 2, True), ran.stderr
    assert shown(store) == {"r0": "approved", "r1": "rejected", "r2": "approved"}
    assert review(store, "approve", "--rest").summary == {"recorded": 0, "unchanged": 0, "not_applied": []}
    assert review(store, "clear", "r1").status == 0
    assert review(store, "approve", "--rest", "--partition", "shoes").status == 2
    for wrong in (["approve", "r1", "--rest"], ["approve"], ["reject", "--rest"], ["clear", "--rest"]):
        assert review(store, *wrong).status == 2, wrong
    assert shown(store)["r1"] is None


def test_bad_usage_is_told_and_records_nothing(store: Path, rows: str, tmp_path: Path) -> None:
    file = tmp_path / "verdicts.csv"
    file.write_text(f"row_id,image_index,sha256,verdict,note,seen\nr0,0,{HOSTILE},rejected,,0\n")
    ran = review(store, "import", str(file))
    assert ran.status == 2
    assert "line 2 has no SHA-256" in ran.stderr
    assert "\x1b" not in ran.stderr
    assert review(store, "approve", "r0", "nobody").status == 2
    assert cli(None, "review", "approve", *target(store)).status == 2
    assert not verdict_files(store)


def test_verify_prune_and_forget_know_verdicts(fal: Fal, store: Path, rows: str) -> None:
    review(store, "reject", "r0", "r1", "--note", "a secret")
    found = cli(None, "prune", *target(store), "--left", "--delete", "--yes")
    assert (found.status, found.summary["images"]) == (0, 0), found.stderr
    assert len(verdict_files(store)) == 2
    ran = cli(None, "verify", *target(store))
    assert (ran.status, ran.summary["verdicts"], ran.summary["unnamed"]) == (0, 2, 0), ran.stderr
    assert "2 verdicts" in ran.stderr

    generate(fal, store, rows)  # the note stands in the written table, too
    assert cli(None, "forget", "r0", "--yes", "--store", str(store), "--dataset", "d").status == 0
    assert sorted(json.loads(path.read_text())["note"] or "" for path in verdict_files(store)) == ["", "a secret"]
    after = {r["row_id"]: r for r in records(store, "d")}
    assert (after["r0"]["verdict"], after["r0"]["verdict_note"]) == (None, None)
    assert after["r1"]["verdict_note"] == "a secret"
    generate(fal, store, rows)
    assert {r["row_id"]: r["verdict_note"] for r in records(store, "d")} == {"r0": None, "r1": "a secret", "r2": None}
    assert review(store, "approve", "r0").status == 2, "it has no image any more"

    verdict_files(store)[0].write_bytes(b"{")
    ran = cli(None, "verify", *target(store))
    assert (ran.status, ran.summary["unreadable"]) == (3, 1)
    assert "is a verdict that cannot be read" in ran.stderr
