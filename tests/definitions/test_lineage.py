"""What Dagster shows around an image asset: the table upstream, columns, versions, numbers, owners, and fal's tags."""

import inspect
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pyarrow as pa
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from dagster_gptimg import (
    FalResource,
    RequestSettings,
    SqlTable,
    UsageError,
    build_gptimg_asset,
    build_prompt_table,
    gptimg_asset,
)
from dagster_gptimg.definitions.assets import definition_of
from dagster_gptimg.definitions.metadata import column_schema, overrides, timings
from dagster_gptimg.fal.registry.builtin import get_model
from dagster_gptimg.prompts import PromptSpec
from dagster_gptimg.store.manifest import SCHEMA
from dagster_gptimg.store.manifest_columns import COLUMNS
from tests.definitions.support import LOW, NEEDED, ROWS, dagster_instance, images, metadata, run
from tests.harness import Fal

CATALOG = dg.AssetKey("catalog")


def table(path: Path, rows: list[str], header: str = "sku,category,product") -> str:
    path.write_text("\n".join([header, *rows]), encoding="utf-8")
    return str(path)


# -- the table upstream


def test_a_table_at_a_url_stands_upstream_and_nothing_is_read_to_load() -> None:
    catalog = build_prompt_table("catalog", "s3://no-such-bucket/catalog.csv", group_name="catalogue")
    asset = images(prompts=catalog)

    @dg.asset
    def sheet(images: Any) -> None: ...

    for assets in ([catalog, asset, sheet], [asset, sheet]):  # Dagster draws it where it is not defined, too
        graph = dg.Definitions(assets=assets, resources=NEEDED).resolve_asset_graph()
        assert graph.get(asset.key).parent_keys == {CATALOG}
        assert graph.get(sheet.key).parent_keys == {asset.key}
    graph = dg.Definitions(assets=[catalog, asset], resources=NEEDED).resolve_asset_graph()
    node = graph.get(CATALOG)
    assert (node.is_observable, node.is_materializable, node.group_name) == (True, False, "catalogue")
    assert node.kinds == {"csv"}


def test_several_assets_share_a_table() -> None:
    catalog = build_prompt_table("catalog", "catalog.csv", storage_options={"auto_mkdir": False})
    small, large = (
        build_gptimg_asset(name, prompts=catalog, deps=["other"], arguments=LOW) for name in ("small", "large")
    )
    graph = dg.Definitions(assets=[catalog, small, large], resources=NEEDED).resolve_asset_graph()
    assert graph.get(CATALOG).child_keys == {small.key, large.key}
    assert small.asset_deps[small.key] == {CATALOG, dg.AssetKey("other")}
    assert definition_of(small).generation.storage_options == {"auto_mkdir": False}


def test_an_asset_that_makes_its_table_is_an_argument() -> None:
    @dg.asset
    def products() -> None: ...

    with pytest.raises(UsageError, match="returns a table: use gptimg_asset"):
        images(prompts=products)


def observe(node: dg.AssetsDefinition, instance: dg.DagsterInstance) -> Any:
    """What an observation of a table notes."""
    defs = dg.Definitions(assets=[node], jobs=[dg.define_asset_job("look", selection=[node])])
    result = defs.resolve_job_def("look").execute_in_process(instance=instance, raise_on_error=False)
    seen = [e.asset_observation_data for e in result.all_events if e.event_type_value == "ASSET_OBSERVATION"]
    return seen[0].asset_observation if seen else None


def test_an_observation_notes_rows_columns_and_a_version_of_the_content(tmp_path: Path) -> None:
    instance, source = dagster_instance(tmp_path), tmp_path / "t.csv"
    catalog = build_prompt_table("catalog", table(source, ["1,bags,tote", "2,mugs,cup"]))
    seen = observe(catalog, instance)
    assert seen.metadata["dagster/row_count"].value == 2
    assert [(c.name, c.type) for c in seen.metadata["dagster/column_schema"].value.columns] == [
        ("sku", "string"),
        ("category", "string"),
        ("product", "string"),
    ]
    versions = [seen.data_version]
    for rows in (["2,mugs,cup", "1,bags,tote"], ["1,bags,tote", "2,mugs,jug"]):
        table(source, rows)
        versions.append(observe(catalog, instance).data_version)
    assert versions[0] == versions[1] != versions[2]


