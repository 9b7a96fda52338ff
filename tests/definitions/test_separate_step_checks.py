"""Checks in a step of their own: each is red for its own mistake and for no other, by partition."""

import io
import shutil
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dagster_gptimg import (
    ImageStoreResource,
    UsageError,
    build_gptimg_checks,
)
from dagster_gptimg.definitions.separate_step_checks import CHECKS
from dagster_gptimg.store.manifest import write_manifest
from tests.definitions.support import ROWS, dagster_instance, images, over, run, run_checks
from tests.harness import Fal, emulator

pytestmark = pytest.mark.xdist_group("separate checks")  # one process makes the store of most of them, once

WARN = dg.AssetCheckSeverity.WARN
BAGS = {"dagster/partition": "bags"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with both partitions; one of the shoes is refused."""
    from dagster_gptimg import FalResource

    folder = tmp_path_factory.mktemp("made")
    store = ImageStoreResource(root=str(folder / "store"))
    with emulator(folder / "emulator", "--latency", "0.1", "--slots", "20") as fal:
        fal.fail("shoes number 1", "refused")
        resources = {"fal": FalResource(api_key="k", base_url=fal.url), "image_store": store}
        for key in ("bags", "shoes"):
            assert run(images(), resources, partition_key=key).success
    return Path(shutil.copytree(folder / "store", folder / "kept"))


@pytest.fixture
def copy(made: Path) -> Path:
    """That store as it was made, to be damaged; in its place, because a manifest names its images by their URIs."""
    store = made.with_name("store")
    shutil.rmtree(store)
    shutil.copytree(made, store)
    return store


def look(store: Path, tags: dict[str, str], **options: Any) -> dict[tuple[str, str | None], Any]:
    """Run the checks of images alone, and return their evaluations by name and partition."""
    checks = build_gptimg_checks(images(), **{"max_failure_rate": 0.0, "include": CHECKS[:10], **options})
    result = run_checks([images()], checks, {"image_store": ImageStoreResource(root=str(store))}, tags)
    assert result.success
    return {(found.check_name, found.partition): found for found in result.get_asset_check_evaluations()}


def bad(found: dict[tuple[str, str | None], Any]) -> set[tuple[str, str | None]]:
    return {key for key, evaluation in found.items() if not evaluation.passed}


def first_image(store: Path) -> Path:
    table = pq.read_table(store / "images/manifests/bags/manifest.parquet")
    return Path(table["uri"][0].as_py().removeprefix("file://"))


def test_a_good_partition_passes_all_and_each_partition_has_its_result(
    fal: Fal, resources: dict[str, Any], tmp_path: Path
) -> None:
    asset, instance = images(), dagster_instance(tmp_path)
    checks = build_gptimg_checks(asset, max_cost_usd=1.0)
    defs = dg.Definitions(assets=[asset], asset_checks=checks, resources=resources)
    job = defs.resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(partition_key="bags", instance=instance)
    found = {e.check_name: e for e in result.get_asset_check_evaluations()}
    assert set(found) == {*CHECKS, "no_row_in_doubt"}
    assert all(e.passed for e in found.values())
    assert {name for name, e in found.items() if e.partition == "bags"} == {*CHECKS[:10], "no_row_in_doubt"}
    looked_at = [found[name].target_materialization_data for name in CHECKS[:10]]
    assert {data.run_id for data in looked_at if data} == {result.run_id}
    assert found["cost_within_budget"].metadata["cost_usd"].value == 0.03


def test_nothing_is_wrong_with_what_a_run_made_but_the_refused_row(copy: Path) -> None:
    found = look(copy, over("bags", "shoes"), max_cost_usd=0.03)
    assert set(found) == {(name, key) for name in CHECKS[:10] for key in ("bags", "shoes")}
    assert bad(found) == {("failure_rate", "shoes")}
    shoes = found["failure_rate", "shoes"]
    assert shoes.metadata["without_images"].value == 1
    assert shoes.metadata["row_ids"].value == ["shoes-1"]
    assert shoes.description == "1 of 3 rows have no images (up to 0% may lack them)"
    assert not bad(look(copy, over("bags", "shoes"), max_failure_rate=0.4))


def test_a_run_over_no_partition_looks_at_all_and_says_so(copy: Path) -> None:
    """As Dagster's UI starts a check; a result (and not an event of our own) fails there in Dagster 1.13."""
    found = look(copy, {})
    assert bad(found) == {("failure_rate", "shoes"), ("failure_rate", None)}
    assert found["failure_rate", None].description == "1 of 2 partitions failed"


def test_without_partitions_there_is_one_result_over_all(copy: Path) -> None:
    found = look(copy, {}, partitioned=False)
    assert set(found) == {(name, None) for name in CHECKS[:10]}
    assert found["failure_rate", None].metadata["rows"].value == 6


def damaged(kind: str) -> bytes:
    if kind == "cut off":
        return b"\x89PNG\r\n\x1a\n" + bytes(100)
    picture = Image.new("RGBA", (1024, 1024), (250, 250, 250, 255))
    if kind == "transparent":  # colours, and nothing of them to be seen
        shades = Image.linear_gradient("L").resize((1024, 1024))
        picture = Image.merge("RGBA", (shades, shades, shades, Image.new("L", shades.size, 0)))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("kind", "red"),
    [
        ("missing", {"files_as_recorded", "images_decode"}),
        ("cut off", {"files_as_recorded", "images_decode"}),
        ("blank", {"files_as_recorded", "no_blank_images"}),
        ("transparent", {"files_as_recorded", "no_blank_images"}),
    ],
)
def test_a_damaged_file_is_found_by_the_checks_that_read_it(copy: Path, kind: str, red: set[str]) -> None:
    path = first_image(copy)
    if kind == "missing":
        path.unlink()
    else:
        path.write_bytes(damaged(kind))
    found = look(copy, BAGS)
    assert bad(found) == {(name, "bags") for name in red}
    assert all(found[name, "bags"].metadata["row_ids"].value == ["bags-0"] for name in red)


