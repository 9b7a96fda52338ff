"""Exports from and to a real S3 server: verified, resumed, cleaned up, and with links that open an image."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from typing import TYPE_CHECKING, Any

import httpx
import polars as pl
import pytest

from dagster_gptimg.engine.export.export import export
from dagster_gptimg.engine.export.export_list import LIST, UNFINISHED
from dagster_gptimg.engine.export.options import Exported, ExportOptions
from dagster_gptimg.errors import StoreError, UsageError
from dagster_gptimg.store.dataset import Dataset
from dagster_gptimg.store.root import Store
from dagster_gptimg.testing import NO_TLS
from tests import galleries
from tests.galleries import Row, picture

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _environment(s3: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3.items():
        monkeypatch.setenv(name, value)


def bucket(path: str) -> Store:
    return Store(f"s3://bucket/{path}", {"skip_instance_cache": True})


@pytest.fixture
def on_s3(tmp_path: Path) -> Dataset:
    """A dataset in an object store."""
    made = Dataset(bucket(f"{tmp_path.name}/store"), "d")
    made.open("emulator:tests")
    return made


@pytest.fixture
def target(tmp_path: Path) -> Store:
    return bucket(f"{tmp_path.name}/out")


def rows(count: int, first: int = 0) -> list[Row]:
    return [Row(f"r/{n}", "p", (picture(n),), columns=(("link", "mine"),)) for n in range(first, first + count)]


def to(target: Store, dataset: Dataset, layout: str = "folder", **more: Any) -> Exported:
    return export(dataset, target, ExportOptions(layout, **more))  # type: ignore[arg-type]


def table(target: Store) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(target.read("images.csv").decode(), newline="")))


def test_a_folder_in_an_object_store_is_brought_up_to_date(on_s3: Dataset, target: Store) -> None:
    galleries.write(on_s3, rows(5))
    on_s3.store.delete(f"d/{path_of(on_s3, 'r/4')}")
    found = to(target, on_s3)
    assert (found.images, found.path, [one.what for one in found.failed]) == (4, None, ["missing"])
    assert found.uri == f"s3://{target.root}"
    galleries.write(on_s3, rows(5, first=1))
    found = to(target, on_s3)
    assert (found.images, found.copied, found.removed) == (5, 2, 1)
    for row in table(target):
        assert hashlib.sha256(target.read(row["file_name"])).hexdigest() == row["sha256"]
    assert target.names("") == [LIST, "images.csv", *(f"r_{n}-0.webp" for n in range(1, 6))]
    assert to(target, on_s3).copied == 0


def path_of(dataset: Dataset, row_id: str) -> str:
    from dagster_gptimg.store.layout import image_in
    from dagster_gptimg.store.manifest import read_manifest

    (record,) = [one for one in read_manifest(dataset, None).to_pylist() if one["row_id"] == row_id]
    return image_in(record["uri"]) or ""


def test_an_export_to_an_object_store_that_was_stopped_goes_on(dataset: Dataset, target: Store) -> None:
    galleries.write(dataset, rows(40))

    def stop(done: int, _of: int) -> None:
        if done == 5:
            raise StoreError("no network")

    with pytest.raises(StoreError, match="no network"):
        export(dataset, target, ExportOptions(), on_progress=stop)
    assert UNFINISHED in target.names("")
    assert LIST not in target.names("")
    there = [name for name in target.names("") if name.endswith(".webp")]
    assert len(there) >= 5
    assert to(target, dataset).copied == 40 - len(there)


@pytest.mark.parametrize("layout", ["parquet", "webdataset", "zip", "imagefolder"])
def test_files_of_many_images_are_whole_objects(layout: str, on_s3: Dataset, target: Store) -> None:
    galleries.write(on_s3, rows(3))
    found = to(target, on_s3, layout)
    listed = [json.loads(line) for line in target.read(LIST).splitlines()][1:]
    assert {one["name"] for one in listed} >= set(found.files)
    for one in listed:
        data = target.read(one["name"])
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (one["sha256"], one["bytes"])
    if layout == "parquet":
        frame = pl.read_parquet(io.BytesIO(target.read(found.files[0])))
        assert [hashlib.sha256(cell["bytes"]).hexdigest() for cell in frame["image"]] == frame["sha256"].to_list()
    assert to(target, on_s3, layout).copied == 0


def test_links_open_the_exported_image_and_are_made_on_request_only(on_s3: Dataset, target: Store) -> None:
    galleries.write(on_s3, rows(2))
    to(target, on_s3)
    assert {row["link"] for row in table(target)} == {"mine"}
    found = to(target, on_s3, links=600)
    assert found.renamed == {"link": "link_column"}
    for row in table(target):
        assert "/out/" in row["link"]
        assert hashlib.sha256(httpx.get(row["link"], verify=NO_TLS).content).hexdigest() == row["sha256"]
        assert row["link_column"] == "mine"


def test_links_from_a_local_folder_lead_to_the_dataset(on_s3: Dataset, tmp_path: Path) -> None:
    galleries.write(on_s3, rows(1))
    local = Store(str(tmp_path / "out"))
    for layout in ("folder", "zip"):
        to(local if layout == "folder" else Store(str(tmp_path / "zip")), on_s3, layout, links=60)
    (row,) = table(local)
    assert "/store/d/images/" in row["link"]
    assert httpx.get(row["link"], verify=NO_TLS).content == picture(0)


def test_a_folder_in_the_store_is_refused(on_s3: Dataset, tmp_path: Path) -> None:
    galleries.write(on_s3, rows(1))
    for path in ("store", "store/d/x", "store/x", ""):
        with pytest.raises(UsageError, match="lie one within the other"):
            to(bucket(f"{tmp_path.name}/{path}".rstrip("/")), on_s3)
