"""A piece of the settled index that is lost, damaged or another one's changes nothing that a run says."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness import Fal, Ran, cli, emulator, records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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


HARMS = (lose, truncate, empty, swap, flip)


@pytest.fixture(scope="module")
def fal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fal]:
    """One emulator for all tests: each has a store of its own."""
    with emulator(tmp_path_factory.mktemp("fal") / "emulator", "--latency", "0.2", "--slots", "20") as running:
        yield running


@pytest.fixture(scope="module")
def bought(fal: Fal, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table, and with the store that three runs have made of it.

    Each has bought two rows, of which one is refused in the second run, and bought in the third.
    """
    folder = tmp_path_factory.mktemp("bought")
    table, store = folder / "t.csv", folder / "store"
    fal.fail("thing 2", "refused", times=1)
    for n in range(1, RUNS + 1):
        table.write_text("prompt\n" + "".join(f"thing {row}\n" for row in range(2 * n)), encoding="utf-8")
        run(fal, "generate", table, store, *(("--again", "refused") if n == RUNS else ()))
    assert len(pieces(store)) == RUNS
    return folder


@pytest.fixture
def table(bought: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(bought / "t.csv", tmp_path / "t.csv"))


@pytest.fixture
def store(bought: Path, tmp_path: Path) -> Path:
    """A copy of that store."""
    return shutil.copytree(bought / "store", tmp_path / "store")


@pytest.mark.parametrize(
    ("harm", "number"),
    # Each harm is done to one of the pieces in the quick tests, and to the others in the long ones.
    [
        pytest.param(harm, number, marks=() if number == place % RUNS else pytest.mark.long)
        for place, harm in enumerate(HARMS)
        for number in range(RUNS)
    ],
)
def test_a_piece_that_is_lost_or_damaged_changes_no_plan_buys_nothing_and_is_written_again(
    fal: Fal, store: Path, table: Path, harm: Callable[[Path, list[Path]], None], number: int
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


def test_a_piece_of_another_dataset_is_none_of_this_one(fal: Fal, store: Path, table: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    table.write_text("prompt\nthing 6\nthing 7\n", encoding="utf-8")
    run(fal, "generate", table, other)
    plan = told(run(fal, "plan", table, store))
    assert plan["bought"] == 2
    shutil.copyfile(pieces(other)[0], pieces(store)[0])
    assert told(run(fal, "plan", table, store)) == plan
    assert told(run(fal, "generate", table, store))["bought"] == 2


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
