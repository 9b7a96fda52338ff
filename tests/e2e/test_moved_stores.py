"""A store that was moved, copied, or is reached by another address: nothing is bought, pruned, or dead."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
import pytest

from dagster_gptimg.errors import RebuyError
from dagster_gptimg.notebook import generate as generate_images
from dagster_gptimg.store.root import Store
from tests.engine.maintain.test_prune import generate, images, prune
from tests.harness import Fal, cli, records, table, target
from tests.support import MINI_LOW

if TYPE_CHECKING:
    from dagster_gptimg.engine.record.summary import Summary


def check(fal: Fal, store: Path, rows: str) -> None:
    """The store at its new place is as good as at the old one."""
    assert all(
        record["uri"].startswith(store.resolve().as_uri()) or str(store) in record["uri"]
        for record in records(store, "d")
    )
    for record in records(store, "d"):
        with fsspec.open(record["uri"], "rb") as file:
            assert file.read(4) == b"\x89PNG"
    assert prune(store, "--left", "--delete", "--yes", "--json").summary["images"] == 0
    again = generate(fal, store, rows).summary
    assert (again["bought"], again["missing"], again["reused"]) == (0, 0, 3)
    assert prune(store, "--left", "--delete", "--yes", "--json").summary["images"] == 0
    assert len(images(store)) == 3
    assert len(fal.charged()) == 3


def test_a_folder_that_was_moved(fal: Fal, store: Path, tmp_path: Path) -> None:
    rows = table(tmp_path / "t.jsonl", 3)
    generate(fal, store, rows)
    store.rename(tmp_path / "moved")
    check(fal, tmp_path / "moved", rows)


def test_a_folder_that_was_copied_is_its_own(fal: Fal, store: Path, tmp_path: Path) -> None:
    rows = table(tmp_path / "t.jsonl", 3)
    generate(fal, store, rows)
    shutil.copytree(store, tmp_path / "copy")
    check(fal, tmp_path / "copy", rows)
    assert all(str(store) in record["uri"] for record in records(store, "d"))


def test_a_store_that_is_reached_through_a_link(fal: Fal, store: Path, tmp_path: Path) -> None:
    rows = table(tmp_path / "t.jsonl", 3)
    generate(fal, store, rows)
    (tmp_path / "link").symlink_to(store)
    check(fal, tmp_path / "link", rows)


def test_a_bucket_that_was_copied(fal: Fal, s3: dict[str, str], tmp_path: Path) -> None:
    rows, there, copy = (
        table(tmp_path / "t.jsonl", 3),
        f"s3://bucket/{tmp_path.name}/a",
        f"s3://bucket/{tmp_path.name}/b",
    )
    ran = cli(fal, "generate", rows, *target(there), "--id-column", "id", *MINI_LOW, env=s3)
    assert ran.status == 0, ran.stderr
    fs = fsspec.filesystem(
        "s3", endpoint_url=s3["AWS_ENDPOINT_URL"], key="test", secret="test", use_listings_cache=False
    )
    for path in fs.find(there):
        fs.copy(path, path.replace(f"{tmp_path.name}/a/", f"{tmp_path.name}/b/"))
    fs.rm(there, recursive=True)
    assert prune(copy, "--left", "--delete", "--yes", "--json", env=s3).summary["images"] == 0
    assert all(record["uri"].startswith(f"{copy}/d/images/") for record in records(copy, "d", env=s3))
    again = cli(fal, "generate", rows, *target(copy), "--id-column", "id", *MINI_LOW, env=s3)
    assert (again.status, again.summary["reused"], len(fal.charged())) == (0, 3, 3)


def test_images_open_where_the_store_is_now(
    fal: Fal, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FAL_KEY", "FAL_BASE_URL"):
        monkeypatch.setenv(name, fal.env[name])
    rows = [{"id": "a", "prompt": "a thing"}]
    options: dict[str, Any] = {"store": str(store), "dataset": "d", "id_column": "id", "arguments": {"quality": "low"}}
    made = generate_images(rows, **options)
    store.rename(tmp_path / "moved")
    again = generate_images(rows, **options | {"store": str(tmp_path / "moved")})
    assert [image.read_image() for image in again] == [path.read_bytes() for path in images(tmp_path / "moved")]
    assert made.summary.bought == 1
    assert again.summary.bought == 0


def test_a_root_with_an_empty_part_is_one_folder_or_refused(fal: Fal, store: Path, tmp_path: Path) -> None:
    rows = table(tmp_path / "t.jsonl", 1)
    twice = f"{store.parent}//{store.name}/"
    for place in (twice, str(store)):
        ran = cli(fal, "generate", rows, "--store", place, "--dataset", "d", "--json", "--id-column", "id", *MINI_LOW)
        assert ran.status == 0, ran.stderr
    assert (ran.summary["reused"], len(fal.charged())) == (1, 1)
    for place in ("s3://bucket//x", "s3://bucket/x//y/", "memory://a//b"):
        refused = cli(None, "plan", rows, "--store", place, "--dataset", "d")
        assert (refused.status, "empty part" in refused.stderr) == (2, True), refused.stderr


def test_a_row_whose_receipts_no_listing_shows_is_held_and_never_bought(
    fal: Fal, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FAL_KEY", "FAL_BASE_URL"):
        monkeypatch.setenv(name, fal.env[name])
    rows = [{"id": "a", "prompt": "a thing"}]

    def again(**more: Any) -> Summary:
        return generate_images(rows, store=str(store), dataset="d", id_column="id", **more).summary

    assert again().bought == 1
    shutil.rmtree(store / "d" / "settled")
    names = Store.names
    monkeypatch.setattr(
        Store, "names", lambda self, folder, prefix="": [] if "/receipts" in folder else names(self, folder, prefix)
    )
    with pytest.raises(RebuyError, match="without any receipt"):
        again()
    found = again(allow_rebuy=True)
    assert (found.bought, found.held, len(fal.charged())) == (0, 1, 1)
    monkeypatch.undo()
    for name in ("FAL_KEY", "FAL_BASE_URL"):
        monkeypatch.setenv(name, fal.env[name])
    assert (again().reused, len(fal.charged())) == (1, 1)


@pytest.mark.parametrize("command", ["generate", "plan"])
def test_a_dataset_within_another_ones_folders_is_refused(fal: Fal, store: Path, tmp_path: Path, command: str) -> None:
    rows = table(tmp_path / "t.jsonl", 1)
    generate(fal, store, rows)
    for name in ("d/images", "d/receipts/x", "d/takes", "d/verdicts", "d/thumbnails", "d/settled"):
        ran = cli(fal, command, rows, *target(store, name), "--id-column", "id", *MINI_LOW)
        assert (ran.status, "is within the dataset" in ran.stderr) == (2, True), ran.stderr
    inside = cli(fal, command, rows, *target(store / "d" / "images"), "--id-column", "id", *MINI_LOW)
    assert (inside.status, "is within the dataset" in inside.stderr) == (2, True), inside.stderr
    beside = cli(fal, command, rows, *target(store, "d/more"), "--id-column", "id", *MINI_LOW)
    assert beside.status == 0, beside.stderr
    assert prune(store, "--delete", "--yes", "--json").summary["images"] == 0


@pytest.mark.parametrize("name", ["team/images", "team/images/ab", "team/takes/cats"])
def test_a_dataset_around_another_one_is_refused(fal: Fal, store: Path, tmp_path: Path, name: str) -> None:
    rows = table(tmp_path / "t.jsonl", 1)
    assert cli(fal, "generate", rows, *target(store, name), "--id-column", "id", *MINI_LOW).status == 0
    ran = cli(fal, "generate", rows, *target(store, "team"), "--id-column", "id", *MINI_LOW)
    assert (ran.status, f"the dataset {name!r} is where" in ran.stderr) == (2, True), ran.stderr
    assert len(fal.charged()) == 1


def test_a_dataset_without_its_first_file_is_an_error_that_names_it(fal: Fal, store: Path, tmp_path: Path) -> None:
    rows = table(tmp_path / "t.jsonl", 1)
    generate(fal, store, rows)
    about = store / "d" / "dataset.json"
    kept = about.read_text()
    about.unlink()
    for command in (
        ("generate", rows, *target(store), "--id-column", "id", *MINI_LOW),
        ("prune", "--store", str(store), "--dataset", "d"),
    ):
        ran = cli(fal, *command)
        assert (ran.status, str(about) in ran.stderr) == (2, True), ran.stderr
        assert "docs/receipts.md#datasetjson" in ran.stderr
    assert len(fal.charged()) == 1
    about.write_text(kept)
    assert generate(fal, store, rows).summary["reused"] == 1
