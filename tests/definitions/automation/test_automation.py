"""Automation of assets that cost money: `on_missing` asks for each partition once; `eager` for whatever is upstream."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_gptimg import build_prompt_table, by_dynamic, gptimg_asset
from tests.definitions.support import LOW, NEEDED, ROWS, dagster_instance, images, run
from tests.harness import Fal

ON_MISSING, EAGER = dg.AutomationCondition.on_missing(), dg.AutomationCondition.eager()
KINDS = by_dynamic("category", "kinds")


class Automation:
    """What Dagster's daemon asks for, tick by tick."""

    def __init__(self, assets: list[Any], instance: dg.DagsterInstance) -> None:
        self.defs, self.instance = dg.Definitions(assets=assets, resources=NEEDED), instance
        self.cursor: Any = None
        assert self.tick() == set()

    def tick(self) -> set[str]:
        found = dg.evaluate_automation_conditions(self.defs, self.instance, cursor=self.cursor)
        self.cursor = found.cursor
        return {str(key) for key in found.get_requested_partitions(dg.AssetKey("images")) or ()}


@dg.asset
def products() -> list[dict[str, Any]]:
    return ROWS


def made_of_products(condition: Any) -> dg.AssetsDefinition:
    decorate = gptimg_asset(
        template="{product}", partitions=KINDS, arguments=LOW, automation_condition=condition, name="images"
    )

    def images(products: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return products

    return decorate(images)


@pytest.mark.parametrize(("condition", "again"), [(ON_MISSING, set()), (EAGER, {"bags"})])
def test_a_new_partition_is_asked_for_once_and_what_changes_upstream_only_by_eager(
    fal: Fal, resources: dict[str, Any], tmp_path: Path, condition: Any, again: set[str]
) -> None:
    instance, asset = dagster_instance(tmp_path), made_of_products(condition)
    assert dg.materialize([products], instance=instance).success
    automation = Automation([products, asset], instance)
    instance.add_dynamic_partitions("kinds", ["bags"])
    assert automation.tick() == {"bags"}
    assert run([products, asset], resources, partition_key="bags", instance=instance, selection=["images"]).success
    assert automation.tick() == set()
    assert len(fal.charged()) == 3
    assert dg.materialize([products], instance=instance).success
    assert automation.tick() == again


def test_a_partition_that_failed_is_not_asked_for_again(fal: Fal, resources: dict[str, Any], tmp_path: Path) -> None:
    fal.fail("bags number 1")
    instance, asset = dagster_instance(tmp_path), made_of_products(ON_MISSING)
    assert dg.materialize([products], instance=instance).success
    automation = Automation([products, asset], instance)
    instance.add_dynamic_partitions("kinds", ["bags"])
    assert automation.tick() == {"bags"}
    assert not run([products, asset], resources, partition_key="bags", instance=instance, selection=["images"]).success
    assert (automation.tick(), automation.tick()) == (set(), set())


def test_partitions_that_were_missing_before_are_left_to_a_backfill(tmp_path: Path) -> None:
    instance = dagster_instance(tmp_path)
    instance.add_dynamic_partitions("kinds", ["bags"])
    automation = Automation([images(partitions=KINDS, automation_condition=ON_MISSING)], instance)
    assert automation.tick() == set()


def test_a_table_upstream_has_to_be_looked_at_first(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("sku,category,product\n1,bags,tote\n", encoding="utf-8")
    instance = dagster_instance(tmp_path)
    catalog = build_prompt_table("catalog", tmp_path / "t.csv")
    asset = images(prompts=catalog, partitions=KINDS, automation_condition=ON_MISSING)
    automation = Automation([catalog, asset], instance)
    instance.add_dynamic_partitions("kinds", ["bags"])
    assert automation.tick() == set()
    defs = dg.Definitions(assets=[catalog], jobs=[dg.define_asset_job("look", selection=[catalog])])
    assert defs.resolve_job_def("look").execute_in_process(instance=instance).success
    assert automation.tick() == {"bags"}


def test_an_hourly_look_asks_for_the_table(tmp_path: Path) -> None:
    from datetime import UTC, datetime

    catalog = build_prompt_table(
        "catalog", tmp_path / "t.csv", automation_condition=dg.AutomationCondition.on_cron("@hourly")
    )
    with dg.DagsterInstance.ephemeral() as instance:
        cursor, asked = None, []
        for minute in (30, 59, 61, 62):
            when = datetime(2026, 1, 1, 10 + minute // 60, minute % 60, tzinfo=UTC)
            found = dg.evaluate_automation_conditions([catalog], instance, evaluation_time=when, cursor=cursor)
            cursor = found.cursor
            asked.append(found.total_requested)
    assert asked == [0, 0, 1, 0]
