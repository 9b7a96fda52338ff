"""The checks of the whole prompt table run before any purchase, and tell every bad row."""

from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from dagster_gptimg import build_gptimg_checks, build_prompt_table, by_column, by_dynamic, gptimg_asset
from tests.definitions.support import LOW, NEEDED, ROWS, dagster_instance, images, run_checks
from tests.harness import Fal

ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN
SOME_BAD = [
    *ROWS,
    {"sku": "h", "category": "hats", "product": "fez"},
    {"sku": "g", "category": None, "product": "glove"},
    {"sku": "", "category": "bags", "product": "sack"},
    {"sku": "e", "category": "shoes", "product": ""},
]


@dg.asset
def products() -> pl.DataFrame:
    return pl.DataFrame(SOME_BAD)


def photos(**more: Any) -> dg.AssetsDefinition:
    decorate = gptimg_asset(
        template="photo of {product}",
        id_column="sku",
        arguments=LOW,
        partitions=by_column("category", ["bags", "shoes"]),
        **more,
    )

    def photos(products: pl.DataFrame) -> pl.DataFrame:
        return products

    return decorate(photos)


def test_invalid_rows_and_rows_of_no_partition_are_told_with_their_values() -> None:
    """The check belongs to the asset upstream that is the table, and runs when that is made."""
    checks = build_gptimg_checks(photos(), include=["prompts_valid", "rows_in_partitions"])
    defs = dg.Definitions(assets=[products, photos()], asset_checks=checks, resources=NEEDED)
    job = defs.resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(asset_selection=[products.key])
    found = {e.check_name: e for e in result.get_asset_check_evaluations()}
    valid, held = found["photos_prompts_valid"], found["photos_rows_in_partitions"]
    assert {e.asset_key for e in found.values()} == {products.key}
    assert (valid.passed, valid.severity, valid.metadata["invalid"].value) == (False, ERROR, 2)
    assert [problem["column"] for problem in valid.metadata["problems"].value] == ["sku", "product"]  # type: ignore[union-attr, call-overload, index]
    assert (held.passed, held.severity, held.metadata["outside"].value) == (False, WARN, 2)
    assert held.metadata["values"].value == {"hats": 1, "": 1}


@pytest.mark.parametrize(("blocking", "bought"), [(["prompts_valid"], 0), ([], 3)])
def test_a_blocking_check_of_the_table_buys_nothing(
    fal: Fal, resources: dict[str, Any], blocking: list[str], bought: int
) -> None:
    @dg.asset(name="products")
    def some_shoes_bad() -> pl.DataFrame:
        return pl.DataFrame([*ROWS, SOME_BAD[-1]])

    checks = build_gptimg_checks(photos(), include=["prompts_valid"], blocking=blocking)
    defs = dg.Definitions(assets=[some_shoes_bad, photos()], asset_checks=checks, resources=resources)
    job = defs.resolve_implicit_global_asset_job_def()
    assert job.execute_in_process(partition_key="bags", raise_on_error=False).success is not bool(blocking)
    assert len(fal.bill()["rows"]) == bought


@pytest.mark.parametrize("has_asset", [True, False])
def test_a_table_at_a_url_is_checked_with_an_asset_of_its_own_and_without(tmp_path: Path, has_asset: bool) -> None:  # noqa: FBT001
    table = tmp_path / "t.csv"
    table.write_text("sku,category,product\n1,bags,tote\n2,hats,fez\n", encoding="utf-8")
    asset = images(prompts=build_prompt_table("catalog", table) if has_asset else str(table))
    checks = build_gptimg_checks(asset, include=["prompts_valid", "rows_in_partitions"])
    result = run_checks([asset], checks, {})
    found = {e.check_name: e for e in result.get_asset_check_evaluations()}
    key, prefix = ("catalog", "images_") if has_asset else ("images", "")
    assert {e.asset_key for e in found.values()} == {dg.AssetKey(key)}
    assert found[f"{prefix}prompts_valid"].passed
    assert not found[f"{prefix}rows_in_partitions"].passed
    table.unlink()
    assert not run_checks([asset], checks, {}).success


def test_dynamic_partitions_hold_what_dagster_knows_of(tmp_path: Path) -> None:
    asset = images(partitions=by_dynamic("category", "kinds"))
    [checks] = build_gptimg_checks(asset, include=["rows_in_partitions"])
    defs = dg.Definitions(
        assets=[asset],
        asset_checks=[checks],
        resources=NEEDED,
        jobs=[dg.define_asset_job("checks", selection=dg.AssetSelection.checks(checks))],
    )
    instance = dagster_instance(tmp_path)
    outside = []
    for known in ([], ["bags"], ["shoes"]):
        instance.add_dynamic_partitions("kinds", known)
        result = defs.resolve_job_def("checks").execute_in_process(instance=instance)
        outside += [e.metadata["outside"].value for e in result.get_asset_check_evaluations()]
    assert outside == [6, 3, 0]
