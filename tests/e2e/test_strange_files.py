"""Files that are not ours, in every folder of a dataset, are passed over: desktops and file servers leave them."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagster_gptimg.store.dataset import Dataset
from dagster_gptimg.store.images.listing import WantedImages, image_paths
from dagster_gptimg.store.manifest import manifest_folders, read_all_manifests
from dagster_gptimg.store.root import Store
from tests.harness import Fal, cli, records, table, target
from tests.support import MINI_LOW

STRANGE = (".DS_Store", "Thumbs.db", "desktop.ini", "._x", ".nfs0001", "note.txt")
FOLDERS = ("", "images", "images/00", "manifests", "manifests/_whole", "receipts", "receipts/ab", "settled", "runs",
           "inbox", "uploads")  # fmt: skip


def litter(folder: Path) -> None:
    for place in FOLDERS:
        (folder / place).mkdir(parents=True, exist_ok=True)
        for name in STRANGE:
            (folder / place / name).write_bytes(b"x")
    (folder / "manifests" / "empty").mkdir()


def test_every_command_passes_over_files_that_are_not_ours(fal: Fal, store: Path, tmp_path: Path) -> None:
    rows = table(tmp_path / "t.jsonl", 2)
    named = ("--store", str(store), "--dataset", "d")
    assert cli(fal, "generate", rows, *target(store), *MINI_LOW).status == 0
    litter(store / "d")
    for name in STRANGE:
        (store / name).write_bytes(b"x")
    again = cli(fal, "generate", rows, *target(store), *MINI_LOW)
    assert (again.status, again.summary["reused"]) == (0, 2), again.stderr
    assert cli(None, "plan", rows, *target(store), *MINI_LOW).summary["reused"] == 2
    assert len(records(store, "d")) == 2
    for command in (("rebuild", *named), ("prune", *named), ("manifest", *named, "--format", "table")):
        ran = cli(None, *command)
        assert ran.status == 0, ran.stderr
    more = cli(fal, "generate", table(tmp_path / "t.jsonl", 3), *target(store), *MINI_LOW)
    assert (more.status, more.summary["bought"], len(fal.charged())) == (0, 1, 3)


@pytest.mark.parametrize("root", ["memory://strange", "local"])
def test_stores_of_every_kind_list_only_what_is_ours(root: str, tmp_path: Path) -> None:
    dataset = Dataset(Store(str(tmp_path) if root == "local" else root), "d")
    for folder in FOLDERS[1:]:
        for name in STRANGE:
            dataset.store.write(f"d/{folder}/{name}", b"x")
    assert manifest_folders(dataset) == []
    with pytest.raises(FileNotFoundError):
        read_all_manifests(dataset)
    wanted = WantedImages()
    wanted.add([f"images/00/{'0' * 64}-r-0.png"])
    assert len(wanted.missing(dataset)) == 1
    assert all(path.startswith("images/") for path in image_paths(dataset))


def test_a_dataset_that_is_misspelt_names_the_one_that_is_meant(fal: Fal, store: Path, tmp_path: Path) -> None:
    rows = table(tmp_path / "t.jsonl", 1)
    for name in ("catalog", "team/photos"):
        assert cli(fal, "generate", rows, "--store", str(store), "--dataset", name, *MINI_LOW).status == 0
    for command in ("manifest", "rebuild"):
        told = cli(None, command, "--store", str(store), "--dataset", "catalgo").stderr
        assert "The store has 'catalog', 'team/photos'; did you mean 'catalog'?" in told
        assert (
            "did you mean 'team/photos'?" in cli(None, command, "--store", str(store), "--dataset", "team/photo").stderr
        )
