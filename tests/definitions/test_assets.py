"""Image assets in Dagster, against an emulator in its own process: the events are truthful, and the bill agrees."""

import json
from pathlib import Path
from typing import Any, get_origin

import dagster as dg
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from dagster_gptimg import FalResource, ImageStoreResource, UsageError, build_gptimg_asset, by_column, gptimg_asset
from dagster_gptimg.definitions.metadata import PREVIEW_BYTES, text
from tests.definitions.support import LOW, ROWS, dagster_instance, failure, images, metadata, run
from tests.harness import Fal


def test_a_partition_becomes_one_truthful_event(fal: Fal, resources: dict[str, Any]) -> None:
    result = run(images(), resources, partition_key="bags")
    assert result.success
    found = metadata(result)
    assert (found["images"], found["bought"], found["reused"], found["cost_usd"]) == (3, 3, 0, 0.03)
    assert found["dagster/partition_row_count"] == 3
    assert [c.name for c in found["dagster/column_schema"].columns][:3] == ["row_id", "prompt", "status"]
    assert Path(found["dagster/uri"].removeprefix("file://")).is_file()
    assert found["preview"].count("data:image/webp;base64,") == 3
    assert len(found["preview"]) <= PREVIEW_BYTES
    assert sorted(row["prompt"] for row in fal.charged()) == [f"photo of bags number {n}" for n in range(3)]


def test_the_second_materialization_buys_nothing_and_keeps_the_data_version(
    fal: Fal, resources: dict[str, Any]
) -> None:
    versions = []
    for bought in (3, 0):
        result = run(images(), resources, partition_key="bags")
        assert metadata(result)["bought"] == bought
        [event] = result.asset_materializations_for_node("images")
        versions.append(event.tags["dagster/data_version"])
    assert versions[0] == versions[1]
    assert len(fal.bill()["rows"]) == 3


def test_a_refused_row_does_not_fail_the_partition(fal: Fal, resources: dict[str, Any]) -> None:
    fal.fail("bags number 1", "refused")
    result = run(images(), resources, partition_key="bags")
    assert result.success
    found = metadata(result)
    assert (found["images"], found["refused"]) == (2, 1)
    assert "| bags\\-1 | refused | The content could not be processed" in found["rows_without_images"]


def test_the_cost_of_a_partition_is_that_of_its_images_beside_what_the_run_spent(
    fal: Fal, resources: dict[str, Any]
) -> None:
    first, second = (metadata(run(images(), resources, partition_key="bags")) for _ in range(2))
    assert (first["cost_usd"], first["run_cost_usd"]) == (0.03, 0.03)
    assert (second["cost_usd"], second["run_cost_usd"], second["bought"]) == (0.03, 0, 0)


def test_failed_rows_above_the_threshold_fail_the_step_with_a_reason(fal: Fal, resources: dict[str, Any]) -> None:
    fal.fail("bags number 1", "failed")
    result = run(images(), resources, partition_key="bags")
    assert not result.success
    told = failure(result)
    assert told.metadata["reason"].value == "failed_rows"
    assert told.metadata["failed"].value == 1
    assert result.asset_materializations_for_node("images") == []
    assert run(images(max_failed=0.5), resources, partition_key="bags").success


def test_the_budget_stops_the_step_and_what_was_made_stays(fal: Fal, resources: dict[str, Any]) -> None:
    result = run(images(max_cost_usd=5.0), resources, {"max_cost_usd": 0.02}, partition_key="shoes")
    assert not result.success
    told = failure(result)
    assert (told.metadata["reason"].value, told.metadata["bought"].value) == ("budget", 2)
    assert fal.bill()["total_usd"] == "0.02"
    assert metadata(run(images(), resources, partition_key="shoes"))["bought"] == 1


def test_a_plan_buys_nothing_and_materializes_nothing(fal: Fal, resources: dict[str, Any]) -> None:
    result = run(images(), resources, {"plan_only": True}, partition_key="bags")
    assert result.success
    assert result.asset_materializations_for_node("images") == []
    assert fal.bill()["rows"] == []


def test_rows_in_doubt_show_in_a_check_even_when_the_step_fails(fal: Fal, resources: dict[str, Any]) -> None:
    def check(result: Any) -> Any:
        [event] = result.get_asset_check_evaluations()
        return event

    assert check(run(images(), resources, partition_key="shoes")).passed
    fal.fail("bags number 1", "image_404_always")
    result = run(images(), resources, config={"patience": 2.0}, partition_key="bags")
    assert not result.success
    found = check(result)
    assert (found.passed, found.severity, found.metadata["lost"].value) == (False, dg.AssetCheckSeverity.WARN, 1)


