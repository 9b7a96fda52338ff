"""Several partitions in one run: one truthful event each, then a failure that names exactly those that failed."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_gptimg import by_column, by_hash
from tests.dagster.support import ROWS, dagster_instance, failure, images, metadata, over, run
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
    [check] = result.get_asset_check_evaluations()
    assert check.passed


def test_the_budget_is_that_of_the_run_and_ends_it(fal: Fal, resources: dict[str, Any]) -> None:
    asset = images(partitions=by_hash("sku", 6), backfill_policy=SINGLE)
    result = run(asset, resources, {"max_cost_usd": 0.02}, tags=over("0", "5"))
    told = failure(result)
    assert told.metadata["reason"].value == "budget"
    assert fal.bill()["total_usd"] == "0.02"
    named = [*told.metadata["failed_partitions"].data, *told.metadata["partitions_not_begun"].data, *events(result)]
    assert sorted(named) == list("012345")


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
        return [words for words in found if "plan only" in words]

    backfill = {"dagster/backfill": "abcdefgh"}
    many = said({**over("bags", "shoes"), **backfill}, {"plan_only": True})
    assert "although nothing went wrong" in many[0]
    assert many[-1] == "plan only, nothing was bought: 2 partitions, 6 images to buy, $0.06"
    one = said(backfill, {"plan_model": "gpt-image-1.5"}, partition_key="bags")
    assert "Dagster will call the backfill" in one[0]
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


def test_assets_downstream_of_a_range_wait_for_a_run_of_their_own(resources: dict[str, Any], tmp_path: Path) -> None:
    one = images(backfill_policy=SINGLE)

    @dg.asset(partitions_def=one.partitions_def, backfill_policy=SINGLE)
    def below(images: dict[str, list[dict[str, Any]]]) -> None:
        assert {key: len(rows) for key, rows in images.items()} == {"bags": 3, "shoes": 3}

    instance = dagster_instance(tmp_path)
    result = run([one, below], resources, tags=over("bags", "shoes"), instance=instance)
    assert result.success
    assert result.asset_materializations_for_node("below") == []
    messages = [r.event_log_entry.user_message for r in instance.get_records_for_run(result.run_id).records]
    assert any("follow in a run of their own" in message for message in messages)
    ran = dg.materialize(
        [one, below], selection=["below"], resources=resources, tags=over("bags", "shoes"), instance=instance
    )
    assert ran.success


def test_many_partitions_have_no_previews_and_few_log_lines(resources: dict[str, Any], tmp_path: Path) -> None:
    rows = [{"sku": str(n), "category": f"c{n:02}", "product": f"p{n}"} for n in range(21)]
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
    assert all(f"'c{n:02}': plan: 1 rows" in "".join(line.user_message for line in lines) for n in range(21))