def test_types_come_from_the_values(tmp_path: Path) -> None:
    at = [datetime(2026, 1, 1, tzinfo=UTC)] * 2
    pl.DataFrame({"n": [1, None], "x": [0.5, 1.5], "at": at, "no": [None] * 2}).write_parquet(tmp_path / "t.parquet")
    seen = observe(build_prompt_table("catalog", tmp_path / "t.parquet"), dagster_instance(tmp_path))
    types = {c.name: c.type for c in seen.metadata["dagster/column_schema"].value.columns}
    assert types == {"n": "int", "x": "float", "at": "timestamp", "no": "null"}


def test_no_password_or_signature_is_shown(tmp_path: Path) -> None:
    secret = build_prompt_table("catalog", SqlTable("postgresql://me:hunter2@127.0.0.1:1/db", "SELECT 1"))
    signed = build_prompt_table("catalog", "https://me:hunter2@example.com/t.csv?sig=hunter2")
    for node in (secret, signed):
        assert "hunter2" not in repr(node.get_asset_spec(CATALOG))
    assert secret.get_asset_spec(CATALOG).kinds == {"sql"}
    assert "https://example.com/t.csv" in str(signed.get_asset_spec(CATALOG).description)
    assert observe(secret, dagster_instance(tmp_path)) is None  # there is no such server: told, and nothing noted


# -- columns


def lineage(result: Any) -> dict[str, list[str]]:
    [event] = result.asset_materializations_for_node("images")
    found = event.metadata.get("dagster/column_lineage")
    return {
        column: [f"{dep.asset_key.to_user_string()}.{dep.column_name}" for dep in deps]
        for column, deps in (found.value.deps_by_column.items() if found else ())
    }


def test_columns_lead_to_the_columns_of_the_table(resources: dict[str, Any], tmp_path: Path) -> None:
    rows = ["1,bags,tote,,2", "2,bags,sack,medium,1"]
    source = table(tmp_path / "t.csv", rows, "sku,category,product,quality,num_images")
    catalog = build_prompt_table("catalog", source)
    found = lineage(run(images(prompts=catalog), resources, partition_key="bags"))
    assert found == {
        "row_id": ["catalog.sku"],
        "prompt": ["catalog.product"],
        "arguments": ["catalog.num_images", "catalog.product", "catalog.quality"],
        "columns": ["catalog.category", "catalog.product"],
    }


def test_images_cut_into_requests_are_no_column_of_the_table(resources: dict[str, Any], tmp_path: Path) -> None:
    catalog = build_prompt_table("catalog", table(tmp_path / "t.csv", ["1,bags,tote"]))
    asset = images(prompts=catalog, arguments={**LOW, "num_images": 5})
    assert lineage(run(asset, resources, partition_key="bags"))["arguments"] == ["catalog.product"]


def test_columns_lead_to_the_asset_upstream_when_there_is_one(resources: dict[str, Any], tmp_path: Path) -> None:
    @dg.asset
    def products() -> pl.DataFrame:
        return pl.DataFrame(ROWS[:2])

    @dg.asset
    def more() -> pl.DataFrame:
        return pl.DataFrame(ROWS[2:3])

    @gptimg_asset(name="images", template="{product}", arguments=LOW)
    def one(products: pl.DataFrame) -> pl.DataFrame:
        return products

    @gptimg_asset(name="images", template="{product}", arguments=LOW)
    def two(products: pl.DataFrame, more: pl.DataFrame) -> pl.DataFrame:
        return pl.concat([products, more])

    found = lineage(run([products, one], resources, instance=dagster_instance(tmp_path)))
    assert found["row_id"] == found["prompt"] == ["products.product"]
    assert lineage(run([products, more, two], resources, instance=dagster_instance(tmp_path))) == {}


def test_every_column_of_the_image_table_is_described() -> None:
    found = column_schema(SCHEMA.empty_table()).columns
    assert [(column.name, column.description) for column in found] == [(c.name, c.meaning) for c in COLUMNS]


# -- numbers


def test_the_numbers_that_are_plotted_are_few_and_have_these_names(resources: dict[str, Any]) -> None:
    found = metadata(run(images(), resources, partition_key="bags"))
    numbers = {name for name, value in found.items() if isinstance(value, int | float)}
    assert {
        "images",
        "bought",
        "reused",
        "refused",
        "failed",
        "cost_usd",
        "run_cost_usd",
        "run_seconds",
        "request_seconds_median",
        "request_seconds_p95",
        "queue_seconds_median",
    } <= numbers
    assert len(numbers) <= 20  # Dagster's UI plots no more
    assert 0 < found["request_seconds_median"] <= found["request_seconds_p95"] < 10
    assert 0 <= found["queue_seconds_median"] < found["request_seconds_median"]