def test_a_file_that_cannot_be_read_fails_its_checks_with_the_reason_and_raises_nothing(copy: Path) -> None:
    path = first_image(copy)
    path.unlink()
    path.mkdir()
    found = look(copy, BAGS)
    assert bad(found) == {("files_as_recorded", "bags"), ("images_decode", "bags")}
    assert "could not be read" in found["images_decode", "bags"].description


def test_a_white_shape_on_a_transparent_ground_is_not_blank(copy: Path) -> None:
    picture = Image.new("RGBA", (1024, 1024), (255, 255, 255, 0))
    picture.paste((255, 255, 255, 255), (100, 100, 300, 300))
    picture.save(first_image(copy), "PNG")
    assert look(copy, BAGS)["no_blank_images", "bags"].passed


def test_a_sample_reads_so_many_images_and_every_file_is_looked_for(copy: Path) -> None:
    found = look(copy, BAGS, sample=1)
    assert found["images_decode", "bags"].metadata["read"].value == 1
    first_image(copy).unlink()
    files = look(copy, BAGS, sample=0)["files_as_recorded", "bags"]
    assert (files.passed, files.metadata["missing"].value, files.metadata["read"].value) == (False, 1, 0)


def rewrite(store: Path, change: Any) -> None:
    """Change the records of bags, as another release or a person may have."""
    dataset = ImageStoreResource(root=str(store)).dataset("images")
    records = pq.read_table(store / "images/manifests/bags/manifest.parquet").to_pylist()
    write_manifest(dataset, "bags", [{**record, **change(record)} for record in records])


@pytest.mark.parametrize(
    ("change", "red"),
    [
        ({"status": "held", "uri": None, "cost_usd": None}, {"rows_settled", "failure_rate"}),
        ({"status": "erased", "uri": None}, set()),
        ({"width": 512}, {"image_dimensions"}),
        ({"width": 512, "arguments": '{"image_size": "auto"}'}, set()),
        ({"cost_usd": None, "arguments": '{"quality": "high"}'}, {"cost_within_budget"}),
    ],
)
def test_what_the_manifest_says_is_looked_at_for_every_row(copy: Path, change: dict[str, Any], red: set[str]) -> None:
    rewrite(copy, lambda record: change if record["row_id"] == "bags-2" else {})
    found = look(copy, BAGS, max_cost_usd=0.035, sample=0)
    assert bad(found) == {(name, "bags") for name in red}


