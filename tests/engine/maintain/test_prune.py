"""Prune: receipts judge what may go; what was paid for goes only when somebody says so, and can be had again."""

from __future__ import annotations

import json
import shutil
from decimal import Decimal
from pathlib import Path

import httpx

from dagster_gptimg.store.layout import parse_image
from tests.harness import Fal, Ran, cli, records, table, target
from tests.support import MINI_LOW


def generate(fal: Fal, store: Path, rows: str, *more: str) -> Ran:
    ran = cli(fal, "generate", rows, *target(store), "--id-column", "id", *MINI_LOW, *more)
    assert ran.status in {0, 3}, ran.stderr
    return ran


def prune(store: Path | str, *more: str, env: dict[str, str] | None = None) -> Ran:
    return cli(None, "prune", "--store", str(store), "--dataset", "d", *more, env=env)


def images(store: Path) -> list[Path]:
    return sorted(path for path in store.glob("d/images/*/*") if path.is_file())


def left_by_one(fal: Fal, store: Path, tmp_path: Path) -> str:
    """A dataset of three rows, of which the last has left the table; its table."""
    generate(fal, store, table(tmp_path / "t.jsonl", 3))
    rows = table(tmp_path / "t.jsonl", 2)
    generate(fal, store, rows)
    return rows


def test_what_receipts_name_is_not_superfluous(fal: Fal, store: Path, tmp_path: Path) -> None:
    left_by_one(fal, store, tmp_path)
    ran = prune(store, "--delete", "--yes", "--json")
    assert (ran.status, ran.summary["images"], ran.summary["deleted"]) == (0, 0, False)
    assert len(images(store)) == 3


def test_files_that_no_receipt_names_are_named_and_then_deleted(fal: Fal, store: Path, tmp_path: Path) -> None:
    generate(fal, store, table(tmp_path / "t.jsonl", 2))
    kept = images(store)
    orphan = kept[0].with_name(kept[0].name.replace("-0.png", "-7.png"))
    orphan.write_bytes(b"a leftover")
    strangers = [kept[0].parent / ".DS_Store", store / "d" / "images" / ".DS_Store", kept[0].parent / "holiday.png"]
    for path in strangers:
        path.write_bytes(b"somebody's own")
    named = prune(store)
    assert [Path(uri.removeprefix("file://")) for uri in named.stdout.split()] == [orphan]
    assert "nothing was deleted" in named.stderr
    assert orphan.exists()
    assert prune(store, "--delete", "--yes").status == 0
    assert not orphan.exists()
    assert all(path.exists() for path in (*kept, *strangers))


def test_the_images_of_rows_that_left_are_told_with_rows_and_dollars_and_go_at_a_word(
    fal: Fal, store: Path, tmp_path: Path
) -> None:
    left_by_one(fal, store, tmp_path)
    [name] = prune(store, "--left").stdout.split()
    ran = prune(store, "--left", "--delete")  # nobody can be asked: this is no terminal
    assert (ran.status, len(images(store))) == (2, 3)
    assert "1 image file" in ran.stderr
    assert "of 1 row; $0.01 was paid for them" in ran.stderr
    assert "--yes" in ran.stderr
    told = prune(store, "--left", "--delete", "--yes", "--json").summary
    assert (told["images"], told["rows"], told["cost_usd"], told["deleted"]) == (1, 1, "0.01", True)
    assert not Path(name.removeprefix("file://")).exists()
    [fact] = store.glob("d/receipts/*/*.deleted.*.json")
    assert json.loads(fact.read_text())["reason"] == "pruned"
    assert prune(store, "--left").stdout == ""


def test_a_pruned_row_that_comes_back_is_fetched_while_fal_has_it(fal: Fal, store: Path, tmp_path: Path) -> None:
    left_by_one(fal, store, tmp_path)
    prune(store, "--left", "--delete", "--yes")
    again = generate(fal, store, table(tmp_path / "t.jsonl", 3)).summary
    assert (again["rows"], again["images"], again["bought"], again["missing"]) == (3, 3, 0, 0)
    assert len(fal.charged()) == 3
    assert len(images(store)) == 3


