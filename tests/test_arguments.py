"""Whatever is given to a public function is taken, or refused by this package's own error, which names it."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster_shared.check.functions import CheckError

from dagster_gptimg import (
    FalModel,
    FalSettings,
    ImageChecks,
    RequestSettings,
    SqlTable,
    TableFile,
    UsageError,
    build_approved_images,
    build_export,
    build_gallery,
    build_gptimg_asset,
    build_gptimg_checks,
    build_gptimg_schedule,
    build_prompt_table,
    build_prompt_table_sensor,
    build_review_sensor,
    by_column,
    by_date,
    by_dimensions,
    by_dynamic,
    by_hash,
    generate,
    get_model,
    gptimg_asset,
    open_dataset,
    per_image,
    register,
    unknown_price,
)
from dagster_gptimg.argument_rules import ARGUMENTS, check_arguments
from dagster_gptimg.errors import GptImgError
from tests import galleries

ROWS = [{"prompt": "a red cup"}]
ODD: list[Any] = [None, 3, 2.5, True, "x", [], {}, {1: 2}, object()]
DAGSTERS = (CheckError, dg.DagsterInvalidDefinitionError)
"""What Dagster says of arguments that are passed on to it."""


def decorated(**given: Any) -> dg.AssetsDefinition:
    def table() -> list[dict[str, str]]:
        return ROWS

    return gptimg_asset(**given)(table)


def an_asset() -> dg.AssetsDefinition:
    return build_gptimg_asset("images", prompts=ROWS)


def a_store() -> str:
    galleries.write(galleries.dataset_in("memory://opened"), [galleries.Row("a", "a cup", status="held")])
    return "memory://opened"


PASSED_ON = ("key", "key_prefix", "group_name", "metadata", "check_specs", "deps", "required_resource_keys", "owners")
OF_ASSETS = (*list(inspect.signature(gptimg_asset).parameters)[:-1], *PASSED_ON)
SOME_MODEL = get_model("gpt-image-2")
FUNCTIONS: Mapping[str, tuple[Callable[..., object], Callable[[], dict[str, Any]], tuple[str, ...]]] = {
    "generate": (
        generate,
        lambda: {"prompts": ROWS, "store": "memory://arguments", "dataset": "d", "plan_only": True, "progress": False},
        tuple(name for name in inspect.signature(generate).parameters if name not in {"plan_only", "unknown"}),
    ),
    "gptimg_asset": (decorated, dict, OF_ASSETS),
    "build_gptimg_asset": (
        build_gptimg_asset,
        lambda: {"name": "images", "prompts": ROWS},
        ("name", "prompts", *OF_ASSETS),
    ),
    "build_export": (build_export, lambda: {"asset": an_asset(), "to": "out"}, ()),
    "build_gallery": (build_gallery, lambda: {"asset": an_asset()}, ()),
    "build_approved_images": (build_approved_images, lambda: {"asset": an_asset()}, ()),
    "build_review_sensor": (build_review_sensor, lambda: {"asset": build_approved_images(an_asset())}, ()),
    "open_dataset": (open_dataset, lambda: {"store": a_store(), "dataset": "d"}, ()),
    "build_gptimg_checks": (build_gptimg_checks, lambda: {"asset": an_asset()}, ()),
    "build_gptimg_schedule": (
        build_gptimg_schedule,
        lambda: {"asset": an_asset(), "cron_schedule": "0 6 * * *"},
        (),
    ),
    "build_prompt_table_sensor": (
        build_prompt_table_sensor,
        lambda: {"asset": an_asset(), "table": "t.csv"},
        (),
    ),
    "build_prompt_table": (build_prompt_table, lambda: {"key": "table", "table": "t.csv"}, ()),
    "by_column": (by_column, lambda: {"column": "c", "keys": ["a"]}, ()),
    "by_hash": (by_hash, lambda: {"column": "c", "buckets": 3}, ()),
    "by_date": (by_date, lambda: {"column": "c", "start": "2026-01-01"}, ()),
    "by_dynamic": (by_dynamic, lambda: {"column": "c", "name": "n"}, ()),
    "by_dimensions": (by_dimensions, lambda: {"a": by_column("c", ["a"]), "b": by_hash("c", 2)}, ("a", "b")),
    "get_model": (get_model, lambda: {"name": "gpt-image-2"}, ()),
    "register": (register, lambda: {"model": SOME_MODEL}, ()),
    "per_image": (per_image, lambda: {"low": "0.03"}, ()),
    "RequestSettings": (RequestSettings, dict, ()),
    "FalSettings": (FalSettings, lambda: {"key": "a:b"}, ()),
    "ImageChecks": (ImageChecks, dict, ()),
    "SqlTable": (SqlTable, lambda: {"url": "sqlite://", "query": "SELECT 1"}, ()),
    "TableFile": (TableFile, lambda: {"url": "t.csv"}, ()),
    "FalModel": (
        FalModel,
        lambda: (
            {"name": "n", "endpoint": "e/n", "inputs": SOME_MODEL.inputs, "key_defaults": {}} | {"price": unknown_price}
        ),
        (),
    ),
}
"""Each function, arguments that it takes, and the names to give odd values to; all of its own by default."""


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    assert list(tmp_path.rglob("receipts")) == [], "nothing is sent"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_odd_argument_is_taken_or_refused_in_words(name: str) -> None:
    function, taken, names = FUNCTIONS[name]
    function(**taken())
    for argument in names or tuple(inspect.signature(function).parameters):
        for value in ODD:
            try:
                function(**taken() | {argument: value})
            except GptImgError:
                pass
            except DAGSTERS:
                assert name.startswith(("gptimg_", "build_")) or argument == "end_offset", (argument, value)
            except Exception as error:
                error.add_note(f"{name}({argument}={value!r})")
                raise


REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: generate(ROWS, store="memory://a", dataset="d", model=3),  # type: ignore[arg-type]
     r"model is of the type int: it must be the name of a model or made by FalModel\(\.\.\.\)"),
    (lambda: build_gptimg_asset("a", prompts=ROWS, model=3),  # type: ignore[arg-type]
     r"model is of the type int: it must be the name of a model or made by FalModel\(\.\.\.\)"),
    (lambda: generate(ROWS, store="memory://a", dataset="d", request="x"),  # type: ignore[arg-type]
     r"request is of the type str: it must be made by RequestSettings\(\.\.\.\)"),
    (lambda: generate(ROWS, store="memory://a", dataset="d", request={}),  # type: ignore[arg-type]
     "request is of the type dict"),
    (lambda: build_gptimg_asset("a", prompts=ROWS, request="x"),  # type: ignore[arg-type]
     r"request is of the type str: it must be made by RequestSettings\(\.\.\.\)"),
    (lambda: generate(ROWS, store="memory://a", dataset="d", arguments={1: 2}),  # type: ignore[dict-item]
     r"arguments is of the type dict: it must be a mapping of names \(texts\) to values"),
    (lambda: by_hash("id", "3"), "buckets is '3': it must be a whole number from 1 to 100000"),  # type: ignore[arg-type]
    (lambda: by_hash("id", 2.5), "buckets is 2.5"),  # type: ignore[arg-type]
    (lambda: by_hash("id", buckets=True), "buckets is True"),
    (lambda: by_column("c", None), "keys is None: it must be a list of texts, or the path"),  # type: ignore[arg-type]
    (lambda: by_column("c", 3), "keys is 3"),  # type: ignore[arg-type]
    (lambda: by_date("c", start=3), "start is 3: it must be a date, or an ISO 8601 text"),  # type: ignore[arg-type]
    (lambda: by_dimensions(a=by_column("c", ["a"]), b="c"), "partitions: b is of the type str"),  # type: ignore[arg-type]
    (lambda: RequestSettings(tags={"team": 3}), "tags is of the type dict: .* names to texts"),  # type: ignore[dict-item]
    (lambda: ImageChecks(severity={"rows_settled": "WARN"}), "severity is .* to dg.AssetCheckSeverity"),  # type: ignore[dict-item]
    (lambda: build_gptimg_checks("images"), "str, as it was given, is not an image asset"),  # type: ignore[arg-type]
    (lambda: build_gptimg_asset("a", prompts=3), "int is not a table: give a URL"),  # type: ignore[arg-type]
    (lambda: per_image("0.05", "0.03"), "low is 0.05 and high is 0.03"),
    (lambda: per_image("cheap"), "low is 'cheap': it must be an amount of US dollars"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "words"), REFUSED, ids=[words[:30] for _, words in REFUSED])
def test_what_is_refused_is_named_with_what_it_must_be(call: Callable[[], object], words: str) -> None:
    with pytest.raises(GptImgError, match=words):
        call()


def test_a_value_that_may_hold_a_secret_is_not_shown() -> None:
    for name in ("store", "settings", "url", "path", "key"):
        with pytest.raises(UsageError) as refused:
            check_arguments(**{name: ["a secret"]})
        assert "a secret" not in str(refused.value), name


def test_each_rule_takes_what_it_names() -> None:
    check_arguments(
        start=date(2026, 1, 1), end=None, buckets=100_000, low=0.03, high="Infinity", tags={"a": "b"}, deps="upstream",
        severity={"rows_settled": dg.AssetCheckSeverity.WARN}, model=SOME_MODEL, store=Path("s"), url={"env": "URL"},
    )  # fmt: skip
    for name in ARGUMENTS:
        with pytest.raises(UsageError, match=f"^{name} is "):
            check_arguments(**{name: object()})


def test_an_asset_takes_none_where_dagster_does() -> None:
    made = build_gptimg_asset("images", prompts=ROWS, key=None, key_prefix=None, metadata=None, deps=None)
    assert made.key == dg.AssetKey("images")
