"""Each place that a run writes into is tried before anything is bought, and by `doctor`; old leftovers are removed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from dagster_gptimg.errors import StoreError
from dagster_gptimg.store.dataset import Dataset
from dagster_gptimg.store.layout import FOLDERS
from dagster_gptimg.store.local_files import OLD, PART
from dagster_gptimg.store.root import Store
from tests.harness import Fal, Ran, cli, table, target
from tests.support import MINI_LOW


def generate(fal: Fal, store: Path, rows: str) -> Ran:
    return cli(fal, "generate", rows, *target(store), "--id-column", "id", *MINI_LOW)


def doctor(fal: Fal, store: Path) -> Ran:
    return cli(fal, "doctor", "--store", str(store), "--dataset", "d")


def spoil(folder: Path, aside: Path) -> None:
    """Put a link that leads nowhere in place of a folder: not even root can write there."""
    if folder.exists():
        shutil.move(folder, aside)
    folder.symlink_to(aside / "nowhere" / "at all")


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_that_cannot_be_written_into_is_found_before_anything_is_bought(
    fal: Fal, store: Path, tmp_path: Path, folder: str
) -> None:
    assert generate(fal, store, table(tmp_path / "t.jsonl", 1)).status == 0
    assert "✓ dataset: all folders" in doctor(fal, store).stdout
    spoil(store / "d" / folder, tmp_path / "aside")
    ran = generate(fal, store, table(tmp_path / "t.jsonl", 3))
    assert ran.status == 2, ran.stderr
    assert f"cannot write into d/{folder} in the store" in ran.stderr
    assert "Nothing was sent" in ran.stderr
    assert fal.bill()["requests"] == 1
    told = doctor(fal, store)
    assert (told.status, f"✗ dataset: cannot write into d/{folder}" in told.stdout) == (2, True)


def test_a_folder_of_another_user_below_is_found_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = Dataset(Store(str(tmp_path)), "d")
    dataset.store.create("d/images/ab/x", b"")
    dataset.try_folders()
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).endswith("/ab") and access(path, mode))
    with pytest.raises(StoreError, match=r"cannot write into d/images .*Permission denied.*/ab'"):
        dataset.try_folders()


def test_trying_leaves_nothing(store: Path) -> None:
    dataset = Dataset(Store(str(store)), "d")
    dataset.open("fal")
    before = sorted(store.rglob("*"))
    dataset.try_folders()
    assert sorted(store.rglob("*")) == before


def test_trying_an_object_store_leaves_nothing(s3: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    dataset = Dataset(Store("s3://bucket/tried", {"skip_instance_cache": True}), "d")
    dataset.try_folders()
    assert dataset.store.fs.find("bucket/tried") == []


def test_a_run_removes_what_killed_runs_left_in_the_folders_that_it_lists(
    fal: Fal, store: Path, tmp_path: Path
) -> None:
    rows = table(tmp_path / "t.jsonl", 1)
    assert generate(fal, store, rows).status == 0
    left = store / "d" / "settled" / f"{PART}0123456789abcdef"
    left.touch()
    moment = left.stat().st_mtime - OLD - 60
    os.utime(left, (moment, moment))
    assert generate(fal, store, rows).status == 0
    assert not left.exists()
    assert fal.bill()["requests"] == 1
