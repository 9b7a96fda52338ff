"""Verify: what is stored against what is on record; what is gone is fetched; a request is adopted by its id."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.collect.test_missing_images import gone
from tests.engine.maintain.test_prune import forget_at_fal, generate, images, prune
from tests.harness import Fal, Ran, cli, records, table, target
from tests.support import MINI_LOW


def verify(fal: Fal | None, store: Path, *more: str) -> Ran:
    return cli(
        fal, "verify", "--store", str(store), "--dataset", "d", "--json", *more, env={} if fal else {"FAL_KEY": ""}
    )


def test_what_is_there_as_it_is_on_record_is_said(fal: Fal, store: Path, tmp_path: Path) -> None:
    generate(fal, store, table(tmp_path / "t.jsonl", 3))
    for more in ((), ("--hashes",)):
        ran = verify(fal, store, *more)
        assert (ran.status, "all are there" in ran.stderr) == (0, True), ran.stderr
        size = sum(path.stat().st_size for path in images(store))
        assert (ran.summary["images"], ran.summary["bytes"], ran.summary["missing"]) == (3, size, 0)


@pytest.mark.parametrize("left", [None, 0, 100], ids=["gone", "emptied", "cut off"])
def test_what_is_gone_or_cut_off_is_fetched_byte_for_byte(
    fal: Fal, store: Path, tmp_path: Path, left: int | None
) -> None:
    _, file, kept = gone(fal, store, tmp_path)
    if left is not None:
        file.write_bytes(kept[:left])
    told = verify(None, store)  # without a key nothing is fetched
    assert (told.status, told.summary["missing"], told.summary["fetched"]) == (3, 1, 0)
    assert "row r1" in told.stderr
    assert "FAL_KEY" in told.stderr
    ran = verify(fal, store)
    assert (ran.status, ran.summary["fetched"], ran.summary["missing"]) == (0, 1, 0), ran.stderr
    assert file.read_bytes() == kept
    assert len(fal.charged()) == 3


def test_what_fal_no_longer_has_is_missing(fal: Fal, store: Path, tmp_path: Path) -> None:
    rows, file, kept = gone(fal, store, tmp_path)
    forget_at_fal(fal)
    ran = verify(fal, store)
    assert (ran.status, ran.summary["missing"], ran.summary["fetched"]) == (3, 1, 0)
    assert "--again missing" in ran.stderr
    generate(fal, store, rows, "--again", "missing")
    assert verify(fal, store).status == 0  # it was bought again
    file.write_bytes(kept)
    assert verify(fal, store).status == 0


def test_a_file_with_other_bytes_is_told_and_never_overwritten(fal: Fal, store: Path, tmp_path: Path) -> None:
    _, file, kept = gone(fal, store, tmp_path)
    longer, same_size = kept + b"more", b"\0" * len(kept)
    file.write_bytes(longer)
    ran = verify(fal, store)
    assert (ran.status, ran.summary["changed"], ran.summary["missing"]) == (3, 1, 0)
    assert file.read_bytes() == longer
    file.write_bytes(same_size)
    assert verify(fal, store).status == 0  # sizes do not tell
    ran = verify(fal, store, "--hashes")
    assert (ran.status, ran.summary["changed"]) == (3, 1)
    assert file.read_bytes() == same_size
    file.unlink()
    assert (verify(fal, store).status, file.read_bytes() == kept) == (0, True)


def test_what_was_pruned_is_no_trouble_and_stays_pruned(fal: Fal, store: Path, tmp_path: Path) -> None:
    generate(fal, store, table(tmp_path / "t.jsonl", 3))
    generate(fal, store, table(tmp_path / "t.jsonl", 2))
    assert prune(store, "--left", "--delete", "--yes").status == 0
    ran = verify(fal, store)
    assert (ran.status, ran.summary["pruned"], ran.summary["fetched"]) == (0, 1, 0)
    assert len(images(store)) == 2
    leftover = images(store)[0].with_name(images(store)[0].name.replace("-0.png", "-9.png"))
    leftover.write_bytes(b"")
    assert verify(fal, store).summary["unnamed"] == 0  # its request is on record: that is for prune to judge


def held(fal: Fal, store: Path, tmp_path: Path) -> tuple[str, str]:
    """A row whose submit's reply was lost, while the history does not show it: its table, and its request at fal."""
    rows = table(tmp_path / "t.jsonl", 2)
    fal.fail("number 1", "submit_lost")
    fal.set(history_lag=86400.0)
    assert generate(fal, store, rows, "--settle", "0").summary["held"] == 1
    known = {record["request_id"] for record in records(store, "d")}
    [lost] = [row["request_id"] for row in fal.bill()["rows"] if row["request_id"] not in known]
    fal.set(history_lag=0.0)
    return rows, lost


def test_a_request_is_adopted_by_its_id(fal: Fal, store: Path, tmp_path: Path) -> None:
    rows, lost = held(fal, store, tmp_path)
    fal.mend()
    ran = verify(fal, store, "--adopt", lost, "--row", "r1")
    assert (ran.status, "collects it" in ran.stderr) == (0, True), ran.stderr
    fal.set(history_lag=86400.0)  # the run does not find it by itself
    again = generate(fal, store, rows)
    assert (again.status, again.summary["bought"], again.summary["reattached"]) == (0, 0, 1), again.stderr
    assert len(fal.charged()) == 2


def test_a_request_is_not_adopted_by_a_row_that_it_is_not_of(fal: Fal, store: Path, tmp_path: Path) -> None:
    _, lost = held(fal, store, tmp_path)
    others = table(tmp_path / "u.jsonl", 3)
    cli(fal, "generate", others, *target(store, "other"), "--id-column", "id", *MINI_LOW)
    elsewhere = next(r["request_id"] for r in records(store, "other") if r["row_id"] == "r2")
    mine = next(r["request_id"] for r in records(store, "d") if r["row_id"] == "r0")
    receipts = sorted(path.name for path in store.rglob("d/receipts/*/*"))
    for request, row, words in (
        (lost, "r0", "is in doubt"),
        (elsewhere, "r1", "its prompt is different"),
        (mine, "r1", "already on record"),
        ("nobody-knows-it", "r1", "does not show"),
    ):
        ran = verify(fal, store, "--adopt", request, "--row", row)
        assert (ran.status, words in ran.stderr) == (2, True), ran.stderr
    assert sorted(path.name for path in store.rglob("d/receipts/*/*")) == receipts
