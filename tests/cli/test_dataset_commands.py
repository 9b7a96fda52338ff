"""What a store has: `datasets`, image tables by status that can be generated from again, and `gallery`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dagster_gptimg import FalSettings, UsageError, generate, open_dataset
from dagster_gptimg.fal.settings import FalUrls
from tests import galleries
from tests.galleries import Row, picture
from tests.harness import Fal, cli, records, table, target
from tests.support import MINI_LOW


def test_the_datasets_of_a_store_in_numbers(fal: Fal, store: Path, tmp_path: Path) -> None:
    fal.fail("number 1", "refused")
    rows = table(tmp_path / "t.jsonl", 3)
    assert cli(fal, "generate", rows, *target(store), "--id-column", "id", *MINI_LOW).status == 3
    galleries.write(
        galleries.dataset_in(store, "shop/photos"),
        [Row("a", "p", (picture(1), picture(2))), Row("b", "p", status="held"), Row("c", "p", status="lost")],
    )
    ran = cli(None, "datasets", "--store", str(store), "--json")
    first, second = ran.summary["datasets"]
    size = sum(record["bytes"] or 0 for record in records(store, "d"))
    assert (first["dataset"], first["rows"], first["images"], first["bytes"], first["billed_usd"]) == (
        "d",
        3,
        2,
        size,
        "0.02",
    )
    assert (first["refused"], first["held"], first["lost"], first["unknown"]) == (1, 0, 0, 0)
    assert first["origin"].startswith("emulator:")
    assert first["last_run"].startswith("20")
    assert (second["dataset"], second["rows"], second["images"], second["last_run"]) == ("shop/photos", 3, 2, None)
    assert (second["held"], second["lost"]) == (1, 1)
    lines = cli(None, "datasets", "--store", str(store)).stdout.splitlines()
    assert "rows without images" in lines[0]
    assert lines[1].endswith("1 refused")
    assert lines[2].endswith("1 held, 1 lost")


def test_a_store_without_datasets_says_so(store: Path) -> None:
    ran = cli(None, "datasets", "--store", str(store))
    assert (ran.status, ran.stdout, ran.stderr.strip()) == (0, "", "there is no dataset in this store")


@pytest.mark.parametrize("form", ["csv", "prompts"])
def test_refused_rows_are_edited_and_generated_again(fal: Fal, store: Path, tmp_path: Path, form: str) -> None:
    fal.fail("number 1", "refused")
    rows = table(tmp_path / "t.jsonl", 3, shop="x")
    cli(fal, "generate", rows, *target(store), "--id-column", "id", *MINI_LOW)
    told = cli(None, "manifest", "--store", str(store), "--dataset", "d", "--status", "refused", "--format", form)
    assert len(told.stdout.splitlines()) == 2
    edited = tmp_path / "edited.csv"
    edited.write_text(told.stdout.replace("number 1", "number one"), encoding="utf-8")
    more = MINI_LOW[:2] if form == "prompts" else (*MINI_LOW, "--inputs", "none")
    ran = cli(fal, "generate", str(edited), *target(store), "--id-column", "row_id", *more)
    assert (ran.status, ran.summary["bought"]) == (0, 1), ran.stderr
    after = {record["row_id"]: record for record in records(store, "d")}
    assert {row: record["status"] for row, record in after.items()} == dict.fromkeys(("r0", "r1", "r2"), "stored")
    assert "number one" in after["r1"]["prompt"]
    assert after["r1"]["columns"]["shop" if form == "prompts" else "status"]
    assert after["r1"]["arguments"] == after["r0"]["arguments"] | {"prompt": after["r1"]["prompt"]}
    assert len(fal.charged()) == 3


def test_a_prompt_table_has_a_line_a_row_with_its_number_of_images(fal: Fal, store: Path, tmp_path: Path) -> None:
    rows = table(tmp_path / "t.jsonl", 1)
    cli(fal, "generate", rows, *target(store), "--id-column", "id", *MINI_LOW, "--set", "num_images=6")
    told = cli(None, "manifest", "--store", str(store), "--dataset", "d", "--format", "prompts").stdout
    edited = tmp_path / "same.csv"
    edited.write_text(told, encoding="utf-8")
    assert len(told.splitlines()) == 2
    ran = cli(fal, "generate", str(edited), *target(store), "--id-column", "row_id", *MINI_LOW[:2])
    assert (ran.summary["bought"], ran.summary["reused"]) == (0, 6)


def test_rows_with_reference_images_make_no_prompt_table(store: Path) -> None:
    own = (("image_urls", ["sha256:abc"]),)
    galleries.write(galleries.dataset_in(store), [Row("a", "p", status="refused", arguments=own)])
    ran = cli(None, "manifest", "--store", str(store), "--dataset", "d", "--format", "prompts")
    assert (ran.status, "row 'a' has reference images" in ran.stderr) == (2, True)


def test_a_gallery_is_written_and_its_place_is_told(store: Path, tmp_path: Path) -> None:
    galleries.write(galleries.dataset_in(store), [Row("a", "p", (picture(1),)), Row("b", "p", status="held")])
    ran = cli(None, "gallery", "--store", str(store), "--dataset", "d")
    assert (ran.status, ran.stdout) == (0, f"{store}/d/gallery/index.html\n")
    assert "2 records, 1 image; 1 thumbnail made; originals are linked" in ran.stderr
    copied = cli(None, "gallery", "--store", str(store), "--dataset", "d", "--to", str(tmp_path / "to"), "--json")
    assert (copied.summary["originals"], copied.summary["path"]) == ("copied", f"{tmp_path}/to/index.html")
    none = cli(None, "gallery", "--store", str(store), "--dataset", "e")
    assert (none.status, none.stderr.strip()) == (
        2, "error: dataset 'e' has no image table in this store yet: run `generate` first. The store has 'd'",
    )  # fmt: skip
    assert not (store / "e").exists()


def test_a_dataset_is_opened_without_its_table(store: Path, tmp_path: Path) -> None:
    dataset = galleries.dataset_in(store)
    galleries.write(dataset, [Row("a", "a hat", (picture(1), picture(2)))], "hats")
    galleries.write(dataset, [Row("b", "a cup", (picture(3),)), Row("c", "no", status="refused", error="no")], "cups")
    images = open_dataset(store, "d")
    assert repr(images) == "<StoredImages: 3 images of d; 1 record without an image>"
    assert [image.row_id for image in images] == ["b", "a", "a"]
    assert [(row.row_id, row.error) for row in images.without_images] == [("c", "no")]
    assert images[0].read_image() == picture(3)
    assert "<figure" in images._repr_html_()
    hats = open_dataset(store, "d", "hats")
    assert [image.prompt for image in hats] == ["a hat"] * 2
    assert hats.gallery().path == f"{store}/d/gallery/partitions/hats/index.html"
    assert images.gallery(tmp_path / "to").path == f"{tmp_path}/to/index.html"
    assert str(images.costs().total.billed_usd) == "0"
    for name, partition, said in (("e", None, "there is no dataset 'e'"), ("d", "x", "partition 'x' of dataset 'd'")):
        with pytest.raises(UsageError, match=said):
            open_dataset(store, name, partition)


def test_generated_images_have_a_gallery_and_frames(fal: Fal, store: Path) -> None:
    import polars as pl

    settings = FalSettings("test-key", FalUrls.at(fal.url))
    given = {"quality": "low", "image_size": "1024x1024"}
    images = generate(["a cup", "a hat"], store=store, dataset="d", arguments=given, settings=settings, progress=False)
    found = images.gallery()
    assert (found.records, found.images, found.thumbnails_made) == (2, 2, 2)
    frame = pl.DataFrame(open_dataset(store, "d").table)
    assert frame["prompt"].to_list() == ["a cup", "a hat"]
    assert json.loads(frame["arguments"][0])["quality"] == "low"
