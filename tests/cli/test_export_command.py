"""`export`: what it says, its JSON and its exit status."""

from __future__ import annotations

import csv
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from dagster_gptimg.engine.export.options import Exported
from dagster_gptimg.engine.export.words import open_line
from dagster_gptimg.store.manifest import read_manifest
from tests import galleries
from tests.galleries import Row, picture
from tests.harness import cli

if TYPE_CHECKING:
    from pathlib import Path

ROWS = [
    Row("a", "a red cup", (picture(1), picture(2)), columns=(("category", "cups"), ("image", "x"))),
    Row("b", "a hat", (picture(3),), columns=(("category", "hats"),)),
]


@pytest.fixture
def where(store: Path, tmp_path: Path) -> tuple[str, ...]:
    galleries.write(galleries.dataset_in(store), ROWS)
    return ("--store", str(store), "--dataset", "d", "--to", str(tmp_path / "out"))


def test_images_are_exported_under_names_of_a_template(where: tuple[str, ...], store: Path, tmp_path: Path) -> None:
    assert cli(None, "review", "approve", "a:1", *where[:4]).status == 0
    ran = cli(None, "export", *where, "--name", "{category}/{row_id}-{image_index}", "--only", "approved", "--json")
    assert (ran.status, ran.stderr) == (0, "1 image, 1 written now\n")
    assert ran.stdout.splitlines()[0] == str(tmp_path / "out")
    assert (tmp_path / "out" / "cups" / "a-1.webp").read_bytes() == picture(2)
    assert ran.summary == {
        "uri": f"file://{tmp_path}/out", "path": f"{tmp_path}/out", "layout": "folder", "files": ["images.csv"],
        "images": 1, "copied": 1, "removed": 0, "failed": 0, "left_out": 0, "earlier_takes": 0, "kept": [], "wrong": [],
        "stored": 3, "no_verdict": 2, "renamed": {},
    }  # fmt: skip


def test_what_is_wrong_is_told_by_row_and_by_the_exit_status(
    where: tuple[str, ...], store: Path, tmp_path: Path
) -> None:
    for record in read_manifest(galleries.dataset_in(store), None).to_pylist():
        if record["row_id"] == "a":
            from pathlib import Path

            Path(record["uri"].removeprefix("file://")).unlink()
    ran = cli(None, "export", *where, "--layout", "imagefolder", "--json")
    assert ran.status == 3
    assert ran.stderr.splitlines() == [
        "1 image, 1 written now",
        "columns under another name: 'image' is called 'image_column'",
        "row a, image 0: not exported: its file is gone",
        "row a, image 1: not exported: its file is gone",
        "`dagster-gptimg verify` fetches files from fal that are gone; then export again",
        f'open it: load_dataset("imagefolder", data_dir="{tmp_path}/out")',
    ]
    assert (ran.summary["failed"], ran.summary["wrong"][0]["what"]) == (2, "missing")


@pytest.mark.parametrize(
    ("layout", "unread"),
    [("folder", ""), ("imagefolder", "; an export in the layout imagefolder cannot be opened without images")],
)
def test_an_export_without_images_says_why_and_is_no_success(where: tuple[str, ...], layout: str, unread: str) -> None:
    assert cli(None, "review", "reject", "b", *where[:4]).status == 0
    ran = cli(None, "export", *where, "--only", "approved", "--layout", layout, "--json")
    assert ran.status == 3
    assert f"0 of 3 images are approved (2 have no verdict){unread}" in ran.stderr.splitlines()
    assert (ran.summary["images"], ran.summary["stored"], ran.summary["no_verdict"]) == (0, 3, 2)


def test_the_line_that_opens_an_export_names_the_shards_that_there_are(where: tuple[str, ...], tmp_path: Path) -> None:
    told = cli(None, "export", *where, "--layout", "webdataset").stderr.splitlines()[-1]
    assert told == f'open it: webdataset.WebDataset("{tmp_path}/out/train/images-00000.tar")'
    found = Exported("", "/out", "webdataset", images=3, files=[f"train/images-{n:05}.tar" for n in range(12)])
    assert open_line(found) == 'open it: webdataset.WebDataset("/out/train/images-{00000..00011}.tar")'
    assert open_line(replace(found, layout="parquet")) == 'open it: load_dataset("parquet", data_dir="/out")'
    assert not open_line(replace(found, layout="zip"))
    assert not open_line(replace(found, images=0))


def test_names_that_are_not_possible_are_told_and_nothing_is_written(where: tuple[str, ...], tmp_path: Path) -> None:
    ran = cli(None, "export", *where, "--name", "{category}")
    assert ran.status == 2
    assert "row 'a', image 1: 'cups.webp' is also the name of row a, image 0" in ran.stderr
    for wrong in (["--layout", "tar"], ["--only", "rejected"], ["--links", "0"], ["--shard-mb", "0"], ["--name", " "]):
        assert cli(None, "export", *where, *wrong).status == 2, wrong
    assert not (tmp_path / "out").exists()


def test_one_partition_is_exported(store: Path, tmp_path: Path) -> None:
    for key in ("cups", "hats"):
        galleries.write(galleries.dataset_in(store), [Row(key, "p", (picture(1),))], key)
    where = ("--store", str(store), "--dataset", "d", "--to", str(tmp_path / "out"))
    assert cli(None, "export", *where, "--partition", "cups").status == 0
    with (tmp_path / "out" / "images.csv").open(encoding="utf-8", newline="") as file:
        assert [(row["row_id"], row["partition"], row["file_name"]) for row in csv.DictReader(file)] == [
            ("cups", "cups", "cups/cups-0.webp")
        ]
    ran = cli(None, "export", *where, "--partition", "shoes")
    assert (ran.status, "has no image table" in ran.stderr) == (2, True)
