"""Several partitions in one run: one truthful event each, then a failure that names exactly those that failed."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_gptimg import ImageChecks, build_gptimg_checks, by_column, by_hash
from dagster_gptimg.definitions.separate_step_checks import CHECKS
from tests.definitions.support import ROWS, dagster_instance, failure, images, metadata, over, run
from tests.harness import Fal

SINGLE = dg.BackfillPolicy.single_run()


def events(result: Any) -> dict[str, Any]:
    found = result.asset_materializations_for_node("images")
    assert len({event.partition for event in found}) == len(found)
    return {event.partition: event for event in found}


def test_each_partition_of_a_run_has_an_event_of_its_own(fal: Fal, resources: dict[str, Any], tmp_path: Path) -> None:
    instance, asset = dagster_instance(tmp_path), images(backfill_policy=SINGLE)
    result = run(asset, resources, tags=over("bags", "shoes"), instance=instance)
    assert result.success
    found = events(result)
    assert sorted(found) == ["bags", "shoes"]
    for event in found.values():
        assert (event.metadata["bought"].value, event.metadata["dagster/partition_row_count"].value) == (3, 3)
        assert "preview" in event.metadata
    assert len({event.tags["dagster/data_version"] for event in found.values()}) == 2
    assert len(fal.charged()) == 6
    # A run over one of them later says the same, in the same words: nothing is stale, nothing is bought.
    alone = run(asset, resources, partition_key="bags", instance=instance)
    [event] = alone.asset_materializations_for_node("images")
    versions = ("dagster/data_version", "dagster/code_version", "dagster/data_version_is_user_provided")
    assert {n: event.tags[n] for n in versions} == {n: found["bags"].tags[n] for n in versions}
    assert metadata(alone)["bought"] == 0


def test_the_failed_ones_are_named_and_only_they_are_not_materialized(fal: Fal, resources: dict[str, Any]) -> None:
    fal.fail("shoes number 1")
    result = run(images(backfill_policy=SINGLE), resources, tags=over("bags", "shoes"))
    assert not result.success
    assert sorted(events(result)) == ["bags"]
    told = failure(result)
    assert told.metadata["reason"].value == "failed_rows"
    assert told.metadata["failed_partitions"].data == ["shoes"]
    assert "1 of 2 partitions failed: 'shoes'" in str(told.description)
    found = {e.partition: e for e in result.get_asset_check_evaluations()}
    assert (sorted(found), all(e.passed for e in found.values())) == (["bags", "shoes"], True)


def test_the_budget_is_that_of_the_run_and_ends_it(fal: Fal, resources: dict[str, Any]) -> None:
    asset = images(partitions=by_hash("sku", 6), backfill_policy=SINGLE)
    result = run(asset, resources, {"max_cost_usd": 0.02}, tags=over("0", "5"))
    told = failure(result)
    assert told.metadata["reason"].value == "budget"
    assert fal.bill()["total_usd"] == "0.02"
    named = [*told.metadata["failed_partitions"].data, *told.metadata["partitions_not_begun"].data, *events(result)]
    assert sorted(named) == list("012345")


def test_what_is_collected_was_bought_before_and_is_not_in_the_budget(fal: Fal, resources: dict[str, Any]) -> None:
    asset = images(backfill_policy=SINGLE)
    run(asset, resources, {"patience": 0.0}, tags=over("bags", "bags"))  # it sends them, and does not wait
    assert len(fal.charged()) == 3
    result = run(asset, resources, {"max_cost_usd": 0.03}, tags=over("bags", "shoes"))
    assert result.success
    assert {name: event.metadata["images"].value for name, event in events(result).items()} == {"bags": 3, "shoes": 3}
    assert fal.bill()["total_usd"] == "0.06"


def test_a_plan_of_several_buys_and_materializes_nothing(fal: Fal, resources: dict[str, Any]) -> None:
    result = run(images(backfill_policy=SINGLE), resources, {"plan_only": True}, tags=over("bags", "shoes"))
    assert (result.success, events(result), fal.bill()["rows"]) == (True, {}, [])


def test_a_plan_in_a_backfill_says_at_once_that_dagster_will_call_it_failed(
    fal: Fal, resources: dict[str, Any], tmp_path: Path
) -> None:
    def said(tags: dict[str, str], config: dict[str, Any], **more: Any) -> list[str]:
        instance = dagster_instance(tmp_path)
        asset = images() if more else images(backfill_policy=SINGLE)
        result = run(asset, resources, config, tags=tags, instance=instance, **more)
        assert result.success
        found = [r.event_log_entry.user_message for r in instance.get_records_for_run(result.run_id).records]
        return [words for words in found if "plan only" in words or "plan_only in" in words]

    backfill = {"dagster/backfill": "abcdefgh"}
    many = said({**over("bags", "shoes"), **backfill}, {"plan_only": True})
    assert "although nothing went wrong" in many[0]
    assert many[-1] == "plan only, nothing was bought: 2 partitions, 6 images to buy, $0.06"
    one = said(backfill, {"plan_model": "gpt-image-1.5"}, partition_key="bags")
    assert "Dagster will show the backfill" in one[0]
    assert len(one) == 2
    alone = said({}, {"plan_only": True}, partition_key="bags")
    assert len(alone) == 1
    assert "backfill" not in alone[0]
    assert fal.bill()["rows"] == []


def test_a_release_of_dagster_with_other_internals_makes_partitions_all_the_same(
    fal: Fal, resources: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from dagster._core.execution.plan import execute_step

    monkeypatch.delattr(execute_step, "_build_data_version_tags")
    # (Dagster's own step needs it as well, but only for results, which a run over several does not yield.)
    result = run(images(backfill_policy=SINGLE), resources, tags=over("bags", "shoes"))
    found = events(result)
    assert sorted(found) == ["bags", "shoes"]
    assert {event.tags["dagster/code_version"] for event in found.values()} != {None}
    assert len(fal.charged()) == 6


def test_bad_rows_of_one_partition_do_not_hold_up_the_others(fal: Fal, resources: dict[str, Any]) -> None:
    rows = [*ROWS, {"sku": "x", "category": "shoes", "product": ""}]
    result = run(images(prompts=iter(rows), backfill_policy=SINGLE), resources, tags=over("bags", "shoes"))
    told = failure(result)
    assert (sorted(events(result)), told.metadata["failed_partitions"].data) == (["bags"], ["shoes"])
    assert told.metadata["reason"].value == "usage"
    assert "the cell is empty" in str(told.description)


def below_of(one: dg.AssetsDefinition, policy: dg.BackfillPolicy | None) -> dg.AssetsDefinition:
    @dg.asset(partitions_def=one.partitions_def, backfill_policy=policy)
    def below(images: dict[str, list[dict[str, Any]]]) -> None:
        assert {key: len(rows) for key, rows in images.items()} == {"bags": 3, "shoes": 3}

    return below


def together(resources: dict[str, Any], instance: dg.DagsterInstance, where: str, **options: Any) -> Any:
    """One run over both partitions: the images, all their checks, and an asset downstream."""
    one = images(backfill_policy=SINGLE, checks=ImageChecks(**options) if where == "own step" else None)
    checks = build_gptimg_checks(one, **({} if where == "own step" else options))
    defs = dg.Definitions(assets=[one, below_of(one, SINGLE)], asset_checks=checks, resources=resources)
    job = defs.resolve_implicit_global_asset_job_def()
    return job.execute_in_process(tags=over("bags", "shoes"), instance=instance, raise_on_error=False)


WHERE = pytest.mark.parametrize("where", ["own step", "another step"])


@WHERE
def test_checks_and_assets_downstream_follow_in_the_same_run(
    fal: Fal, resources: dict[str, Any], tmp_path: Path, where: str
) -> None:
    result = together(resources, dagster_instance(tmp_path), where)
    assert result.success
    assert not [event.step_key for event in result.all_events if event.is_step_skipped]
    assert sorted(events(result)) == ["bags", "shoes"]  # each of them once
    assert {event.partition for event in result.asset_materializations_for_node("below")} == {"bags", "shoes"}
    found = {(e.check_name, e.partition): e for e in result.get_asset_check_evaluations()}
    assert {(name, key) for name in CHECKS[:6] for key in ("bags", "shoes")} <= set(found)
    assert {"column_schema_change", "prompts_valid", "rows_in_partitions"} <= {name for name, _ in found}
    assert all(e.passed for e in found.values())
    of_the_run = {data.run_id for e in found.values() if e.partition and (data := e.target_materialization_data)}
    assert of_the_run == {result.run_id}
    assert len(fal.charged()) == 6


@WHERE
def test_a_blocking_check_keeps_what_is_downstream_from_running_in_the_same_run(
    fal: Fal, resources: dict[str, Any], tmp_path: Path, where: str
) -> None:
    fal.fail("shoes number 1", "refused")
    instance = dagster_instance(tmp_path)
    result = together(resources, instance, where, blocking=["failure_rate"])
    assert not result.success
    assert sorted(events(result)) == ["bags", "shoes"]
    assert result.asset_materializations_for_node("below") == []
    bad = {(e.check_name, e.partition) for e in result.get_asset_check_evaluations() if not e.passed}
    assert bad == {("failure_rate", "shoes")}
    assert together(resources, instance, where, blocking=["failure_rate"], max_failure_rate=0.5).success


def test_checks_of_the_own_step_are_made_of_the_partitions_of_a_run_that_fails(
    fal: Fal, resources: dict[str, Any], tmp_path: Path
) -> None:
    fal.fail("shoes number 1")
    result = together(resources, dagster_instance(tmp_path), "own step", max_failure_rate=0.0)
    assert not result.success
    found = {(e.check_name, e.partition): e for e in result.get_asset_check_evaluations()}
    assert found["failure_rate", "bags"].passed
    assert not found["rows_settled", "shoes"].passed
    assert found["rows_settled", "shoes"].target_materialization_data is None  # nothing was materialized of it
    assert found["rows_settled", "bags"].target_materialization_data is not None


def test_nothing_is_downstream_of_a_plan_or_of_a_part(fal: Fal, resources: dict[str, Any], tmp_path: Path) -> None:
    one = images(backfill_policy=SINGLE)
    both = [one, below_of(one, SINGLE)]
    result = run(both, resources, {"plan_only": True}, tags=over("bags", "shoes"))
    assert (result.success, result.asset_materializations_for_node("below")) == (True, [])
    fal.fail("shoes number 1")
    result = run(both, resources, tags=over("bags", "shoes"))
    assert (result.success, result.asset_materializations_for_node("below")) == (False, [])


def test_many_partitions_have_no_previews_and_few_log_lines(resources: dict[str, Any], tmp_path: Path) -> None:
    rows = [{"sku": str(n), "category": f"c{n:02}", "product": "cup"} for n in range(21)]  # bought once, for all
    keys = [row["category"] for row in rows]
    asset = images(prompts=rows, partitions=by_column("category", keys), backfill_policy=SINGLE)
    instance = dagster_instance(tmp_path)
    result = run(asset, resources, tags=over("c00", "c20"), instance=instance)
    assert len(events(result)) == 21
    assert not any("preview" in event.metadata for event in events(result).values())
    records = instance.get_records_for_run(result.run_id).records
    lines = [r.event_log_entry for r in records if r.event_log_entry.dagster_event is None]
    seconds = lines[-1].timestamp - lines[0].timestamp
    assert 3 <= len(lines) <= 5 + seconds / 5  # that its model ends is a line of its own, once
    assert all(f"'c{n:02}': plan: 1 row, " in "".join(line.user_message for line in lines) for n in range(21))
