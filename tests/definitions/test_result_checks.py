"""The checks of what fal's result says, and of provenance: each is red for its own reason, and says which rows."""

import io
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dagster_gptimg import FalResource, ImageStoreResource, build_gptimg_checks
from dagster_gptimg.definitions.check_results import ImageChecks
from dagster_gptimg.store.dataset import Dataset
from dagster_gptimg.store.manifest import read_manifest
from dagster_gptimg.store.manifest_columns import DETAILS
from dagster_gptimg.store.root import Store
from tests.definitions.support import images
from tests.e2e.test_result_details import Results, black
from tests.recorded_fal import picture, serving
from tests.signed import signed

NAMES = ["no_censored_images", "no_repeated_images", "provenance_kept"]
SAID = [{}, {"has_nsfw_concepts": [True, False]}, {}, {}]
PICTURES = {
    0: [picture(1), picture(2)],
    1: [picture(3), picture(4)],
    2: [black(), picture(1)],  # the same as of row 0, by another request
    3: [signed("PNG"), signed("PNG")],
}
PICTURES[3][1] = PICTURES[3][0]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of one run over such images."""
    folder = tmp_path_factory.mktemp("said")
    with serving(Results(*SAID, pictures=PICTURES)) as fal:
        resources = {
            "fal": FalResource(api_key="test-key", base_url=fal.url),
            "image_store": ImageStoreResource(root=str(folder / "store")),
        }
        assert dg.materialize([made()], resources=resources).success
        assert len(fal.posts) == 4
    return folder / "store"


def made(**more: Any) -> dg.AssetsDefinition:
    rows = [{"id": str(n), "prompt": str(n)} for n in range(4)]
    given = {
        "prompts": rows,
        "template": None,
        "id_column": "id",
        "partitions": None,
        "arguments": {"quality": "low", "num_images": 2},
    }
    return images(**given, **more)


def look(store: Path) -> dict[str, dg.AssetCheckEvaluation]:
    """Every image is looked at."""
    asset = made()
    checks = build_gptimg_checks(asset, include=NAMES, sample=None)
    job = dg.define_asset_job("checks", selection=dg.AssetSelection.checks(*checks))
    resources = {"fal": FalResource(api_key="k"), "image_store": ImageStoreResource(root=str(store))}
    defs = dg.Definitions(assets=[asset], asset_checks=checks, resources=resources, jobs=[job])
    result = defs.resolve_job_def("checks").execute_in_process()
    return {found.check_name: found for found in result.get_asset_check_evaluations()}


def test_censored_and_repeated_images_are_counted_and_warn(store: Path) -> None:
    found = look(store)
    censored, repeated = found["no_censored_images"], found["no_repeated_images"]
    assert (censored.passed, censored.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert censored.metadata["row_ids"].value == ["1", "2"]
    assert censored.description == ("of 8 images, fal flags 1 as not safe for work, and 1 more are black all over")
    assert (repeated.passed, repeated.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert (repeated.metadata["repeated"].value, repeated.metadata["row_ids"].value) == (2, ["2", "3"])
    assert str(repeated.description) == (
        "2 of 8 images have the same bytes as another file, 1 of them as one of their request"
    )


def test_provenance_is_kept_until_somebody_saves_a_file_again(store: Path) -> None:
    kept = look(store)["provenance_kept"]
    assert (kept.passed, kept.severity) == (True, dg.AssetCheckSeverity.ERROR)
    assert kept.metadata["with_manifest"].value == 2
    table = pq.read_table(store / "images/manifests/_whole/manifest.parquet")
    [uri, _] = [record["uri"] for record in table.to_pylist() if record["c2pa"]]
    path = Path(uri.removeprefix("file://"))
    before, again = path.read_bytes(), io.BytesIO()
    with Image.open(path) as image:
        image.save(again, "PNG")
    path.write_bytes(again.getvalue())
    lost = look(store)["provenance_kept"]
    path.write_bytes(before)
    assert not lost.passed
    assert (lost.metadata["lost"].value, lost.metadata["row_ids"].value) == (1, ["3"])
    assert "1 of 8 images have lost the C2PA manifest that they came with" in str(lost.description)


def test_an_image_table_of_an_earlier_release_is_read_and_nothing_is_made_up(store: Path, tmp_path: Path) -> None:
    manifest = store / "images/manifests/_whole/manifest.parquet"
    before = manifest.read_bytes()
    table = pq.read_table(manifest)
    pq.write_table(table.drop_columns([*DETAILS]), manifest)
    try:
        found = look(store)
        read = read_manifest(Dataset(Store(str(store)), "images"), None)
    finally:
        manifest.write_bytes(before)
    assert read.column_names == table.column_names
    assert {value for name in DETAILS for value in read[name].to_pylist()} == {None}
    assert {name for name in NAMES if not found[name].passed} == {"no_repeated_images"}  # which rests on hashes
    assert str(found["no_censored_images"].description).endswith("of 8 this is not on record")


def test_they_are_among_the_checks_of_an_asset() -> None:
    assert set(NAMES) <= set(ImageChecks().names)
    assert ImageChecks(blocking=["no_censored_images"]).severity_of("no_censored_images") == dg.AssetCheckSeverity.ERROR