def test_a_pruned_row_that_fal_no_longer_has_is_bought_at_the_users_word_only(
    fal: Fal, store: Path, tmp_path: Path
) -> None:
    left_by_one(fal, store, tmp_path)
    prune(store, "--left", "--delete", "--yes")
    forget_at_fal(fal)
    rows = table(tmp_path / "t.jsonl", 3)
    held = generate(fal, store, rows)
    assert (held.status, held.summary["missing"], held.summary["bought"]) == (3, 1, 0)
    [told] = [record for record in records(store, "d") if record["status"] == "missing"]
    assert "deleted by `prune`" in told["error"]
    assert "--again missing" in told["error"]
    assert Decimal(str(told["cost_usd"])) == Decimal("0.01")
    bought = generate(fal, store, rows, "--again", "missing")
    assert (bought.status, bought.summary["bought"]) == (0, 1)
    assert len(fal.charged()) == 4
    assert generate(fal, store, rows, "--again", "missing").summary["bought"] == 0
    costs = {record["row_id"]: Decimal(str(record["cost_usd"])) for record in records(store, "d")}
    assert costs["r2"] == Decimal("0.02")  # both requests were made for it


def forget_at_fal(fal: Fal) -> None:
    """Have fal delete results and files of everything that it has made so far."""
    for row in fal.bill()["rows"]:
        url = f"{fal.url}/v1/models/requests/{row['request_id']}/payloads"
        httpx.delete(url, headers={"Authorization": "Key admin-id:secret"}).raise_for_status()


def test_a_partition_without_its_image_table_keeps_its_images(fal: Fal, store: Path, tmp_path: Path) -> None:
    rows = table(tmp_path / "t.jsonl", 2, part="x")
    generate(fal, store, rows, "--partition", "part=x")
    generate(fal, store, table(tmp_path / "u.jsonl", 1))
    shutil.rmtree(store / "d" / "manifests" / "x")
    ran = prune(store, "--left", "--delete", "--yes")
    assert (ran.status, "partition 'x' has images" in ran.stderr) == (2, True)
    assert len(images(store)) == 2


def test_images_without_their_receipts_are_not_judged(fal: Fal, store: Path, tmp_path: Path) -> None:
    generate(fal, store, table(tmp_path / "t.jsonl", 2))
    shutil.rmtree(store / "d" / "receipts")
    shutil.rmtree(store / "d" / "manifests")
    ran = prune(store, "--delete", "--yes")
    assert (ran.status, "the receipts are missing" in ran.stderr) == (2, True)
    assert len(images(store)) == 2


def test_prune_waits_for_runs_that_are_open(fal: Fal, store: Path, tmp_path: Path) -> None:
    rows = table(tmp_path / "t.jsonl", 1)
    fal.fail("number 0", "submit_lost")
    fal.set(history_lag=86400.0)
    generate(fal, store, rows, "--settle", "0")
    ran = prune(store)
    assert (ran.status, "was not finished" in ran.stderr) == (2, True)


def test_a_receipt_cannot_have_another_file_deleted(fal: Fal, store: Path, tmp_path: Path) -> None:
    generate(fal, store, table(tmp_path / "t.jsonl", 2))
    victim = tmp_path / "victim.txt"
    victim.write_text("precious")
    [outcome, _] = sorted(store.glob("d/receipts/*/*.outcome.*.json"))
    said = json.loads(outcome.read_text())
    said["images"][0]["path"] = "../../victim.txt"
    outcome.write_text(json.dumps(said))
    [row] = [r["row_id"] for r in records(store, "d") if r["request_id"] == said["request_id"]]
    prune(store, "--left", "--delete", "--yes")
    cli(None, "forget", row, "--yes", "--store", str(store), "--dataset", "d")
    assert victim.read_text() == "precious"
    assert len(images(store)) == 2


def test_only_names_of_ours_are_images() -> None:
    key = "ab" * 32
    assert parse_image(f"images/ab/{key}-R-1-0.png") is not None
    for path in ("../victim.txt", f"images/cd/{key}-R-1-0.png", f"images/ab/{key}-../x-0.png", f"images/ab/{key}.png"):
        assert parse_image(path) is None
