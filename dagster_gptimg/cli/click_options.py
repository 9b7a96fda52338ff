"""The options that commands have in groups, and their conversion to values."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click

from dagster_gptimg.base.masking import harmless, hide_in
from dagster_gptimg.errors import UsageError
from dagster_gptimg.options import OPTIONS, WATCHES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dagster_gptimg.engine.job import Options
    from dagster_gptimg.fal.registry.model import FalModel
    from dagster_gptimg.fal.request_settings import RequestSettings
    from dagster_gptimg.prompts import Move, PromptSpec, Source
    from dagster_gptimg.store.dataset import Dataset

    Command = Callable[..., None]


MODEL_BYTES = 8 * 1024 * 1024
"""Maximum bytes of a model's OpenAPI document; fal's have up to 100 KB."""


class Dollars(click.ParamType[Decimal]):
    """An amount of US dollars."""

    name = "usd"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Decimal:
        """Convert a text to the exact amount."""
        try:
            dollars = Decimal(str(value))
        except ArithmeticError:
            self.fail(f"{value!r} is not an amount of US dollars", param, ctx)
        if not dollars.is_finite() or dollars < 0:
            self.fail(f"{value!r} is not an amount of US dollars", param, ctx)
        return dollars


def given(name: str, *flags: str, metavar: str, **more: Any) -> Callable[[Command], Command]:  # noqa: ANN401 - click's
    """Make a command-line option from one of `dagster_gptimg.options`, with its help, default and rule.

    Args:
        name: of the option.
        flags: the flags and the parameter's name; `--some-name` by default.
        metavar: placeholder for the value in the help.
        more: further arguments of `click.option`.
    """
    option = OPTIONS[name]

    def keep(_: click.Context, __: click.Parameter, value: Any) -> Any:  # noqa: ANN401 - click's
        if (wrong := option.rule.wrong(value)) is not None:
            raise click.BadParameter(wrong.removeprefix("is "))
        return value

    shown = {"default": option.default, "show_default": True} if isinstance(option.default, int | float | str) else {}
    named = flags or (f"--{name.replace('_', '-')}",)
    return click.option(*named, metavar=metavar, help=option.description, callback=keep, **(shown | more))


def flag(name: str) -> Callable[[Command], Command]:
    """Make a command-line flag from a boolean option of `dagster_gptimg.options`."""
    return click.option(f"--{name.replace('_', '-')}", is_flag=True, help=OPTIONS[name].description)


def _together(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object as the last line of stdout.")
store_option = click.option(
    "--store", required=True, metavar="URI", help="A folder (also a mounted one), s3://..., gs://... or abfs://..."
)
dataset_options = _together(
    click.option("--dataset", required=True, metavar="NAME", help="The dataset: a named set of images in the store."),
    store_option,
)
model_options = _together(
    click.option("--model", metavar="M", help="A model of the registry, or FILE.json: an OpenAPI document."),
    click.option("--price", type=Dollars(), metavar="USD", help="Price of one image, for a model from a file."),
)
models_options = _together(
    click.option(
        "--model",
        "models",
        multiple=True,
        metavar="M",
        help="A model of the registry, or FILE.json: an OpenAPI document. Several are compared side by side.",
    ),
    click.option("--price", type=Dollars(), metavar="USD", help="Price of one image, for a model from a file."),
)
_read_options = _together(
    dataset_options,
    click.option("--set", "settings", multiple=True, metavar="INPUT=VALUE", help=OPTIONS["arguments"].description),
    click.option("--inputs", multiple=True, metavar="COLUMN,...|none", help=OPTIONS["inputs"].description),
    given("table_format", metavar="F"),
    click.option("--query", metavar="SQL", help="A SQL query for the rows; TABLE is then a SQLAlchemy URL."),
    given("template", metavar="TEXT"),
    given("prompt_column", metavar="C"),
    given("id_column", metavar="C"),
    given("image_columns", "--image-column", "image_columns", multiple=True, metavar="C"),
    given("references_from", multiple=True, metavar="URI"),
    click.option("--partition", metavar="COLUMN=VALUE", help=OPTIONS["partition"].description),
    given("limit", type=int, metavar="N"),
    given("again", multiple=True, metavar="failed|held|refused|lost|missing|rejected|ROW"),
    flag("without_guarantee"),
    json_option,
)
read_options = _together(
    click.argument("table", metavar="TABLE"),
    _read_options,
    given("regenerate", multiple=True, metavar="ROW"),
)
table_options = _together(model_options, read_options)
run_options = _together(
    given("max_in_flight", type=int, metavar="N"),
    given("max_cost_usd", "--max-cost", "--max-cost-usd", "max_cost", type=Dollars(), metavar="USD"),
    given("watch", metavar="|".join(WATCHES)),
    given("webhook_url", metavar="URL", show_default=False),
    flag("logs"),
    flag("allow_rebuy"),
    flag("alone"),
    given("on_ambiguous", metavar="hold|resubmit"),
    given("settle", type=float, metavar="S"),
    given("patience", type=float, metavar="S"),
)
request_options = _together(
    given("priority", metavar="normal|low"),
    given("start_timeout", type=float, metavar="S"),
    click.option("--tag", "tags", multiple=True, metavar="NAME=VALUE", help=OPTIONS["tags"].description),
    given("lifecycle", type=int, metavar="S"),
    click.option("--header", "headers", multiple=True, metavar="NAME=VALUE", help=OPTIONS["headers"].description),
)

run_of_rows_options = _together(model_options, _read_options, request_options, run_options)


def spec_of(
    given: dict[str, Any], store: str, dataset: Dataset, model: FalModel, chosen: str, move: Move | None = None
) -> PromptSpec:
    """How the table becomes prompts. Raises `UsageError`, `StoreError`."""
    from dagster_gptimg.prompts import PromptSpec, ReferenceRoot, References
    from dagster_gptimg.store.manifest import has_manifest

    roots = [ReferenceRoot(uri) for uri in (*given["references_from"], store)]
    where, partition = partition_of(given)
    return PromptSpec(
        model=model,
        prompt_column=given["prompt_column"],
        template=given["template"],
        id_column=given["id_column"],
        arguments=dict(pair(text, "--set") for text in given["settings"]),
        inputs=_inputs(given["inputs"]),
        where=where,
        is_first=partition is not None and not has_manifest(dataset, partition),
        limit=given["limit"],
        image_columns=given["image_columns"],
        references=References(roots),
        move=move,
        without_guarantee=given["without_guarantee"],
        chosen=chosen,
    )


def model_of(given: dict[str, Any], dataset: Dataset | None) -> tuple[FalModel, str]:
    """Return the model (of the registry, from a file, the dataset's, or the default), and why it was chosen by default.

    Raises:
        UsageError: the model is not known, or its file is not valid.
        StoreError: the dataset's model cannot be read.
    """
    from dagster_gptimg.engine.plan.model_choice import choose
    from dagster_gptimg.fal.registry.model import FalModel
    from dagster_gptimg.fal.registry.price_formulas import per_image, unknown_price

    name, price = given["model"], given["price"]
    if name is not None and name.endswith(".json"):
        return FalModel.from_openapi(_text(name), price=unknown_price if price is None else per_image(price)), ""
    if price is not None:
        raise UsageError("--price is only for a model from a file: the registry has the prices of its models")
    return choose(name, dataset)


def _text(url: str) -> str:
    import fsspec

    hide_in(url)
    try:
        with fsspec.open(url, "r", encoding="utf-8") as file:
            return str(file.read(MODEL_BYTES))
    except Exception as error:  # noqa: BLE001 - each file system has errors of its own
        msg = f"{url} cannot be read: {error}. `dagster-gptimg openapi ENDPOINT` prints the content for this file"
        raise UsageError(msg) from harmless(error)


def _inputs(given: Sequence[str]) -> Sequence[str] | str | None:
    """Return the columns of `--inputs a,b --inputs c`; None if the option is not given."""
    from dagster_gptimg.prompts.spec import NONE

    columns = [name.strip() for text in given for name in text.split(",") if name.strip()]
    return columns[0] if [name.lower() for name in columns] == [NONE] else columns or None


def source_of(table: str, given: dict[str, Any]) -> Source:
    """Return the table: a URL, standard input, or a query. Raises `UsageError`."""
    from dagster_gptimg.prompts import SqlTable, TableFile, with_format
    from dagster_gptimg.prompts.readers.formats import STDIN

    table_format = given["table_format"]
    if given["query"] is None:
        return TableFile(table, table_format, is_stdin=True) if table == STDIN else with_format(table, table_format)
    return with_format(SqlTable(table, given["query"]), table_format)


def options_of(given: dict[str, Any], spec: PromptSpec, source: Source) -> Options:
    """Return the options of the run. Raises `UsageError`."""
    from dagster_gptimg.engine.job import Options
    from dagster_gptimg.prompts import known_as

    names = (
        "max_in_flight",
        "max_cost",
        "on_ambiguous",
        "settle",
        "patience",
        "allow_rebuy",
        "alone",
        "watch",
        "webhook_url",
        "logs",
    )
    return Options(
        again=frozenset(given["again"]),
        regenerate=frozenset(given["regenerate"]),
        is_model_chosen=bool(spec.chosen),
        recipe=spec.recipe,
        table=known_as(source),
        is_limited=spec.limit is not None,
        request=_request_of(given),
        **{name: given[name] for name in names if name in given},
    )


def _request_of(given: dict[str, Any]) -> RequestSettings:
    from dagster_gptimg.fal.request_settings import RequestSettings

    return RequestSettings(
        priority=given.get("priority"),
        start_timeout=given.get("start_timeout"),
        tags=dict(pair(text, "--tag") for text in given.get("tags", ())),
        lifecycle=given.get("lifecycle"),
        headers=dict(pair(text, "--header") for text in given.get("headers", ())),
        without_guarantee=given["without_guarantee"],
    )


def partition_of(given: dict[str, Any]) -> tuple[tuple[str, str] | None, str | None]:
    """Return the filter of the rows that are read (column, value), and the partition's key.

    None without `--partition`.
    """
    if given["partition"] is None:
        return None, None
    column, value = pair(given["partition"], "--partition")
    return (column, value), value


def pair(text: str, option: str) -> tuple[str, str]:
    """Split `NAME=VALUE`."""
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise click.UsageError(f"{option} must be NAME=VALUE, not {text!r}")
    return name, value


def rate(text: str) -> float:
    """Convert the rate of a fault to a number."""
    try:
        return float(text)
    except ValueError as error:
        raise click.UsageError(f"--fault needs a rate from 0 to 1, not {text!r}") from error


def dataset_of(store: str, name: str) -> Dataset:
    """Return the dataset; nothing is read or written yet. Raises `UsageError`."""
    from dagster_gptimg.store.dataset import Dataset
    from dagster_gptimg.store.root import Store

    return Dataset(Store(store), name)
