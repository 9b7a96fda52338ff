"""Rows that are forgotten."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

from tests.harness import Fal, at_terminal, cli, records, table, target
from tests.support import MINI_LOW

SECRET = "number 1"


def generate(fal: Fal, store: Path, rows: str, *more: str) -> dict[str, object]:
    ran = cli(fal, "generate", rows, *target(store), "--id-column", "id", *MINI_LOW, *more)
    assert ran.status in {0, 3}, ran.stderr
    return {**ran.summary, "status": ran.status, "stderr": ran.stderr}


def everything(store: Path) -> str:
    """All that the dataset's small objects say."""
    return "\n".join(path.read_text() for path in sorted(store.rglob("*.json")))


def forget(fal: Fal | None, store: Path, *rows: str) -> tuple[int, str]:
    ran = cli(fal, "forget", *rows, "--yes", "--store", str(store), "--dataset", "d")
    return ran.status, ran.stderr


def test_a_forgotten_row_is_erased_everywhere_and_never_bought_again(fal: Fal, store: Path, tmp_path: Path) -> None:
    rows = table(tmp_path / "t.jsonl", 3)
    generate(fal, store, rows)
    before = {r["row_id"]: r for r in records(store, "d")}
    status, told = forget(None, store, "r1")
    assert (status, "1 request erased" in told, "ADMIN key" in told) == (0, True, True)

    assert SECRET not in everything(store)
    assert not Path(before["r1"]["uri"].removeprefix("file://")).exists()
    after = {r["row_id"]: r for r in records(store, "d")}
    assert {row: r["status"] for row, r in after.items()} == {"r0": "stored", "r1": "erased", "r2": "stored"}
    gone = after["r1"]
    assert (gone["prompt"], gone["uri"], gone["arguments"]) == ("", None, {})
    assert gone["sha256"] == before["r1"]["sha256"]
    assert sum(Decimal(str(r["cost_usd"])) for r in after.values()) == Decimal("0.03")

    again = generate(fal, store, rows, "--again", "r1")  # the table still has it; not even the user's word buys it
    assert (again["bought"], again["reused"], again["erased"], again["status"]) == (0, 2, 1, 0)
    assert len(fal.charged()) == 3
    assert SECRET not in everything(store)
    assert next(r for r in records(store, "d") if r["row_id"] == "r1")["prompt"] == ""
    assert forget(None, store, "r1")[0] == 0  # once more changes nothing


def test_an_erasure_survives_the_loss_of_the_index(fal: Fal, store: Path, tmp_path: Path) -> None:
    rows = table(tmp_path / "t.jsonl", 2)
    generate(fal, store, rows)
    forget(None, store, "r1")
    assert cli(None, "rebuild", "--store", str(store), "--dataset", "d").status == 0
    again = generate(fal, store, rows)
    assert (again["bought"], again["erased"], len(fal.charged())) == (0, 1, 2)


def test_equal_rows_are_one_purchase_and_one_erasure_of_which_the_user_is_asked_first(
    fal: Fal, store: Path, tmp_path: Path
) -> None:
    one, two = tmp_path / "1.jsonl", tmp_path / "2.jsonl"
    one.write_text(json.dumps({"id": "a", "prompt": "the same", "part": "x"}))
    two.write_text(json.dumps({"id": "b", "prompt": "the same", "part": "y"}))
    generate(fal, store, str(one), "--partition", "part=x")
    generate(fal, store, str(two), "--partition", "part=y")
    asked = "1 row with 1 image, and 1 other row with the same images (b): prompts, arguments and images are erased"
    named = ("forget", "a", "--store", str(store), "--dataset", "d")
    for ran, status, said in (
        (cli(None, *named), 2, "use --yes to erase them without a confirmation. Nothing was erased"),
        (at_terminal("n", *named), 130, "Erase? [y/N]"),
    ):
        assert (ran.status, asked in ran.stderr, said in ran.stderr) == (status, True, True), ran.stderr
        assert {r["status"] for r in records(store, "d")} == {"stored"}, "nobody has said yes"
    ran = at_terminal("y", *named)
    assert ran.status == 0
    assert "rows that shared an image with them are erased as well: b" in ran.stderr
    assert {r["status"] for r in records(store, "d")} == {"erased"}


def test_rows_that_are_unknown_or_have_not_ended_are_told_and_nothing_is_erased(
    fal: Fal, store: Path, tmp_path: Path
) -> None:
    rows = table(tmp_path / "t.jsonl", 2)
    fal.fail("number 1", "submit_lost")
    fal.set(history_lag=86400.0)
    generate(fal, store, rows, "--settle", "0")
    kept = everything(store)
    for wanted, words in (("nobody", "has the row nobody"), ("r1", "have not ended")):
        status, told = forget(None, store, "r0", wanted)
        assert (status, words in told) == (2, True), told
    assert everything(store) == kept


def test_a_forgotten_row_is_in_no_gallery_and_has_no_thumbnail(fal: Fal, store: Path, tmp_path: Path) -> None:
    generate(fal, store, table(tmp_path / "t.jsonl", 2))
    assert cli(None, "gallery", "--store", str(store), "--dataset", "d").status == 0
    assert len(list(store.rglob("thumbnails/*/*.webp"))) == 2
    status, told = forget(None, store, "r1")
    assert (status, "galleries are removed" in told) == (0, True)
    assert not [path for path in store.rglob("*.js") if SECRET in path.read_text()]
    assert not list(store.rglob("index.html"))
    assert len(list(store.rglob("thumbnails/*/*.webp"))) == 1
