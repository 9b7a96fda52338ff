"""One source of options: every face has those that it should, with their defaults and texts, and keeps their rules."""

import inspect
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

import click
import dagster as dg
import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from dagster_gptimg import (
    GenerateConfig,
    GenerateImagesConfig,
    GptImgComponent,
    ImageChecks,
    ImageStoreResource,
    RequestSettings,
    UsageError,
    build_export,
    build_gptimg_asset,
    build_gptimg_checks,
    build_gptimg_schedule,
    build_prompt_table_sensor,
    by_date,
    generate,
    gptimg_asset,
)
from dagster_gptimg.cli.commands import cli
from dagster_gptimg.definitions.asset_arguments import AssetArguments
from dagster_gptimg.definitions.assets import _ASSETS_OWN, _TAKEN
from dagster_gptimg.definitions.component.attributes import (
    ChecksAttributes,
    RequestAttributes,
    SensorAttributes,
    StoreAttributes,
)
from dagster_gptimg.definitions.run_config import RequestConfig
from dagster_gptimg.engine.export.options import ExportOptions, Layout
from dagster_gptimg.engine.opened_dataset import StoredImages
from dagster_gptimg.options import LAYOUTS, OPTIONS, OTHER_NAMES, check, check_face

ROWS = [{"prompt": "a red cup"}]
NAN, INFINITE = math.nan, math.inf


def on(face: str) -> set[str]:
    return {name for name, option in OPTIONS.items() if face in option.faces}


REQUESTS, CHECKS, SENSOR = on("requests"), on("checks"), on("sensor")


def parameters(function: Callable[..., Any], *but: str) -> dict[str, Any]:
    found = inspect.signature(function).parameters
    return {OTHER_NAMES[n] if n == "max_cost" else n: p.default for n, p in found.items() if n not in but}


def fields(kind: Any, *but: str) -> dict[str, Any]:
    found = {"model" if name == "image_model" else name: field for name, field in kind.model_fields.items()}
    return {name: field.get_default(call_default_factory=True) for name, field in found.items() if name not in but}


def commands_own() -> dict[str, click.Parameter]:
    names = {"max_cost": "max_cost_usd", "settings": "arguments"}
    own = {"table", "store", "price", "query", "as_json"}
    return {names.get(str(p.name), str(p.name)): p for p in cli.commands["generate"].params if p.name not in own}


TARGET = {"dataset", "partition"}
"""Options of other faces, which a command has for the place of what it reads."""
IN_COMPONENT = ("asset", "prompts", "partitions", "request", "op", "checks", "schedule", "sensor", "fal", "store")
FACES: dict[str, tuple[dict[str, Any], set[str]]] = {
    "asset": (parameters(gptimg_asset, "partitions", "request", "checks", "execute", "asset_arguments"), on("asset")),
    "run": (fields(GenerateConfig), on("run")),
    "op": (fields(GenerateImagesConfig, "prompts", "request"), on("op") - REQUESTS),
    "op's requests": (fields(RequestConfig), REQUESTS),
    "requests": (parameters(RequestSettings), REQUESTS),
    "component": (fields(GptImgComponent, *IN_COMPONENT), on("component") - REQUESTS - CHECKS - SENSOR),
    "component's requests": (fields(RequestAttributes), REQUESTS),
    "component's checks": (
        fields(ChecksAttributes, "include", "severity", "blocking", "partitioned", "max_cost_usd"),
        CHECKS,
    ),
    "component's sensor": (fields(SensorAttributes, "watermark", "default_status", "config"), SENSOR),
    "store": (fields(ImageStoreResource, "root", "storage_options"), on("store")),
    "component's store": (fields(StoreAttributes, "root", "storage_options"), on("store")),
    "checks": (
        parameters(build_gptimg_checks, "asset", "include", "severity", "blocking", "partitioned", "max_cost_usd"),
        CHECKS,
    ),
    "notebook": (
        parameters(generate, "prompts", "store", "request", "on_update", "settings", "progress", "unknown"),
        on("notebook"),
    ),
    "command line": ({name: p.default for name, p in commands_own().items()}, on("command line")),
    "export": (
        parameters(
            build_export, "asset", "to", "name", "group_name", "owners", "tags", "description", "automation_condition"
        ),
        on("export"),
    ),
    "export in notebooks": (parameters(StoredImages.export, "self", "to"), on("export")),
    "export in the engine": (parameters(ExportOptions), on("export")),
    "export on the command line": (
        {str(p.name): p.default for p in cli.commands["export"].params if p.name in OPTIONS and p.name not in TARGET},
        on("export"),
    ),
}


