"""Images of one asset as the rows of another: image, cut-out, upscaled cut-out, each bought once."""

import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from dagster_gptimg import ImageStoreResource, UsageError, build_gptimg_asset, build_gptimg_checks, gptimg_asset
from dagster_gptimg.store.manifest import read_manifest
from tests.definitions.support import LOW, ROWS, dagster_instance, images, over, run
from tests.harness import Fal

BIREFNET, TOPAZ = "fal-ai/birefnet/v2", "topaz/upscale/image/precision"


def chain(**more: Any) -> list[dg.AssetsDefinition]:
    """The assets `images`, `cutouts` and `upscaled`."""
    photos = images(**more)
    cutouts = build_gptimg_asset("cutouts", prompts=photos, model=BIREFNET)
    return [photos, cutouts, build_gptimg_asset("upscaled", prompts=cutouts, model=TOPAZ, max_cost_usd=2.0)]


def table(resources: dict[str, Any], name: str, partition: str | None = "bags") -> list[dict[str, Any]]:
    found = read_manifest(resources["image_store"].dataset(name), partition).to_pylist()
    return [{**row, "arguments": json.loads(row["arguments"]), "columns": json.loads(row["columns"])} for row in found]


def billed(fal: Fal) -> dict[str, int]:
    return dict(Counter(row["endpoint_id"] for row in fal.charged()))


def shown(result: Any, node: str) -> dict[str, Any]:
    [event] = result.asset_materializations_for_node(node)
    return {name: value.value for name, value in event.metadata.items()}


def test_each_step_makes_its_images_of_those_of_the_one_before_by_their_content(
    fal: Fal, resources: dict[str, Any], tmp_path: Path
) -> None:
    rows = [{**row, "model": "Portrait"} for row in ROWS]  # a product's, and no input of the model
    instance, assets = dagster_instance(tmp_path), chain(prompts=rows)
    made = run(assets, resources, partition_key="bags", instance=instance)
    assert made.success
    once = {"fal-ai/gpt-image-1-mini": 3, BIREFNET: 3, TOPAZ: 3}
    assert billed(fal) == once
    tables = {name: table(resources, name) for name in ("images", "cutouts", "upscaled")}
    for before, after in (("images", "cutouts"), ("cutouts", "upscaled")):
        for source, row in zip(tables[before], tables[after], strict=True):
            assert (row["row_id"], row["prompt"], row["status"]) == (source["row_id"], "", "stored")
            assert row["arguments"] == {"image_url": f"sha256:{source['sha256']}"}
            assert row["columns"] == {**source["columns"], "uri": source["uri"]}
            assert row["columns"].keys() == {"category", "product", "model", "uri"}
        metadata = shown(made, after)
        versions = {node: made.asset_materializations_for_node(node)[0].tags["dagster/data_version"] for node in tables}
        assert (metadata["input_images"], metadata["input_images_version"]) == (3, versions[before])
        deps = metadata["dagster/column_lineage"].deps_by_column
        assert {column: [dep.column_name for dep in found] for column, found in deps.items()} == {
            "row_id": ["row_id"],
            "arguments": ["uri"],
            "columns": ["columns", "uri"],
        }
        assert {dep.asset_key for found in deps.values() for dep in found} == {dg.AssetKey(before)}
    assert tables["upscaled"][0]["width"] == 2 * tables["cutouts"][0]["width"]

    (tmp_path / "store").rename(tmp_path / "moved")  # the same images at other addresses
    resources["image_store"] = ImageStoreResource(root=str(tmp_path / "moved"))
    assert run(assets, resources, partition_key="bags", instance=instance).success
    assert billed(fal) == once


def test_rows_without_a_stored_image_are_not_sent_and_the_run_says_so(fal: Fal, resources: dict[str, Any]) -> None:
    fal.fail("bags number 1", "refused", times=1)
    photos, cutouts, _ = chain()
    made = run([photos, cutouts], resources, partition_key="bags")
    assert made.success
    assert [row["row_id"] for row in table(resources, "cutouts")] == ["bags-0", "bags-2"]
    words = "1 row of images is without a stored image (1 refused); nothing is sent for them: 'bags-1'"
    assert words in shown(made, "cutouts")["warnings"]
    assert billed(fal)[BIREFNET] == 2


def test_a_run_over_several_partitions_takes_each_ones_own_images(
    fal: Fal, resources: dict[str, Any], tmp_path: Path
) -> None:
    both: dict[str, Any] = {"instance": dagster_instance(tmp_path), "tags": over("bags", "shoes")}
    assert run(chain()[:2], resources, **both).success
    for key in ("bags", "shoes"):
        assert [row["row_id"] for row in table(resources, "cutouts", key)] == [f"{key}-{n}" for n in range(3)]
    assert billed(fal) == {"fal-ai/gpt-image-1-mini": 6, BIREFNET: 6}


