"""Approved images in Dagster: what is published, what is said of it, and what a withdrawal does to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from dagster_gptimg import ImageStoreResource, build_approved_images, build_gptimg_asset, build_review_sensor, by_column
from dagster_gptimg.engine.maintain.review import review_rows
from tests import galleries
from tests.definitions.support import dagster_instance
from tests.galleries import Row, picture

if TYPE_CHECKING:
    from pathlib import Path

    from dagster_gptimg.store.dataset import Dataset

ROWS = [{"prompt": "a red cup", "kind": "cups"}]
KINDS = by_column("kind", ["cups", "hats"])


def images(**more: Any) -> dg.AssetsDefinition:
    return build_gptimg_asset("images", prompts=ROWS, group_name="shop", dataset="d", **more)


@pytest.fixture
def instance(tmp_path: Path) -> dg.DagsterInstance:
    return dagster_instance(tmp_path)


@pytest.fixture
def dataset(store: Path) -> Dataset:
    """Four cups and two hats, and a cup that was refused."""
    made = galleries.dataset_in(store)
    cups = [Row(f"cup-{n}", "a cup", (picture(n),)) for n in range(4)]
    galleries.write(made, [*cups, Row("cup-4", "a cup", status="refused")], "cups")
    galleries.write(made, [Row(f"hat-{n}", "a hat", (picture(10 + n),)) for n in range(2)], "hats")
    return made


def test_try(store: Path, dataset: Dataset, instance: dg.DagsterInstance) -> None:
    approved = build_approved_images(images(partitions=KINDS))
    review_rows(dataset, ["cup-0", "cup-1"], "approved", None, "ann")
    review_rows(dataset, ["cup-2"], "rejected", None, "ann")

    @dg.asset(partitions_def=KINDS.definition)
    def below(images_approved: list[dict[str, Any]]) -> list[str]:
        return [row["row_id"] for row in images_approved]

    resources = {"image_store": ImageStoreResource(root=str(store)), "io_manager": dg.mem_io_manager}
    result = dg.materialize([approved, below], resources=resources, partition_key="cups", instance=instance)
    assert result.output_for_node("below") == ["cup-0", "cup-1"]
    for e in result.all_events:
        if e.is_step_materialization or e.event_type_value == "ASSET_CHECK_EVALUATION":
            print(e.event_specific_data)
    sensor = build_review_sensor(approved)
    with dg.build_sensor_context(instance=instance, resources=resources) as context:
        print(sensor(context))
    review_rows(dataset, ["cup-1"], "rejected", None, "bob")
    with dg.build_sensor_context(instance=instance, resources=resources) as context:
        print(sensor(context))
    job = dg.define_asset_job("c", selection=dg.AssetSelection.checks_for_assets(approved))
    defs = dg.Definitions(assets=[approved], jobs=[job], resources=resources)
    r = defs.resolve_job_def("c").execute_in_process(instance=instance, raise_on_error=False)
    print(r.success, [e.event_specific_data for e in r.all_events if e.event_type_value == "ASSET_CHECK_EVALUATION"])
