"""The export of an image asset in Dagster: written downstream, and failed where an image is not as recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_gptimg import ImageStoreResource, UsageError, build_export, build_gptimg_asset, open_dataset
from dagster_gptimg.engine.maintain.review import review_rows
from dagster_gptimg.store.dataset import Dataset
from tests import galleries
from tests.galleries import Row, picture


def images(**more: Any) -> dg.AssetsDefinition:
    return build_gptimg_asset("images", prompts=[{"prompt": "a cup"}], group_name="shop", dataset="d", **more)


def materialized(export: dg.AssetsDefinition, store: Path) -> dict[str, Any]:
    result = dg.materialize([export], resources={"image_store": ImageStoreResource(root=str(store))})
    (event,) = result.asset_materializations_for_node(export.op.name)
    return {name: value.value for name, value in event.metadata.items()}


@pytest.fixture
def dataset(store: Path) -> Dataset:
    made = galleries.dataset_in(store)
    galleries.write(made, [Row(f"r{n}", "p", (picture(n),), columns=(("kind", "cups"),)) for n in range(3)])
    return made


def test_it_is_downstream_and_brings_the_folder_up_to_date(store: Path, dataset: Dataset, tmp_path: Path) -> None:
    review_rows(dataset, ["r0", "r1"], "approved", None, "ann")
    export = build_export(images(), to=tmp_path / "out", only="approved", file_names="{kind}/{row_id}")
    assert export.key == dg.AssetKey("images_export")
    assert export.asset_deps[export.key] == {dg.AssetKey("images")}
    assert export.group_names_by_key[export.key] == "shop"
    assert materialized(export, store) == {
        "export": str(tmp_path / "out"), "layout": "folder", "images": 2, "copied": 2, "removed": 0
    }  # fmt: skip
    review_rows(dataset, ["r1"], "rejected", None, "ann")
    assert materialized(export, store)["removed"] == 1
    assert [path.name for path in (tmp_path / "out" / "cups").iterdir()] == ["r0.webp"]


def test_an_export_without_images_succeeds_and_its_metadata_say_why(
    store: Path, dataset: Dataset, tmp_path: Path
) -> None:
    found = materialized(build_export(images(), to=tmp_path / "out", only="approved"), store)
    assert (found["images"], found["stored"], found["no_verdict"]) == (0, 3, 3)
    assert found["note"] == "0 of 3 images are approved (3 have no verdict)"


def test_an_image_that_is_gone_fails_the_step_and_the_others_are_there(
    store: Path, dataset: Dataset, tmp_path: Path
) -> None:
    Path(open_dataset(store, "d")[1].uri.removeprefix("file://")).unlink()  # type: ignore[union-attr]
    with pytest.raises(dg.Failure, match="row r1, image 0: not exported: its file is gone") as failure:
        materialized(build_export(images(), to=tmp_path / "out", name="hand_on"), store)
    assert failure.value.metadata["failed"].value == 1
    assert len(list((tmp_path / "out").glob("*.webp"))) == 2


def test_wrong_arguments_are_refused_where_it_is_defined(store: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not an image asset"):
        build_export(dg.asset(lambda: None, name="other"), to=tmp_path)
    with pytest.raises(UsageError, match="to is of the type NoneType: it must be a folder or an fsspec URL"):
        build_export(images(), to=None)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"layout is 'ziip': it must be .*; did you mean zip\?"):
        build_export(images(), to=tmp_path, layout="ziip")  # type: ignore[arg-type]
    with pytest.raises(dg.Failure, match="has no image table in this store yet"):
        materialized(build_export(images(), to=tmp_path / "out"), store)


def test_a_notebook_exports_its_images(store: Path, dataset: Dataset, tmp_path: Path) -> None:
    found = open_dataset(store, "d").export(tmp_path / "out", layout="zip")
    assert (found.images, found.files, found.is_complete) == (3, ["images.zip"], True)
    with pytest.raises(UsageError, match="links is 0: it must be a whole number of seconds from 1 to 604800"):
        open_dataset(store, "d").export(tmp_path / "out", links=0)
