"""Assets downstream take the image table by annotation: frames, tables, typed records; one partition or many."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from dagster_gptimg import ImageRecord, ImageStoreResource, UsageError, build_gptimg_checks
from tests.definitions.support import ROWS, dagster_instance, images, run
from tests.harness import Fal

ONE = images()


def load(below: Any, resources: dict[str, Any], instance: dg.DagsterInstance, **more: Any) -> Any:
    return dg.materialize([ONE, below], selection=[below], resources=resources, instance=instance, **more)


@pytest.fixture
def instance(fal: Fal, resources: dict[str, Any], tmp_path: Path) -> dg.DagsterInstance:
    fal.fail("bags number 1", "refused")
    made = dagster_instance(tmp_path)
    assert run(ONE, resources, partition_key="bags", instance=made).success
    return made


def test_records_are_typed_and_open_their_images_when_asked(
    resources: dict[str, Any], instance: dg.DagsterInstance
) -> None:
    seen: list[ImageRecord] = []

    @dg.asset(partitions_def=ONE.partitions_def)
    def below(images: list[ImageRecord]) -> None:
        seen.extend(images)

    assert load(below, resources, instance, partition_key="bags").success
    first, refused, _ = seen
    assert (first.row_id, first.status, first.cost_usd) == ("bags-0", "stored", Decimal("0.01"))
    assert first.columns == {"category": "bags", "product": "bags number 0"}
    assert first.arguments["quality"] == "low"
    with first.open() as image:
        assert image.size == (first.width, first.height) == (1024, 1024)
    assert len(first.read_image()) == first.bytes
    assert (refused.status, refused.error_type) == ("refused", "content_policy_violation")
    with pytest.raises(UsageError, match="has no image: it is refused"):
        refused.open()
    assert "dataset" not in repr(first)


def test_a_dict_stays_one_for_a_single_partition(resources: dict[str, Any], instance: dg.DagsterInstance) -> None:
    seen: dict[str, Any] = {}

    @dg.asset(partitions_def=ONE.partitions_def)
    def below(images: dict[str, list[ImageRecord]]) -> None:
        seen.update(images)

    assert load(below, resources, instance, partition_key="bags").success
    assert [record.row_id for record in seen["bags"]] == ["bags-0", "bags-1", "bags-2"]


def test_lazy_frames_and_missing_partitions(resources: dict[str, Any], instance: dg.DagsterInstance) -> None:
    seen: dict[str, Any] = {}

    @dg.asset(ins={"images": dg.AssetIn(metadata={"allow_missing_partitions": True})})
    def below(images: dict[str, pl.LazyFrame]) -> None:
        seen.update({key: frame.collect().height for key, frame in images.items()})

    assert load(below, resources, instance).success
    assert seen == {"bags": 3}


def test_a_partition_that_is_not_there_is_told(resources: dict[str, Any], instance: dg.DagsterInstance) -> None:
    @dg.asset
    def below(images: dict[str, pl.DataFrame]) -> None: ...

    result = load(below, resources, instance, raise_on_error=False)
    [event] = [e for e in result.all_node_events if e.is_step_failure]
    assert "no manifest for its partition 'shoes' yet" in str(event.step_failure_data.error)


def test_images_in_an_object_store_are_previewed_opened_and_checked(
    fal: Fal, s3: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    seen: list[ImageRecord] = []
    asset = images(prompts=ROWS[:2], partitions=None)

    @dg.asset
    def below(images: list[ImageRecord]) -> None:
        seen.extend(images)

    store = ImageStoreResource(root="s3://bucket/loading")
    checks = build_gptimg_checks(asset, include=["files_as_recorded"])
    defs = dg.Definitions(
        assets=[asset, below], asset_checks=checks, resources={"fal": fal.resource, "image_store": store}
    )
    result = defs.resolve_implicit_global_asset_job_def().execute_in_process()
    [event] = result.asset_materializations_for_node("images")
    assert str(event.metadata["preview"].value).count("data:image/webp;base64,") == 2
    assert [record.open().size for record in seen] == [(1024, 1024)] * 2
    assert {e.check_name: e.passed for e in result.get_asset_check_evaluations()}["files_as_recorded"]
