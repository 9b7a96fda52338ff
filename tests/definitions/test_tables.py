"""Prompt tables under Dagster: empty ones, one-shot ones, inputs and formats that are said."""

from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pyarrow as pa
import pytest

from dagster_gptimg import (
    GptImgComponent,
    TableFile,
    UsageError,
    build_gptimg_asset,
    build_gptimg_checks,
    build_prompt_table,
    by_column,
    generate_images_op,
    gptimg_asset,
)
from dagster_gptimg.definitions.prompt_table import table_of
from tests.definitions.support import LOW, dagster_instance, failure, metadata, run
from tests.harness import Fal


def text(path: Path, content: str) -> str:
    path.write_text(content, encoding="utf-8")
    return str(path)


def test_nothing_new_today_is_a_success_for_assets_and_what_follows_them(
    fal: Fal, resources: dict[str, Any], tmp_path: Path
) -> None:
    @dg.asset(partitions_def=by_column("kind", ["a", "b"]).definition)
    def table(context: dg.AssetExecutionContext) -> pl.DataFrame:
        rows = [{"prompt": "a cup", "kind": "a"}] if context.partition_key == "a" else []
        return pl.DataFrame(rows, schema={"prompt": pl.String, "kind": pl.String})

    @gptimg_asset(arguments=LOW, partitions=by_column("kind", ["a", "b"]))
    def images(table: pl.DataFrame) -> pl.DataFrame:
        return table

    @dg.asset(partitions_def=images.partitions_def)
    def after(images: pl.DataFrame) -> int:
        return images.height

    names = ["rows_settled", "failure_rate", "files_as_recorded", "images_decode", "image_dimensions"]
    checks = build_gptimg_checks(images, include=[*names, "no_blank_images"])
    whole = build_gptimg_asset("whole", prompts=text(tmp_path / "t.csv", "prompt\n"))
    with dagster_instance(tmp_path) as instance:
        for key in "ab":
            assert dg.materialize([table], partition_key=key, instance=instance).success
        for key, count in (("a", 1), ("b", 0)):
            result = dg.materialize(
                [table, images, after, *checks], resources=resources, partition_key=key, instance=instance
            )
            assert result.success
            assert result.output_for_node("after") == count
            assert all(check.passed for check in result.get_asset_check_evaluations())
        assert dg.materialize([whole], resources=resources, instance=instance).success
    assert len(fal.charged()) == 1


def test_nothing_new_today_is_a_success_for_ops_tables_and_components(
    resources: dict[str, Any], tmp_path: Path
) -> None:
    path = text(tmp_path / "t.jsonl", "")

    @dg.job(resource_defs=resources)
    def images() -> None:
        generate_images_op()

    config = {"ops": {"generate_images_op": {"config": {"prompts": path, "dataset": "d"}}}}
    found = images.execute_in_process(run_config=config).output_for_node("generate_images_op")
    assert (found["rows"], found["images"]) == (0, 0)
    table = build_prompt_table("prompts", path)
    found = table.node_def.compute_fn.decorated_fn()  # type: ignore[attr-defined]
    assert found.metadata["dagster/row_count"] == 0
    component = GptImgComponent(asset=dg.AssetSpec("images"), prompts=[])
    assert dg.materialize([component.build_asset(tmp_path)], resources=resources).success


@pytest.mark.parametrize("kind", ["reader", "generator", "iterator"])
def test_a_table_that_can_be_read_only_once_is_there_for_every_partition(
    kind: str, fal: Fal, resources: dict[str, Any]
) -> None:
    rows = [{"prompt": "x", "kind": "a"}, {"prompt": "y", "kind": "b"}]
    sources: dict[str, Any] = {
        "reader": pa.Table.from_pylist(rows).to_reader(),
        "generator": (row for row in rows),
        "iterator": iter(rows),
    }
    partitions = by_column("kind", ["a", "b"])
    asset = build_gptimg_asset("images", prompts=sources[kind], arguments=LOW, partitions=partitions)
    for key in ("a", "b", "a"):
        assert metadata(run(asset, resources, partition_key=key))["images"] == 1
    assert len(fal.charged()) == 2