def test_bad_rows_fail_the_step_before_anything_is_sent(fal: Fal, resources: dict[str, Any]) -> None:
    rows = [*ROWS, {"sku": "", "category": "bags", "product": "x"}]
    asset = build_gptimg_asset(
        "images",
        prompts=rows,
        template="{product}",
        id_column="sku",
        partitions=by_column("category", ["bags", "shoes"]),
    )
    told = failure(run(asset, resources, partition_key="bags"))
    assert told.metadata["reason"].value == "usage"
    assert "the id is empty" in str(told.description)
    assert fal.bill()["rows"] == []


def test_bad_templates_and_arguments_do_not_load() -> None:
    with pytest.raises(UsageError, match=r"only \{column\} is allowed"):
        images(template="{product.price}")
    with pytest.raises(UsageError, match="did you mean high"):
        images(arguments={"quality": "hihg"})
    with pytest.raises(UsageError, match="no model"):
        images(model="gpt-image-9")
    with pytest.raises(UsageError, match="cannot be a dataset's name"):
        images(dataset="../x")


KINDS: list[tuple[Any, Any]] = [
    (pl.DataFrame, lambda t: t["prompt"].to_list()),
    (pd.DataFrame, lambda t: list(t["prompt"])),
    (pa.Table, lambda t: t["prompt"].to_pylist()),
    (list[dict[str, Any]], lambda t: [r["prompt"] for r in t]),
]


def test_downstream_assets_take_the_manifest_by_annotation(resources: dict[str, Any], tmp_path: Path) -> None:
    seen: dict[str, Any] = {}
    one = images()

    def reader(name: str, annotation: Any, partitions: Any = None) -> dg.AssetsDefinition:
        def read(images):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
            seen[name] = images

        read.__annotations__ = {"images": annotation, "return": None}
        return dg.asset(name=name, partitions_def=partitions)(read)

    single = [reader(f"one_{n}", kind, one.partitions_def) for n, (kind, _) in enumerate(KINDS)]
    every = [reader(f"all_{n}", dict.__class_getitem__((str, kind))) for n, (kind, _) in enumerate(KINDS)]
    instance = dagster_instance(tmp_path)
    for key in ("bags", "shoes"):
        run([one, *single], resources, partition_key=key, instance=instance)
    names = [asset.key.to_user_string() for asset in every]
    assert dg.materialize([one, *every], selection=names, resources=resources, instance=instance).success
    for number, (kind, prompts) in enumerate(KINDS):
        loaded = seen[f"all_{number}"]
        assert sorted(loaded) == ["bags", "shoes"]
        assert (
            prompts(seen[f"one_{number}"])
            == prompts(loaded["shoes"])
            == [f"photo of shoes number {n}" for n in range(3)]
        )
        assert isinstance(loaded["shoes"], get_origin(kind) or kind)


def test_an_upstream_table_comes_as_an_argument(fal: Fal, resources: dict[str, Any]) -> None:
    @dg.asset
    def products() -> pl.DataFrame:
        return pl.DataFrame(ROWS)

    @gptimg_asset(template="{product}", id_column="sku", arguments=LOW, name="images", owners=["team:creative"])
    def anything(products: pl.DataFrame) -> pl.DataFrame:
        """From a table upstream."""
        return products.filter(pl.col("category") == "shoes")

    assert anything.keys_by_input_name == {"products": dg.AssetKey("products")}
    spec = anything.specs_by_key[dg.AssetKey("images")]
    assert (spec.description, spec.owners, spec.kinds) == (
        "From a table upstream.",
        ["team:creative"],
        {"fal", "openai"},
    )
    result = run([products, anything], resources)
    assert metadata(result)["images"] == 3
    assert metadata(result)["dagster/row_count"] == 3
    assert len(fal.charged()) == 3


def test_code_version_changes_with_template_model_and_arguments() -> None:
    def version(**more: Any) -> str | None:
        return images(**more).specs_by_key[dg.AssetKey("images")].code_version

    assert version() == version()
    assert len({version(), version(template="{product}"), version(arguments={"quality": "high"})}) == 3


