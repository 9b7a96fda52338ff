"""Checks that an asset's own step makes, for each partition, also when the run fails; and what they block."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_gptimg import ImageChecks, UsageError, build_gptimg_checks
from dagster_gptimg.definitions.separate_step_checks import CHECKS
from tests.definitions.support import dagster_instance, images, run
from tests.harness import Fal

WARN = dg.AssetCheckSeverity.WARN


def test_a_run_of_one_partition_makes_the_checks_in_its_own_step(
    fal: Fal, resources: dict[str, Any], tmp_path: Path
) -> None:
    fal.fail("shoes number 1", "refused")
    asset = images(checks=ImageChecks(max_failure_rate=0.0, max_cost_usd=1.0))
    assert build_gptimg_checks(asset, include=[]) == []
    instance = dagster_instance(tmp_path)
    for key, bad_ones in (("bags", set()), ("shoes", {"failure_rate"})):
        result = run(asset, resources, partition_key=key, instance=instance)
        assert (result.success, {e.step_key for e in result.all_events if e.step_key}) == (True, {"images"})
        found = {e.check_name: e for e in result.get_asset_check_evaluations()}
        assert set(found) == {*CHECKS[:10], "no_row_in_doubt"}
        assert {name for name, e in found.items() if not e.passed} == bad_ones
        assert {e.partition for e in found.values()} == {key}
        looked_at = {e.target_materialization_data.run_id for e in found.values() if e.target_materialization_data}
        assert looked_at == {result.run_id}


def test_a_blocking_check_of_the_own_step_fails_it_after_the_images_are_materialized(
    fal: Fal, resources: dict[str, Any], tmp_path: Path
) -> None:
    fal.fail("shoes number 1", "refused")
    asset = images(partitions=None, checks=ImageChecks(blocking=["failure_rate"]))

    @dg.asset
    def below(images: list[dict[str, Any]]) -> None: ...

    result = run([asset, below], resources, instance=dagster_instance(tmp_path))
    assert not result.success
    assert len(result.asset_materializations_for_node("images")) == 1
    assert result.asset_materializations_for_node("below") == []


def test_a_blocking_check_that_cannot_be_made_blocks_and_another_does_not(
    fal: Fal, resources: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from dagster_gptimg.definitions import own_step_checks
    from dagster_gptimg.errors import UnreadableError

    def unreadable(*_: Any) -> Any:
        raise UnreadableError("the store is away")

    monkeypatch.setattr(own_step_checks, "images_of", unreadable)
    for blocking in ([], ["rows_settled"]):
        asset = images(checks=ImageChecks(include=["rows_settled"], blocking=blocking))
        result = run(asset, resources, partition_key="bags")
        assert result.success is not bool(blocking)
        assert len(result.asset_materializations_for_node("images")) == 1
        assert result.get_asset_check_evaluations() == []


def test_an_asset_and_its_other_checks_do_not_make_one_twice() -> None:
    asset = images(checks=ImageChecks(include=["images_decode"]))
    names = {spec.name for check in build_gptimg_checks(asset) for spec in check.check_specs}
    assert names == {"column_schema_change", "prompts_valid", "rows_in_partitions"}
    with pytest.raises(UsageError, match="the asset already makes the check 'images_decode' itself"):
        build_gptimg_checks(asset, include=["images_decode"])
    assert len(build_gptimg_checks(asset, include=["rows_settled"])) == 1
    with pytest.raises(UsageError, match="there is no check 'blank'"):
        ImageChecks(include=["blank"])
    with pytest.raises(UsageError, match="cannot block if it only warns"):
        ImageChecks(blocking=["no_blank_images"], severity={"no_blank_images": WARN})


def test_what_is_in_doubt_is_told_with_its_rows_and_its_price_and_nothing_else(
    fal: Fal, resources: dict[str, Any], tmp_path: Path
) -> None:
    fal.fail("bags number 1", "submit_dropped")
    result = run(images(), resources, {"settle": 0.0}, partition_key="bags", instance=dagster_instance(tmp_path))
    [check] = result.get_asset_check_evaluations()
    assert not check.passed
    numbers = {name: value.value for name, value in check.metadata.items()}
    assert numbers == {"held": 1, "lost": 0, "missing": 0, "in_doubt_at_most_usd": 0.01, "row_ids": ["bags-1"]}
    assert "1 row is held: up to $0.01 may have been paid" in str(check.description)