@pytest.mark.parametrize("face", FACES)
def test_a_face_has_the_options_that_it_should_with_their_defaults(face: str) -> None:
    found, expected = FACES[face]
    assert set(found) == expected
    for name, value in found.items():
        if name not in {"model", "dataset"} and not is_left_open(value):
            assert (value or None) == (OPTIONS[name].default or None), name


def is_left_open(value: Any) -> bool:
    """Whether a face has no default of its own for an option: it is left to another face, or must be said."""
    return (
        value in ("as_asset", "as_resource", None)
        or "Undefined" in repr(value)
        or "UNSET" in repr(value)
        or "factory" in repr(value)
    )


def test_what_faces_say_of_an_option_is_its_description() -> None:
    for kind in (GenerateConfig, GenerateImagesConfig, RequestConfig):
        for name, field in kind.model_fields.items():
            if name in OPTIONS:
                assert str(field.description).startswith(OPTIONS[name].description), name
    for name, parameter in commands_own().items():
        if name not in {"model", "dataset"}:
            assert isinstance(parameter, click.Option)
            assert parameter.help == OPTIONS[name].description, name
    schema = GptImgComponent.model().model_json_schema()
    ours = {"properties": schema["properties"]} | {
        name: part for name, part in schema["$defs"].items() if "Attributes" in name or name == "Partitions"
    }
    for part in [{"properties": ours.pop("properties")}, *ours.values()]:
        for name, about in part["properties"].items():
            assert about.get("description"), name
    assert schema["properties"]["max_failed"]["description"] == OPTIONS["max_failed"].description
    assert schema["properties"]["watch"]["anyOf"][0]["enum"] == ["poll", "stream", "webhook"]


def test_the_layouts_of_the_engine_are_those_of_the_option() -> None:
    assert get_args(Layout) == LAYOUTS


def test_the_factory_knows_every_argument_of_the_decorator_and_of_dagster_by_type() -> None:
    own = set(parameters(gptimg_asset, "asset_arguments"))
    assert set(AssetArguments.__annotations__) == (own | _ASSETS_OWN) - {*_TAKEN, "name"}


WRONG: Mapping[str, list[Any]] = {
    "model": [" "],
    "dataset": [" "],
    "template": [5],
    "prompt_column": [" "],
    "id_column": [" ", 3],
    "arguments": [[1]],
    "inputs": [5, [" "]],
    "table_format": [" "],
    "image_columns": ["picture", [""]],
    "references_from": ["s3://bucket", [" "]],
    "storage_options": ["anon"],
    "max_failed": [5, NAN, -0.1, None],
    "max_refused": [5, NAN],
    "max_cost_usd": [NAN, -1, INFINITE],
    "max_in_flight": [0, -3, 1.5],
    "watch": ["pol"],
    "webhook_url": [5],
    "limit": [0],
    "again": ["held", [""]],
    "regenerate": ["r1", [""]],
    "allow_rebuy": ["maybe"],
    "alone": ["maybe"],
    "on_ambiguous": ["buy"],
    "settle": [NAN, -1, INFINITE],
    "patience": [NAN, -1],
    "logs": ["maybe"],
    "plan_only": ["maybe"],
    "plan_model": [" "],
    "partition": ["x", ("category",)],
    "priority": ["high"],
    "start_timeout": [1, NAN],
    "tags": ["x"],
    "lifecycle": [60],
    "headers": ["x"],
    "without_guarantee": ["maybe"],
    "max_failure_rate": [5, NAN],
    "sample": [-1, 1.5],
    "every": ["yearly"],
    "week_starts_on": ["someday"],
    "layout": ["tar", None],
    "only": ["rejected"],
    "file_names": [" ", 5],
    "links": [0, 604_801, 1.5],
    "shard_mb": [0, None],
    "keys_per_tick": [0],
    "minimum_interval_seconds": [0],
}


