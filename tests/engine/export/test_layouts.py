"""Each layout is opened by its own libraries, in a process of its own, with the bytes that were stored."""

from __future__ import annotations

import hashlib
import json
import tarfile
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from dagster_gptimg.engine import operations
from dagster_gptimg.engine.export.options import Exported, ExportOptions, Layout
from tests import galleries
from tests.engine.export.judges import judged
from tests.galleries import Row, picture

if TYPE_CHECKING:
    from pathlib import Path

    from dagster_gptimg.store.dataset import Dataset

READERS: list[tuple[Layout, str]] = [
    ("folder", "folder"),
    ("zip", "zip"),
    ("webdataset", "webdataset"),
    ("parquet", "polars"),
    ("parquet", "duckdb"),
]
HUGGING_FACE: list[tuple[Layout, str]] = [
    ("imagefolder", "datasets imagefolder"),
    ("imagefolder", "datasets"),
    ("parquet", "datasets parquet"),
    ("parquet", "datasets"),
]


def export(dataset: Dataset, to: Path, layout: Layout, **more: Any) -> Exported:
    return operations.export(dataset, str(to), ExportOptions(layout, **more))


def hostile_rows(count: int) -> list[Row]:
    """Rows on which readers stumble: ids with dots and words for splits, columns of several types, odd names."""
    ids = ["test", "v1.2", "v1.3", "dev-1", "val/x", "__a__", "../up", "con", "a:b", "train", "é", "=1+1"]
    rows = []
    for number in range(count):
        row_id = ids[number] if number < len(ids) else f"row-{number}"
        own = (
            ("label", "red" if number % 2 else "blue"),
            ("image", "shoe.png"),
            ("image_file_name", "nowhere.png"),
            ("day", "2026-11-01" if number < count - 1 else "no day"),
            ("code", "007" if number < count - 1 else 12),
            ("late", None if number < count - 1 else "at last"),
            ("weight", number if number % 2 else number + 0.5),
            ("new", number % 2 == 0),
            ("tags", ["a", number]),
            ("Prompt", "another"),
        )
        rows.append(Row(row_id, f"a cup, number {number}\n=SUM(A1)", (picture(number),), columns=own))
    return rows


def check(found: list[dict[str, Any]], rows: list[Row]) -> None:
    """Every image is there once, with its own bytes and its row."""
    expected = {row.row_id: hashlib.sha256(row.images[0]).hexdigest() for row in rows}
    assert {row["row_id"]: row["digest"] for row in found} == expected
    assert len(found) == len(rows)
    assert all(row["digest"] == row["sha256"] for row in found)
    by_id = {row["row_id"]: row for row in found}
    for row in rows:
        own, told = dict(row.columns), by_id[row.row_id]
        assert (told["day"], told["code"]) == (own["day"], str(own["code"]))
        assert told["late"] in ([own["late"]] if own["late"] else [None, ""])
        assert float(told["weight"]) == own["weight"]
        assert str(told["new"]).lower() == str(own["new"]).lower()
        assert told["tags"] == json.dumps(own["tags"])
        assert (told["label"], told["prompt"], told["Prompt_column"]) == (own["label"], row.prompt, "another")
        assert told.get("image_column", told.get("image")) == "shoe.png"


@pytest.mark.parametrize(("layout", "reader"), READERS)
def test_a_layout_is_opened_by_its_readers(layout: Layout, reader: str, dataset: Dataset, to: Path) -> None:
    rows = hostile_rows(30)
    galleries.write(dataset, rows)
    found = export(dataset, to, layout)
    assert (found.images, found.copied, found.is_complete) == (30, 30, True)
    check(judged(reader, to), rows)


@pytest.mark.long
@pytest.mark.parametrize(("layout", "reader"), HUGGING_FACE)
def test_a_layout_is_opened_by_hugging_face(layout: Layout, reader: str, dataset: Dataset, to: Path) -> None:
    rows = hostile_rows(30)
    galleries.write(dataset, rows)
    export(dataset, to, layout)
    found = judged(reader, to)
    check(found, rows)
    if layout == "imagefolder":
        assert {row["image_file_name_column"] for row in found} == {"nowhere.png"}