def test_a_function_may_return_a_table_that_can_be_read_only_once(fal: Fal, resources: dict[str, Any]) -> None:
    @gptimg_asset(name="images", arguments=LOW, partitions=by_column("kind", ["a", "b"]))
    def images() -> Any:
        return pa.table({"prompt": ["x", "y"], "kind": ["a", "b"]}).to_reader()

    tags = {"dagster/asset_partition_range_start": "a", "dagster/asset_partition_range_end": "b"}
    assert run(images, resources, tags=tags).success
    assert len(fal.charged()) == 2


def test_inputs_are_said_to_assets_ops_and_components(resources: dict[str, Any], tmp_path: Path, fal: Fal) -> None:
    table = [{"product": "a mug", "background": "a sunny beach", "quality": "low"}]
    template = "{product} on {background}"
    said: dict[str, Any] = {"template": template, "arguments": LOW}
    result = run(build_gptimg_asset("images", prompts=table, **said), resources)
    assert "inputs=[...]" in str(failure(result).description)
    for inputs in (["quality"], "none"):
        assert run(build_gptimg_asset("images", prompts=table, inputs=inputs, **said), resources).success
    component = GptImgComponent(asset=dg.AssetSpec("images"), prompts=table, inputs=["quality"], **said)
    assert metadata(run(component.build_asset(tmp_path), resources))["reused"] == 1

    @dg.job(resource_defs=resources)
    def job() -> None:
        generate_images_op()

    path = text(tmp_path / "t.csv", "product,background,quality\na mug,a sunny beach,low\n")
    config = {"prompts": path, "dataset": "images", "inputs": ["quality"], **said}
    found = job.execute_in_process(run_config={"ops": {"generate_images_op": {"config": config}}})
    assert found.output_for_node("generate_images_op")["reused"] == 1
    assert [row["prompt"] for row in fal.charged()] == ["a mug on a sunny beach"]


def test_a_plan_in_dagster_names_the_columns(resources: dict[str, Any], capfd: pytest.CaptureFixture[str]) -> None:
    table = [{"prompt": "a mug", "Quality": "low", "shop": "north"}]
    assert run(build_gptimg_asset("images", prompts=table), resources, {"plan_only": True}).success
    assert "columns: inputs 'Quality' (as quality); carried along 'shop'" in capfd.readouterr().err


def test_a_format_is_said_to_assets_tables_ops_and_components(
    resources: dict[str, Any], tmp_path: Path, fal: Fal
) -> None:
    path = text(tmp_path / "export", "prompt;n\na mug;1\n")
    assert not run(build_gptimg_asset("images", prompts=path, arguments=LOW), resources).success
    table = build_prompt_table("table", path, table_format="csv")
    assert table.specs_by_key[dg.AssetKey("table")].kinds == {"csv"}
    assert table_of(table).source == TableFile(path, "csv")  # type: ignore[union-attr]
    component = GptImgComponent(asset=dg.AssetSpec("images"), prompts="export", table_format="csv", arguments=LOW)

    @gptimg_asset(name="images", arguments=LOW, table_format="csv")
    def images() -> str:
        return path

    for asset in (
        build_gptimg_asset("images", prompts=path, arguments=LOW, table_format="csv"),
        build_gptimg_asset("images", prompts=TableFile(path, "csv"), arguments=LOW),
        build_gptimg_asset("images", prompts=table, arguments=LOW),
        component.build_asset(tmp_path, component.build_prompt_table(tmp_path)),
        images,
    ):
        assert run(asset, resources).success

    @dg.job(resource_defs=resources)
    def job() -> None:
        generate_images_op()

    config = {"prompts": path, "dataset": "images", "arguments": LOW, "table_format": "csv"}
    found = job.execute_in_process(run_config={"ops": {"generate_images_op": {"config": config}}})
    assert found.output_for_node("generate_images_op")["reused"] == 1
    assert len(fal.charged()) == 1
    with pytest.raises(UsageError, match="is for tables at a URL"):
        build_gptimg_asset("images", prompts=[{"prompt": "x"}], table_format="csv")