def test_a_request_counts_once_however_many_images_it_has() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    took = {"a": 10.0, "b": 20.0, "c": 40.0}
    records = [
        {
            "row_id": f"{name}{n}",
            "request_id": name,
            "submitted_at": start,
            "completed_at": start + timedelta(seconds=s),
        }
        for name, s in took.items()
        for n in range(4 if name == "a" else 1)
    ]
    never_sent = {"row_id": "d", "request_id": None, "submitted_at": None, "completed_at": None}
    found = timings(pa.Table.from_pylist([*records, never_sent], schema=SCHEMA))
    assert found == {"request_seconds_median": 20.0, "request_seconds_p95": 38.0}
    records = [record | {"inference_s": 8.0} for record in records if record["request_id"] != "c"]
    assert timings(pa.Table.from_pylist(records, schema=SCHEMA))["queue_seconds_median"] == 7.0
    assert timings(pa.Table.from_pylist([never_sent], schema=SCHEMA)) == {}


# -- versions


def test_what_is_downstream_of_unchanged_images_is_not_stale(
    fal: Fal, resources: dict[str, Any], tmp_path: Path
) -> None:
    instance = dagster_instance(tmp_path)

    def stale(asset: dg.AssetsDefinition, *selection: str) -> dict[str, StaleStatus]:
        @dg.asset
        def sheet(images: list[dict[str, Any]]) -> None: ...

        if selection:
            done = dg.materialize([asset, sheet], selection=list(selection), resources=resources, instance=instance)
            assert done.success
        graph = dg.Definitions(assets=[asset, sheet], resources=NEEDED).resolve_asset_graph()
        resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
        return {key.to_user_string(): resolver.get_status(key) for key in (asset.key, sheet.key)}

    rows = ROWS[:2]
    fresh = {"images": StaleStatus.FRESH, "sheet": StaleStatus.FRESH}
    assert stale(images(prompts=rows, partitions=None), "images", "sheet") == fresh
    assert stale(images(prompts=rows, partitions=None), "images") == fresh  # made again, and nothing is new in it
    other = images(prompts=rows, partitions=None, template="drawing of {product}")
    assert stale(other) == {"images": StaleStatus.STALE, "sheet": StaleStatus.FRESH}  # by its code version
    more = images(prompts=ROWS[:3], partitions=None)
    assert stale(more, "images") == {"images": StaleStatus.FRESH, "sheet": StaleStatus.STALE}


# -- what is passed on


@dg.success_hook
def hooked(context: dg.HookContext) -> None: ...


PASSED: dict[str, tuple[Any, Any]] = {
    "automation_condition": (
        dg.AutomationCondition.on_missing(),
        lambda a: a.specs_by_key[a.key].automation_condition == dg.AutomationCondition.on_missing(),
    ),
    "backfill_policy": (
        dg.BackfillPolicy.single_run(),
        lambda a: a.backfill_policy == dg.BackfillPolicy.single_run(),
    ),
    "check_specs": (
        [dg.AssetCheckSpec("mine", asset="images")],
        lambda a: {s.name for s in a.check_specs} == {"mine", "no_row_in_doubt"},
    ),
    "code_version": ("7", lambda a: a.code_versions_by_key[a.key] == "7"),
    "deps": (["other"], lambda a: a.asset_deps[a.key] == {dg.AssetKey("other")}),
    "description": ("Words.", lambda a: a.specs_by_key[a.key].description == "Words."),
    "freshness_policy": (
        dg.FreshnessPolicy.time_window(fail_window=timedelta(days=1)),
        lambda a: a.specs_by_key[a.key].freshness_policy.fail_window.to_timedelta() == timedelta(days=1),
    ),
    "group_name": ("creative", lambda a: a.group_names_by_key[a.key] == "creative"),
    "hooks": ({hooked}, lambda a: hooked in a.hook_defs),
    "ins": ({}, lambda a: True),
    "key": (["team", "images"], lambda a: a.key == dg.AssetKey(["team", "images"])),
    "key_prefix": (["a", "b"], lambda a: a.key == dg.AssetKey(["a", "b", "images"])),
    "kinds": ({"webp"}, lambda a: a.specs_by_key[a.key].kinds == {"webp"}),
    "metadata": (
        {"mine": 1},
        lambda a: {"mine", "dataset", "model"} <= a.metadata_by_key[a.key].keys(),
    ),
    "name": ("images", lambda a: a.key == dg.AssetKey("images")),
    "op_tags": ({"dagster/priority": "3"}, lambda a: a.op.tags["dagster/priority"] == "3"),
    "owners": (["team:creative"], lambda a: a.specs_by_key[a.key].owners == ["team:creative"]),
    "pool": ("fal", lambda a: a.op.pool == "fal"),
    "required_resource_keys": ({"mine"}, lambda a: a.required_resource_keys >= {"mine", "fal", "image_store"}),
    "resource_defs": (
        {"fal": FalResource.emulated()},
        lambda a: "fal" in a.resource_defs,
    ),
    "retry_policy": (dg.RetryPolicy(max_retries=2), lambda a: a.op.retry_policy.max_retries == 2),
    "tags": ({"tier": "gold"}, lambda a: a.tags_by_key[a.key]["tier"] == "gold"),
}
REFUSED = {
    "config_schema",
    "dagster_type",
    "io_manager_def",
    "io_manager_key",
    "is_virtual",
    "output_required",
    "partitions_def",
}