@pytest.mark.long
def test_no_row_is_lost_late_in_a_large_imagefolder(dataset: Dataset, to: Path) -> None:
    """Types are told by the first rows: here a column changes after more rows than a reader looks at."""
    images = [picture(number) for number in range(5)]
    rows = [
        Row(f"r{n}", "a cup", (images[n % 5],), columns=(("when", "2026-11-01" if n < 2_499 else "later"),))
        for n in range(2_500)
    ]
    galleries.write(dataset, rows)
    export(dataset, to, "imagefolder")
    found = judged("datasets imagefolder", to)
    assert len({row["row_id"] for row in found}) == 2_500
    assert [row["when"] for row in found if row["row_id"] == "r2499"] == ["later"]


def test_shards_hold_no_more_than_was_said_and_are_the_same_bytes_again(dataset: Dataset, to: Path) -> None:
    noise = [picture(number, 600, "BMP") for number in range(5)]  # 1.1 MB each
    galleries.write(dataset, [Row(f"r{n}", "p", (data,)) for n, data in enumerate(noise)])
    first = export(dataset, to, "webdataset", shard_mb=3)
    assert first.files == [f"train/images-0000{n}.tar" for n in range(3)]
    export(dataset, to.with_name("again"), "webdataset", shard_mb=3)
    for name in first.files:
        assert (to / name).read_bytes() == (to.with_name("again") / name).read_bytes()
        with tarfile.open(to / name) as tar:
            assert {(member.mtime, member.uid, member.mode) for member in tar} == {(0, 0, 0o644)}
    parquet = export(dataset, to.with_name("parquet"), "parquet", shard_mb=3)
    assert len(parquet.files) == 3


def test_a_row_group_of_parquet_is_bounded(dataset: Dataset, to: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dagster_gptimg.engine.export.parquet._GROUP_BYTES", 3 * len(picture(0)))
    galleries.write(dataset, [Row(f"r{n}", "p", (picture(n),)) for n in range(20)])
    (name,) = export(dataset, to, "parquet").files
    groups = pq.ParquetFile(to / name).metadata
    assert groups.num_row_groups > 5
    assert groups.num_rows == 20


def test_keys_of_webdataset_have_no_dots_and_stay_apart(dataset: Dataset, to: Path) -> None:
    galleries.write(dataset, [Row(row, "p", (picture(n),)) for n, row in enumerate(("v1.2", "v1.3", "v1_2"))])
    export(dataset, to, "webdataset")
    found = judged("webdataset", to)
    keys = {row["row_id"]: row["key"] for row in found}
    assert keys["v1.3"] == "v1_3-0"
    assert len(set(keys.values())) == 3
    assert not any("." in key for key in keys.values())


def test_an_svg_is_in_no_layout_whose_readers_decode_all_images(dataset: Dataset, to: Path) -> None:
    galleries.write(dataset, [Row("a", "p", (picture(1),)), Row("b", "p", (picture(2),))])
    mark_as_svg(dataset, "b")
    counts = {}
    for layout in ("imagefolder", "parquet", "folder", "webdataset", "zip"):
        found = export(dataset, to / layout, layout)
        counts[layout] = (found.images, found.left_out)
    assert counts == {
        "imagefolder": (1, 1), "parquet": (1, 1), "folder": (2, 0), "webdataset": (2, 0), "zip": (2, 0)
    }  # fmt: skip


def mark_as_svg(dataset: Dataset, row_id: str) -> None:
    """Have the image table say that the image of a row is an SVG."""
    from dagster_gptimg.store.manifest import read_manifest, write_manifest

    records = read_manifest(dataset, None).to_pylist()
    for record in records:
        if record["row_id"] == row_id:
            record["content_type"] = "image/svg+xml"
    write_manifest(dataset, None, records)
