"""The gallery of an image asset in Dagster: its address and a collage in the materialization."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from PIL import Image

from dagster_gptimg import ImageStoreResource, UsageError, build_gallery, build_gptimg_asset, by_column
from dagster_gptimg.store.dataset import Dataset
from tests import galleries
from tests.galleries import Row, picture

ROWS = [{"prompt": "a red cup", "kind": "cups"}]


def images(**more: Any) -> dg.AssetsDefinition:
    return build_gptimg_asset("images", prompts=ROWS, group_name="shop", dataset="d", **more)


def materialized(gallery: dg.AssetsDefinition, store: Path) -> dict[str, Any]:
    resources = {"image_store": ImageStoreResource(root=str(store))}
    result = dg.materialize([gallery], resources=resources)
    (event,) = result.asset_materializations_for_node(gallery.op.name)
    return {name: value.value for name, value in event.metadata.items()}


@pytest.fixture
def dataset(store: Path) -> Dataset:
    made = galleries.dataset_in(store)
    galleries.write(made, [Row(f"r{n}", "p", (picture(n),)) for n in range(50)], "cups")
    galleries.write(made, [Row("x", "p", status="refused", error="no")], "hats")
    return made


def test_its_path_and_a_collage_of_all_partitions_are_in_the_materialization(store: Path, dataset: Dataset) -> None:
    gallery = build_gallery(images(partitions=by_column("kind", ["cups", "hats"])))
    assert gallery.key == dg.AssetKey("images_gallery")
    assert gallery.asset_deps[gallery.key] == {dg.AssetKey("images")}
    assert gallery.group_names_by_key[gallery.key] == "shop"
    about = materialized(gallery, store)
    sheet = about.pop("collage")
    assert about == {"gallery": f"{store}/d/gallery/index.html", "records": 51, "images": 50, "originals": "linked"}
    assert Path(about["gallery"]).exists()
    data = base64.b64decode(sheet.removeprefix("![images](data:image/webp;base64,").removesuffix(")"))
    with Image.open(io.BytesIO(data)) as shown:
        assert shown.size == (800, 240)  # 25 of 50, ten a row
    assert len(sheet) < 33_000


def test_a_public_address_becomes_a_link_and_a_copy_says_so(store: Path, dataset: Dataset, tmp_path: Path) -> None:
    given: dict[str, Any] = {"to": tmp_path / "site", "public_url": "https://shop.example/gallery/", "name": "look"}
    about = materialized(build_gallery(images(), **given), store)
    assert about["link"] == "https://shop.example/gallery/index.html"
    assert (about["originals"], about["gallery"]) == ("copied", f"{tmp_path}/site/index.html")
    assert len(list((tmp_path / "site" / "images").rglob("*.webp"))) == 50


def test_without_an_image_table_the_step_fails_with_what_to_do(store: Path) -> None:
    with pytest.raises(dg.Failure, match="has no image table in this store yet"):
        materialized(build_gallery(images()), store)


def test_only_image_assets_have_a_gallery() -> None:
    with pytest.raises(UsageError, match="not an image asset"):
        build_gallery(dg.asset(lambda: None, name="other"))
    with pytest.raises(UsageError, match="public_url is 'ftp://x': it must be an http"):
        build_gallery(images(), public_url="ftp://x")