def test_every_option_has_a_rule_that_its_default_keeps() -> None:
    assert set(WRONG) == set(OPTIONS)
    check(**{name: option.default for name, option in OPTIONS.items()})
    check(max_cost=1.0)
    with pytest.raises(UsageError, match=r"^max_cost is nan: it must be an amount of US dollars, 0 or more$"):
        check(max_cost=NAN)
    with pytest.raises(UsageError, match=r"^watch is 'pol': it must be poll, stream or webhook; did you mean poll\?$"):
        check(watch="pol")
    with pytest.raises(UsageError, match="storage_options is of the type str"):
        check(storage_options="a secret")


def given(name: str, value: Any) -> dict[str, Any]:
    return {name: value}


def component(**given: Any) -> None:
    spec = dg.AssetSpec("images")
    renamed = {"image_model" if name == "model" else name: value for name, value in given.items()}
    made = GptImgComponent(asset=spec, prompts=ROWS, **renamed)
    made.build_asset(Path())


def components_part(name: str, value: Any) -> None:
    if name in REQUESTS:
        RequestAttributes(**{name: value}).settings()
    elif name in CHECKS:
        ChecksAttributes(**{name: value}).own()
    elif name in SENSOR:
        given = SensorAttributes(**{name: value}).model_dump(include={name})
        build_prompt_table_sensor(build_gptimg_asset("images", prompts="t.csv"), **given)
    else:
        component(**{name: value})


def ops_part(name: str, value: Any) -> None:
    if name in REQUESTS:
        RequestConfig(**{name: value}).settings()
    else:
        GenerateImagesConfig(**{"prompts": "t.csv", "dataset": "d", name: value}).check()


def notebooks(name: str, value: Any) -> None:
    written = "max_cost" if name == "max_cost_usd" else name
    generate(ROWS, **{"store": "memory://options", "dataset": "d", "progress": False, written: value})


STORES: tuple[Any, ...] = (ImageStoreResource, StoreAttributes)
ASK: dict[str, Callable[[str, Any], object]] = {
    "asset": lambda name, value: build_gptimg_asset("images", prompts=ROWS, **given(name, value)),
    "run": lambda name, value: GenerateConfig(**given(name, value)).check(),
    "op": ops_part,
    "component": components_part,
    "notebook": notebooks,
    "requests": lambda name, value: RequestSettings(**given(name, value)),
    "partitions": lambda name, value: by_date("day", start="2026-01-01", **given(name, value)),
    "checks": lambda name, value: ImageChecks(**given(name, value)),
    "export": lambda name, value: build_export(
        build_gptimg_asset("images", prompts="t.csv"), to="out", **given(name, value)
    ),
    "store": lambda name, value: [face(root="x", **given(name, value)) for face in STORES],
    "sensor": lambda name, value: build_prompt_table_sensor(
        build_gptimg_asset("images", prompts="t.csv"), **given(name, value)
    ),
}
"""How each face is given one option, and what reads it."""


ASKED = [
    (face, name, value)
    for name, values in WRONG.items()
    for value in values
    for face in sorted(OPTIONS[name].faces - {"command line"})
]


@pytest.mark.parametrize(("face", "name", "value"), ASKED)
def test_a_face_refuses_what_is_none_of_an_options_values(face: str, name: str, value: Any) -> None:
    with pytest.raises((UsageError, ValidationError)):
        ASK[face](name, value)


def test_a_face_checks_all_of_its_options_and_misses_none_of_them() -> None:
    values = {"max_cost" if name == "max_cost_usd" else name: OPTIONS[name].default for name in on("notebook")}
    check_face("notebook", values | {"progress": "none of the options"})
    for name in values:
        with pytest.raises(KeyError, match="max_cost" if name == "max_cost" else name):
            check_face("notebook", {other: value for other, value in values.items() if other != name})
    with pytest.raises(UsageError, match="max_cost is nan"):
        check_face("notebook", values | {"max_cost": NAN})