def test_every_argument_of_dagsters_is_passed_on_or_refused() -> None:
    """A new release of Dagster with a new argument fails here: it has to be decided what becomes of it."""
    own = inspect.signature(dg.asset).parameters.keys() - {"compute_fn", "kwargs"}
    assert own == PASSED.keys() | REFUSED


@pytest.mark.parametrize("name", sorted(PASSED))
def test_arguments_of_dagsters_arrive(name: str) -> None:
    value, arrived = PASSED[name]

    def table() -> Any:
        return ROWS

    given = {name: value} if name in {"name", "key"} else {"name": "images", name: value}
    assert arrived(gptimg_asset(template="{product}", **given)(table))


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_arguments_that_an_image_asset_settles_itself_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name} cannot be given to an image asset"):
        images(**{name: None})


def test_what_a_run_does_can_be_wrapped(resources: dict[str, Any]) -> None:
    from dagster_gptimg.definitions.asset_events import materialized

    seen: list[Any] = []

    def execute(generation: Any, context: Any, config: Any, prompts: Any) -> Iterator[Any]:
        seen.append(prompts)
        for event in materialized(generation, context, config, prompts[:1]):
            seen.append(type(event))
            yield event

    found = metadata(run(images(prompts=ROWS, execute=execute), resources, partition_key="bags"))
    assert found["images"] == 1
    assert seen == [ROWS, dg.MaterializeResult, dg.AssetCheckEvaluation, dg.Output]


# -- fal's tags


def test_owners_group_and_tags_of_the_asset_reach_fal(fal: Fal, resources: dict[str, Any]) -> None:
    asset = images(
        prompts=ROWS[:1],
        owners=["team:creative", "ann@example.com"],
        group_name="catalogue",
        tags={"tier": "gold", "key": "x", **{f"t{n}": "1" for n in range(9)}},
        kinds={"webp"},
        request=RequestSettings(tags={"campaign": "spring", "group": "ads"}),
    )
    assert run(asset, resources, partition_key="bags").success
    [row] = fal.charged()
    found = row["tags"]
    assert len(found) == 10
    assert found["asset"] == found["dataset"] == "images"
    assert found["owner"] == "team:creative ann@example.com"
    assert (found["campaign"], found["group"]) == ("spring", "ads")  # what is said of its requests goes first
    assert (found["tier"], found["partition"]) == ("gold", "bags")
    assert len(found["key"]) == 64


def test_a_request_has_as_many_tags_as_fal_takes(fal: Fal, resources: dict[str, Any]) -> None:
    asset = images(prompts=ROWS[:1], request=RequestSettings(tags={f"t{n}": "1" for n in range(7)}))
    assert run(asset, resources, partition_key="bags").success
    assert fal.charged()[0]["tags"].keys() == {*(f"t{n}" for n in range(7)), "dataset", "key", "partition"}


def test_how_many_images_may_come_is_no_input_of_a_rows_own() -> None:
    spec = PromptSpec(get_model("seedream-5-lite"), arguments={"num_images": 2, "max_images": 3})
    for count, own in ((2, []), (1, ["num_images"])):
        sent = json.dumps({"prompt": "cups", "num_images": count, "max_images": 3})
        made = pa.table({"arguments": [sent], "images_wanted": [3 * count]})
        assert overrides(made, spec) == own