def test_several_images_of_a_row_are_rows_of_their_own(fal: Fal, resources: dict[str, Any]) -> None:
    photos = images(prompts=ROWS[:1], arguments={**LOW, "num_images": 2}, partitions=None)
    cutouts = build_gptimg_asset("cutouts", prompts=photos, model="bria-background-remove", key=["shop", "cutouts"])
    assert run([photos, cutouts], resources).success
    assert [row["row_id"] for row in table(resources, "shop/cutouts", None)] == ["bags-0", "bags-0#2"]
    assert billed(fal)["fal-ai/bria/background/remove"] == 2


def test_a_function_may_choose_among_the_images_upstream(fal: Fal, resources: dict[str, Any]) -> None:
    photos = images(partitions=None)

    @gptimg_asset(model=BIREFNET, image_columns=["photo"], id_column="id")
    def cutouts(images: pa.Table) -> list[dict[str, str]]:
        return [{"id": row["row_id"], "photo": row["uri"]} for row in images.to_pylist()[:2]]

    assert run([photos, cutouts], resources).success
    assert billed(fal)[BIREFNET] == 2


def test_a_budget_is_kept_by_the_price_of_each_image_in_pixels(fal: Fal, resources: dict[str, Any]) -> None:
    photos = images()
    large = build_gptimg_asset("upscaled", prompts=photos, model="clarity-upscaler", max_cost_usd=0.20)
    made = run([photos, large], resources, partition_key="bags")
    assert not made.success  # each is reserved at $0.15: 5 megapixels at most
    assert billed(fal)["fal-ai/clarity-upscaler"] < 3


def test_what_a_chain_is_made_of_is_checked_when_definitions_load() -> None:
    photos, cutouts, _ = chain()
    assert cutouts.partitions_def == photos.partitions_def
    assert cutouts.asset_deps[cutouts.key] == {photos.key}
    assert cutouts.metadata_by_key[cutouts.key]["image_columns"] == "uri"
    assert "prompt_column" not in cutouts.metadata_by_key[cutouts.key]
    assert {spec.name for checks in build_gptimg_checks(cutouts) for spec in checks.check_specs}.isdisjoint(
        {"prompts_valid", "rows_in_partitions"}
    )
    with pytest.raises(UsageError, match="the rows are the images of images: check that asset instead"):
        build_gptimg_checks(cutouts, include=["rows_in_partitions"])
    with pytest.raises(UsageError, match="birefnet-v2 takes no prompt"):
        build_gptimg_asset("cutouts", prompts=photos, model=BIREFNET, template="{product}")


CODE = """
import os
import sys

import dagster as dg
from dagster_gptimg import FalResource, ImageStoreResource
from tests.definitions.test_chains import chain

assets = chain()
resources = {
    "fal": FalResource(api_key=os.environ["FAL_KEY"], base_url=os.environ["FAL_BASE_URL"]),
    "image_store": ImageStoreResource(root=os.environ["STORE"]),
}
with dg.DagsterInstance.get() as instance:
    made = dg.materialize(assets, selection=[sys.argv[1]], resources=resources, partition_key="bags", instance=instance)
"""


@pytest.mark.dagster
def test_a_chain_that_is_killed_in_the_middle_of_each_step_buys_every_step_once(fal: Fal, tmp_path: Path) -> None:
    (tmp_path / "dagster").mkdir()
    (tmp_path / "dagster" / "dagster.yaml").write_text("telemetry:\n  enabled: false\n", encoding="utf-8")
    env = {**fal.env, "DAGSTER_HOME": str(tmp_path / "dagster"), "STORE": str(tmp_path / "store")}

    def step(name: str, kill_at: str = "") -> int:
        command = [sys.executable, "-c", CODE, name]
        more = {"DAGSTER_GPTIMG_KILL_AT": kill_at} if kill_at else {}
        return subprocess.run(command, env={**env, **more}, capture_output=True, check=False).returncode

    for name in ("images", "cutouts", "upscaled"):
        assert step(name, "after POST:2") == -signal.SIGKILL, name  # fal has it, and nobody here knows its id
        if name == "cutouts":
            assert step(name, "after image:1") == -signal.SIGKILL  # it is stored, and not recorded
        assert step(name) == 0, name
    assert billed(fal) == {"fal-ai/gpt-image-1-mini": 3, BIREFNET: 3, TOPAZ: 3}
    assert len(fal.bill()["rows"]) == 9