def test_checks_of_another_step_and_run_config_of_schedules_keep_the_rules_too() -> None:
    asset = build_gptimg_asset("images", prompts="t.csv")
    for name, value in (("max_failure_rate", 5), ("sample", -1), ("max_cost_usd", NAN)):
        with pytest.raises(UsageError, match=name):
            build_gptimg_checks(asset, **given(name, value))
    with pytest.raises(UsageError, match="max_in_flight is 0"):
        build_gptimg_schedule(asset, "0 6 * * *", config=GenerateConfig(max_in_flight=0))
    with pytest.raises(UsageError, match="settle is nan"):
        build_prompt_table_sensor(asset, config=GenerateConfig(settle=NAN))


TYPED = {
    "--table-format": [" "], "--prompt-column": [" "], "--id-column": [" "], "--limit": ["0", "1.5"],
    "--again": [" "], "--max-in-flight": ["0", "-3", "1.5"], "--max-cost": ["nan", "-1", "inf", "cheap"],
    "--max-cost-usd": ["nan"], "--watch": ["pol"], "--on-ambiguous": ["buy"], "--settle": ["nan", "-1", "inf"],
    "--patience": ["nan"], "--partition": ["x", "category="], "--priority": ["high"], "--start-timeout": ["1", "nan"],
    "--lifecycle": ["60"], "--image-column": [" "], "--references-from": [" "], "--tag": ["x"], "--header": ["x"],
    "--set": ["x"], "--inputs": ["nowhere"], "--model": ["gpt-image-1-minni"],
}  # fmt: skip


@pytest.mark.parametrize(("flag", "value"), [(flag, value) for flag, values in TYPED.items() for value in values])
def test_the_command_line_refuses_the_same(flag: str, value: str, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("prompt,category\na red cup,cups\n", encoding="utf-8")
    given = ["generate", str(table), "--store", str(tmp_path / "s"), "--dataset", "d", f"{flag}={value}"]
    result = CliRunner().invoke(cli, given, env={"FAL_KEY": "any", "FAL_BASE_URL": "http://127.0.0.1:9"})
    refused = result.exit_code == 2 or isinstance(result.exception, UsageError)
    assert refused, (result.output, result.exception)
    assert not (tmp_path / "s").exists()


def test_a_misspelt_argument_names_the_one_that_is_meant() -> None:
    with pytest.raises(UsageError, match="an image asset has no argument 'max_cost'; did you mean max_cost_usd"):
        build_gptimg_asset("images", prompts=ROWS, max_cost=3)  # type: ignore[call-arg]
    with pytest.raises(UsageError, match="no argument 'templat'; did you mean template"):
        build_gptimg_asset("images", prompts=ROWS, templat="x")  # type: ignore[call-arg]
    with pytest.raises(UsageError, match="no argument 'group'; did you mean group_name"):
        build_gptimg_asset("images", prompts=ROWS, group="x")  # type: ignore[call-arg]
    with pytest.raises(UsageError, match=r"generate\(\) has no argument 'max_cost_usd'; did you mean max_cost\?"):
        generate(ROWS, store="memory://options", dataset="d", max_cost_usd=3)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"no argument 'logs'; there are .*watch") as refused:
        generate(ROWS, store="memory://options", dataset="d", logs=True)  # type: ignore[arg-type]
    assert "unknown" not in str(refused.value), "it is no argument that anybody can give"
    with pytest.raises(UsageError, match="partitions is of the type list: it must be made by by_column"):
        build_gptimg_asset("images", prompts=ROWS, partitions=["bags"])  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="max_in_flight is 0: it must be a whole number, 1 or more"):
        build_gptimg_asset("images", prompts=ROWS, max_in_flight=0)


def test_the_page_of_options_is_the_one_that_its_source_makes() -> None:
    from scripts.options_page import PAGE, page

    assert PAGE.read_text(encoding="utf-8") == page(), "python -m scripts.options_page writes it anew"