def test_the_key_is_never_shown(resources: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert "secret-key" not in f"{resources['fal']} {resources['fal']!r}"
    instance = dagster_instance(tmp_path)
    result = run(images(), resources, partition_key="bags", instance=instance)
    log = "".join(str(record) for record in instance.get_records_for_run(result.run_id).records)
    assert len(log) > 1000
    out = capfd.readouterr()
    assert "secret-key" not in log + out.out + out.err
    stored = [p.read_bytes() for p in (tmp_path / "store").rglob("*") if p.is_file() and p.suffix != ".png"]
    assert stored
    assert not any(b"secret-key" in data for data in stored)


def test_an_unset_variable_is_named_before_anything_runs(resources: dict[str, Any]) -> None:
    resources["fal"] = FalResource(api_key=dg.EnvVar("NO_SUCH_KEY_HERE"))
    with pytest.raises(dg.DagsterInvalidConfigError, match="NO_SUCH_KEY_HERE"):
        dg.materialize([images()], resources=resources, partition_key="bags")


def accounts(folder: Path) -> set[str]:
    """To whom the requests of a store were charged, as salted hashes."""
    return {json.loads(path.read_bytes())["account"] for path in folder.glob("store/images/receipts/*/*.intent.json")}


def test_the_mask_that_the_launchpad_writes_stands_for_the_key(
    resources: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUR_FAL_KEY", "secret-key")
    written = {"api_key": "********", "base_url": resources["fal"].base_url}
    masked = {"resources": {"fal": {"config": written}}}
    for key, given in (("bags", {}), ("shoes", masked)):
        fal = FalResource(api_key=dg.EnvVar("OUR_FAL_KEY"), base_url=resources["fal"].base_url)
        run_ = dg.materialize([images()], resources={**resources, "fal": fal}, partition_key=key, run_config=given)
        assert run_.success
    assert len(accounts(tmp_path)) == 1
    monkeypatch.delenv("OUR_FAL_KEY")
    unset = dg.materialize(
        [images()],
        resources={**resources, "fal": fal},
        partition_key="bags",
        run_config=masked,
        raise_on_error=False,
    )
    assert failure(unset).metadata["reason"].value == "key"
    with pytest.raises(UsageError, match="mask instead of the fal key"):
        _ = FalResource(api_key="********").key


def test_store_options_read_their_variables_when_a_run_needs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    store = ImageStoreResource(root="memory://x", storage_options={"client_kwargs": {"token": {"env": "STORE_TOKEN"}}})
    with pytest.raises(UsageError, match="STORE_TOKEN is not set"):
        store.dataset("d")
    monkeypatch.setenv("STORE_TOKEN", "t")
    from dagster_gptimg.definitions.resources import resolved

    assert resolved(store.storage_options) == {"client_kwargs": {"token": "t"}}


def test_text_from_outside_is_no_markup() -> None:
    hostile = "a|b `c` <img src=x onerror=y> [l](javascript:x) ![i](http://x)\n# h & $1"
    shown = text(hostile, 500)
    assert "\n" not in shown
    assert "<" not in shown
    for mark in "|`[]()!#":
        assert shown.count(mark) == shown.count(f"\\{mark}") == hostile.count(mark)
    assert len(text("x" * 1000)) == 60


def test_the_log_has_few_lines(fal: Fal, resources: dict[str, Any], tmp_path: Path) -> None:
    rows = [{"sku": str(n), "category": "bags", "product": f"p{n}"} for n in range(60)]
    instance = dagster_instance(tmp_path)
    asset = build_gptimg_asset("images", prompts=rows, template="{product}", id_column="sku", arguments=LOW)
    result = run(asset, resources, instance=instance)
    lines = [r for r in instance.get_records_for_run(result.run_id).records if r.event_log_entry.dagster_event is None]
    assert 2 <= len(lines) <= 12
    assert any("plan: 60 rows" in line.event_log_entry.user_message for line in lines)


def test_a_misspelt_run_config_is_told_before_anything_runs(resources: dict[str, Any]) -> None:
    with pytest.raises(dg.DagsterInvalidConfigError, match="max_cost"):
        run(images(), resources, {"max_cost": 1}, partition_key="bags")


def test_what_fal_says_on_the_way_is_logged_at_debug_level(
    fal: Fal, resources: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    fal.set(slots=1, latency=2.0)  # long enough to be seen waiting
    assert run(images(), resources, {"watch": "stream", "logs": True}, partition_key="bags").success
    told = capfd.readouterr().err
    assert "IN_QUEUE, 1 before it" in told
    assert "IN_PROGRESS" in told
    assert " - DEBUG - " in told[: told.index("IN_QUEUE")].splitlines()[-1]


def test_a_partition_without_rows_warns_of_the_values_that_there_are(resources: dict[str, Any]) -> None:
    asset = images(partitions=by_column("category", ["bag", "shoes"]))
    found = metadata(run(asset, resources, partition_key="bag"))
    assert found["images"] == 0
    assert "no row belongs to the partition 'bag'; the table has" in found["warnings"]
    assert "did you mean 'bags'?" in found["warnings"]
