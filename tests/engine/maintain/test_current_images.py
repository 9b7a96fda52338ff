"""Which images the image tables have now: a table that has changed is read again, and no other time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dagster_gptimg.engine.maintain import current_images as module
from dagster_gptimg.engine.maintain.current_images import CurrentImages
from dagster_gptimg.errors import StoreError
from dagster_gptimg.store.layout import manifest_name
from dagster_gptimg.store.manifest import read_manifest, scan_columns_in
from dagster_gptimg.store.verdicts.verdicts import ImageId, image_of
from tests import galleries

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pyarrow as pa

    from dagster_gptimg.store.dataset import Dataset


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Row a in one partition, b in another."""
    made = galleries.dataset_in(tmp_path / "store")
    write(made, "a", 1, "north")
    write(made, "b", 2, "south")
    return made


def write(dataset: Dataset, row: str, picture: int, partition: str) -> None:
    galleries.write(dataset, [galleries.Row(row, "p", (galleries.picture(picture),))], partition)


def image(dataset: Dataset, partition: str) -> ImageId:
    found = image_of(read_manifest(dataset, partition).to_pylist()[0])
    assert found is not None
    return found


def test_an_image_is_there_until_its_table_has_another_one(dataset: Dataset) -> None:
    images, only = CurrentImages(dataset), CurrentImages(dataset, "north")
    old, other = image(dataset, "north"), image(dataset, "south")
    assert [images.has(old), images.has(other), only.has(old), only.has(other)] == [True, True, True, False]
    before, only_before = images.version(), only.version()
    write(dataset, "a", 3, "north")
    new = image(dataset, "north")
    assert [images.has(old), images.has(new), images.has(other), only.has(new)] == [False, True, True, True]
    assert images.version() not in {before, ""}
    assert only.version() != only_before
    north = only.version()
    dataset.store.delete(f"d/{manifest_name('south')}")
    assert [images.has(other), images.has(new)] == [False, True]
    assert only.version() == north


def test_tables_are_read_once_as_long_as_they_stay(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def counted(dataset: Dataset, folder: str, columns: list[str]) -> Iterator[pa.RecordBatch]:
        read.append(folder)
        return scan(dataset, folder, columns)

    scan = scan_columns_in
    monkeypatch.setattr(module, "scan_columns_in", counted)
    images, old = CurrentImages(dataset), image(dataset, "north")
    strange = ImageId("0" * 64, 0, "1" * 64)
    for _ in range(3):
        assert (images.has(old), images.has(strange)) == (True, False)
    assert sorted(read) == ["north", "south"]


def test_a_table_that_cannot_be_read_is_not_taken_for_one_without_images(dataset: Dataset) -> None:
    images, old = CurrentImages(dataset), image(dataset, "north")
    assert images.has(old)
    dataset.store.write(f"d/{manifest_name('north')}", b"not Parquet")
    for _ in range(2):
        with pytest.raises(StoreError, match="cannot be read"):
            images.has(old)