def test_an_unknown_cost_counts_at_worst_case(copy: Path) -> None:
    rewrite(copy, lambda _: {"cost_usd": None})
    found = look(copy, BAGS, max_cost_usd=1.0)["cost_within_budget", "bags"]
    assert found.description == "$0.00 billed, $0.00 to $0.03 in all (3 requests unknown); the budget is $1.00"
    assert found.metadata["cost_high_usd"].value == 0.03


def test_what_is_not_there_yet_does_not_pass_and_what_cannot_be_read_is_no_result(copy: Path) -> None:
    found = look(copy, {"dagster/partition": "shoes"})
    assert found["rows_settled", "shoes"].passed
    shutil.rmtree(copy / "images/manifests/shoes")
    found = look(copy, {"dagster/partition": "shoes"})
    assert bad(found) == {(name, "shoes") for name in CHECKS[:10]}
    assert found["rows_settled", "shoes"].description == "there is no image table yet"
    (copy / "images/manifests/bags/manifest.parquet").write_bytes(b"PAR1")
    checks = build_gptimg_checks(images(), include=["rows_settled"])
    result = run_checks([images()], checks, {"image_store": ImageStoreResource(root=str(copy))}, BAGS)
    assert not result.success
    assert result.get_asset_check_evaluations() == []


def test_the_schema_of_two_materializations_is_compared(resources: dict[str, Any], tmp_path: Path) -> None:
    instance = dagster_instance(tmp_path)
    found = []
    for rows in (ROWS, ROWS, [{**row, "colour": "red"} for row in ROWS]):
        asset = images(prompts=rows)
        checks = build_gptimg_checks(asset, include=["column_schema_change"])
        defs = dg.Definitions(assets=[asset], asset_checks=checks, resources=resources)
        job = defs.resolve_implicit_global_asset_job_def()
        result = job.execute_in_process(partition_key="bags", instance=instance)
        found += [e for e in result.get_asset_check_evaluations() if e.check_name == "column_schema_change"]
    assert [e.passed for e in found] == [True, True, False]
    assert "columns: json<category, product> -> json<category, product, colour>" in str(found[2].description)
    assert found[2].severity == WARN


# -- what the user chooses


def test_severity_and_blocking_are_the_users(copy: Path) -> None:
    found = look(copy, {"dagster/partition": "shoes"}, severity={"failure_rate": WARN})
    assert found["failure_rate", "shoes"].severity == WARN
    store = ImageStoreResource(root=str(copy))
    checks = build_gptimg_checks(images(), include=["failure_rate"], blocking=["failure_rate"], max_failure_rate=0.1)
    result = run_checks([images()], checks, {"image_store": store}, {"dagster/partition": "shoes"})
    assert not result.success  # Dagster's own way: the step of a blocking check that fails fails
    blocks = build_gptimg_checks(images(), include=["no_blank_images"], blocking=["no_blank_images"])
    [spec] = blocks[0].check_specs
    assert (spec.blocking, spec.name) == (True, "no_blank_images")


def test_checks_that_do_not_apply_are_left_out_and_others_can_be() -> None:
    def names(**more: Any) -> set[str]:
        checks = build_gptimg_checks(images(**more.pop("asset", {})), **more)
        return {spec.name for check in checks for spec in check.check_specs}

    assert names(max_cost_usd=1.0) == set(CHECKS)
    assert names() == {*CHECKS} - {"cost_within_budget"}
    assert names(asset={"partitions": None}) == {*CHECKS} - {"cost_within_budget", "rows_in_partitions"}
    assert names(include=["files_as_recorded"]) == {"files_as_recorded"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"include": ["blank"]}, "there is no check 'blank'; the checks are rows_settled"),
        ({"blocking": ["blank"]}, "there is no check 'blank'"),
        ({"blocking": ["rows_settled"], "severity": {"rows_settled": WARN}}, "cannot block if it only warns"),
        ({"blocking": ["column_schema_change"]}, "which cannot block"),
    ],
)
def test_what_cannot_be_is_told_when_definitions_load(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build_gptimg_checks(images(), **options)
