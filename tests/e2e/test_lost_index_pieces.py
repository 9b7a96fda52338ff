"""A piece of the settled index that is lost, damaged or another one's changes nothing that a run says."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness import Fal, Ran, cli, records

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PLACE = ("--dataset", "d", "--set", "quality=low", "--set", "image_size=1024x1024")
RUNS = 3


def run(fal: Fal, word: str, table: Path, store: Path, *more: str) -> Ran:
    ran = cli(fal, word, str(table), "--store", str(store), *PLACE, *more, "--json")
    assert ran.status in {0, 3}, ran.stderr
    return ran


def told(ran: Ran) -> dict[str, Any]:
    return {name: value for name, value in ran.summary.items() if name != "seconds"}


def pieces(store: Path) -> list[Path]:
    return sorted((store / "d" / "settled").glob("*.parquet"))


def lose(piece: Path, _: list[Path]) -> None:
    piece.unlink()


def truncate(piece: Path, _: list[Path]) -> None:
    piece.write_bytes(piece.read_bytes()[: piece.stat().st_size // 2])


def empty(piece: Path, _: list[Path]) -> None:
    piece.write_bytes(b"")


def swap(piece: Path, others: list[Path]) -> None:
    shutil.copyfile(next(other for other in others if other != piece), piece)


def flip(piece: Path, _: list[Path]) -> None:
    data = bytearray(piece.read_bytes())
    data[len(data) // 4] ^= 1
    piece.write_bytes(data)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "t.csv"


@pytest.fixture
def made(fal: Fal, store: Path, table: Path) -> None:
    """Three runs that have bought two rows each, of which one is refused in the second run, and bought in the third."""
    fal.fail("thing 2", "refused", times=1)
    for n in range(1, RUNS + 1):
        table.write_text("prompt\n" + "".join(f"thing {row}\n" for row in range(2 * n)), encoding="utf-8")
        run(fal, "generate", table, store, *(("--again", "refused") if n == RUNS else ()))
    assert len(pieces(store)) == RUNS


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize("number", range(RUNS))
@pytest.mark.parametrize("harm", [lose, truncate, empty, swap, flip])
def test_a_piece_that_is_lost_or_damaged_changes_no_plan_buys_nothing_and_is_written_again(
    fal: Fal, store: Path, table: Path, number: int, harm: Callable[[Path, list[Path]], None]
) -> None:
    plan, sent, images = told(run(fal, "plan", table, store)), len(fal.bill()["rows"]), records(store, "d")
    harm(pieces(store)[number], pieces(store))
    assert told(run(fal, "plan", table, store)) == plan
    found = told(run(fal, "generate", table, store))
    assert (found["bought"], found["reused"], found["reattached"]) == (0, 2 * RUNS, 0)
    assert (len(fal.bill()["rows"]), records(store, "d")) == (sent, images)
    again = run(fal, "generate", table, store)
    assert "left out" not in again.stderr, "what was damaged is gone"
    assert told(run(fal, "plan", table, store)) == plan


@pytest.mark.usefixtures("made")
def test_a_piece_of_another_dataset_is_none_of_this_one(fal: Fal, store: Path, table: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    table.write_text("prompt\nthing 6\nthing 7\n", encoding="utf-8")
    run(fal, "generate", table, other)
    plan = told(run(fal, "plan", table, store))
    assert plan["bought"] == 2
    shutil.copyfile(pieces(other)[0], pieces(store)[0])
    assert told(run(fal, "plan", table, store)) == plan
    assert told(run(fal, "generate", table, store))["bought"] == 2


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize("harm", [lose, truncate])
def test_after_one_run_a_lost_piece_no_longer_makes_runs_read_all_receipts(
    fal: Fal, store: Path, table: Path, harm: Callable[[Path, list[Path]], None]
) -> None:
    harm(pieces(store)[0], pieces(store))
    run(fal, "generate", table, store)
    plan = told(run(fal, "plan", table, store))
    hidden = store / "d" / "receipts"
    hidden.rename(store / "d" / "hidden")
    hidden.mkdir()
    assert told(run(fal, "plan", table, store)) == plan
