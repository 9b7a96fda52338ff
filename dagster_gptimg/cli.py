"""The same engine without Dagster: `dagster-gptimg generate`, `plan`, `manifest`, `doctor`, `emulate`.

Exit status: 0 every row has its images; 3 finished, and some rows have not; 4 stopped by the budget; 5 fal or the store
cannot be used; 2 bad usage or a bad table, nothing was sent; 130 interrupted, what is in flight is on record.
Imports are made where they are needed: `--help` answers at once, and Dagster is never imported.
"""

from __future__ import annotations

import json
import signal
import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NoReturn

import click

from dagster_gptimg._version import __version__
from dagster_gptimg.errors import GptImgError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagster_gptimg.batch.job import Options
    from dagster_gptimg.prompts import PromptSpec, Source
    from dagster_gptimg.store.dataset import Dataset

USAGE = 2
INTERRUPTED = 130


class _Dollars(click.ParamType[Decimal]):
    name = "usd"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Decimal:
        try:
            dollars = Decimal(str(value))
        except ArithmeticError:
            self.fail(f"{value!r} is not an amount of US dollars", param, ctx)
        if not dollars.is_finite() or dollars < 0:
            self.fail(f"{value!r} is not an amount of US dollars", param, ctx)
        return dollars


def main() -> None:
    """The command line; errors of this package become one line on stderr and exit status 2."""
    # A SIGTERM is an interrupt like Ctrl-C: what is queued is cancelled, the rest is on record.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        cli(standalone_mode=False)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(USAGE)
    except GptImgError as error:
        _fail(str(error))
    except (KeyboardInterrupt, click.Abort):
        sys.exit(INTERRUPTED)


def _fail(message: str) -> NoReturn:
    click.echo(f"error: {message}", err=True)
    sys.exit(USAGE)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="dagster-gptimg")
def cli() -> None:
    """Prompt tables become verified, accounted-for images, through fal's queue."""


def _dataset_options(command: Callable[..., None]) -> Callable[..., None]:
    command = click.option("--store", required=True, metavar="URI", help="A folder, or any fsspec root (s3://...).")(
        command
    )
    return click.option("--dataset", required=True, metavar="NAME", help="The set of images within the store.")(command)


def _table_options(command: Callable[..., None]) -> Callable[..., None]:
    options = [
        click.argument("table", metavar="TABLE"),
        click.option("--model", default=None, metavar="M", help="A model of the registry."),
        click.option("--set", "settings", multiple=True, metavar="INPUT=VALUE", help="A model input for all rows."),
        click.option("--query", metavar="SQL", help="What to select; TABLE is then a SQLAlchemy URL."),
        click.option("--template", metavar="TEXT", help="A prompt with {column} fields."),
        click.option("--prompt-column", metavar="C", help="The column that holds the prompt."),
        click.option("--id-column", metavar="C", help="The column that holds the row's id."),
        click.option(
            "--image-column", "image_columns", multiple=True, metavar="C", help="A column of reference images."
        ),
        click.option(
            "--references-from",
            multiple=True,
            metavar="URI",
            help="Where rows may name reference images that are files.",
        ),
        click.option("--partition", metavar="COLUMN=VALUE", help="Only the rows with this value, as a partition."),
        click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N rows."),
        click.option("--again", multiple=True, metavar="failed|held|refused|ROW", help="Your word to buy these again."),
        click.option("--json", "as_json", is_flag=True, help="One JSON object as the last line of stdout."),
    ]
    for option in reversed(options):
        command = option(command)
    return _dataset_options(command)


@cli.command()
@_table_options
@click.option(
    "--max-in-flight", type=click.IntRange(min=1), metavar="N", help="Requests at fal at once; found out by default."
)
@click.option("--max-cost", type=_Dollars(), default=None, metavar="USD", help="What this run may spend at most.")
@click.option("--allow-rebuy", is_flag=True, help="Buy again what a changed template, model or default makes anew.")
@click.option("--on-ambiguous", type=click.Choice(["hold", "resubmit"]), default="hold", show_default=True)
@click.option(
    "--settle", type=click.FloatRange(min=0), default=120.0, show_default=True, metavar="S",
    help="Seconds to wait for fal's history to show an ambiguous submit.",
)  # fmt: skip
def generate(table: str, store: str, dataset: str, *, as_json: bool, **given: Any) -> None:  # noqa: ANN401
    """Turn TABLE (.csv .tsv .jsonl .parquet, at any fsspec URL) into images."""
    from dagster_gptimg import session
    from dagster_gptimg.batch.events import Event, Finished
    from dagster_gptimg.console import RunView
    from dagster_gptimg.fal.settings import FalSettings
    from dagster_gptimg.prompts import read_rows

    settings, spec, target = FalSettings.from_env(), _spec(given, store), _dataset(store, dataset)
    ends: list[Finished] = []
    with RunView() as view:

        def show(event: Event) -> None:
            if isinstance(event, Finished):
                ends.append(event)
            view(event)

        try:
            rows, partition = read_rows(_source(table, given), spec), _partition(given)[1]
            session.run(
                rows,
                spec.model,
                target,
                settings,
                partition=partition,
                options=_options(given, spec),
                references=spec.references,
                on_event=show,
            )
        except KeyboardInterrupt:
            if not ends:
                raise
    summary = ends[0].summary
    if as_json:
        click.echo(json.dumps(summary.as_json()))
    sys.exit(summary.exit_status)


@cli.command()
@_table_options
def plan(table: str, store: str, dataset: str, *, as_json: bool, **given: Any) -> None:  # noqa: ANN401
    """Say what `generate` would buy and reuse, and its cost range; needs no key and no network."""
    from dagster_gptimg import session
    from dagster_gptimg.console import forecast
    from dagster_gptimg.prompts import read_rows

    spec, target = _spec(given, store), _dataset(store, dataset)
    partition = _partition(given)[1]
    summary = session.plan(
        read_rows(_source(table, given), spec), spec.model, target, partition=partition, options=_options(given, spec)
    )
    click.echo(forecast(summary), err=True)
    if as_json:
        click.echo(json.dumps(summary.as_json()))


@cli.command()
@_dataset_options
@click.option("--partition", metavar="P", help="One partition; all of them otherwise.")
@click.option(
    "--format", "form", type=click.Choice(["jsonl", "csv", "parquet", "table"]), default="jsonl", show_default=True
)
def manifest(store: str, dataset: str, partition: str | None, form: str) -> None:
    """Print the image table: one record per image, and one per row that has none."""
    from dagster_gptimg.printing import print_manifest

    print_manifest(_dataset(store, dataset), partition, form)


@cli.command()
@_dataset_options
@click.option("--model", default=None, metavar="M", help="A model of the registry.")
def rebuild(store: str, dataset: str, model: str | None) -> None:
    """Write the settled index, and manifests that are missing or broken, anew from receipts. Buys nothing."""
    from dagster_gptimg import session
    from dagster_gptimg.fal.models import DEFAULT_MODEL, get_model

    found = session.rebuild(_dataset(store, dataset), get_model(model or DEFAULT_MODEL))
    click.echo(f"{found.keys} requests on record, {found.settled} of them settled: index written", err=True)
    for partition in found.manifests:
        click.echo(f"manifest written: {'the whole table' if partition is None else partition}", err=True)


@cli.command()
@click.argument("rows", metavar="ROW...", nargs=-1, required=True)
@_dataset_options
def forget(rows: tuple[str, ...], store: str, dataset: str) -> None:
    """Erase the images, prompts and arguments of rows. Cost and hashes stay; they are never bought again.

    With FAL_KEY set (an ADMIN key), fal's own copies are deleted as well.
    """
    from dagster_gptimg import session

    for line in session.forget(_dataset(store, dataset), rows):
        click.echo(line, err=True)


@cli.command()
@_dataset_options
@click.option("--delete", is_flag=True, help="Delete them; without it they are only named.")
def prune(store: str, dataset: str, *, delete: bool) -> None:
    """Name the images that no manifest names: those of rows that have left the table. They were paid for."""
    from dagster_gptimg.care import unnamed_images

    target = _dataset(store, dataset)
    for path in (found := unnamed_images(target)):
        click.echo(target.uri(path))
        if delete:
            target.store.delete(f"{target.folder}/{path}")
    click.echo(f"{len(found)} images that no manifest names{', deleted' if delete else ''}", err=True)


@cli.command()
@click.option("--store", metavar="URI", help="Also check that a store can be used.")
@click.option("--model", default=None, metavar="M", help="A model of the registry.")
def doctor(store: str | None, model: str | None) -> None:
    """Check key, network, model and store; costs nothing."""
    from dagster_gptimg.doctor import examine

    sys.exit(0 if examine(store, model) else USAGE)


@cli.command()
@click.option(
    "--port", type=click.IntRange(0, 65535), default=None, metavar="N", help="The port of last time, or a free one."
)
@click.option("--state", default=".fal-emulator", show_default=True, metavar="DIR", help="Where its state is kept.")
@click.option(
    "--latency", type=click.FloatRange(min=0), default=None, metavar="S", help="Seconds a request takes, +-30 %."
)
@click.option("--slots", type=click.IntRange(min=1), default=None, metavar="N", help="Requests in progress at once.")
@click.option("--fault", "faults", multiple=True, metavar="NAME=RATE", help="A fault, and how often it strikes.")
@click.option("--seed", type=int, default=None, metavar="N", help="The same seed draws the same latencies and faults.")
def emulate(port: int | None, state: str, faults: tuple[str, ...], **given: Any) -> None:  # noqa: ANN401
    """Run fal on this machine: the same wire, with faults and a bill. Its pictures are drawn, not generated."""
    try:
        from dagster_gptimg import emulator
    except ImportError as error:
        _fail(f"the emulator needs more packages: pip install 'dagster-gptimg[emulator]' ({error})")
    rates = {name: _rate(value) for name, value in (_pair(fault, "--fault") for fault in faults)}
    try:
        settings = emulator.Settings(
            faults=rates, **{name: value for name, value in given.items() if value is not None}
        )
        emulator.serve(state, port, settings)
    except (ValueError, emulator.EmulatorError) as error:
        _fail(str(error))


# -- from options to values


def _spec(given: dict[str, Any], store: str) -> PromptSpec:
    from dagster_gptimg.fal.models import DEFAULT_MODEL, get_model
    from dagster_gptimg.prompts import PromptSpec, ReferenceRoot, References

    roots = [ReferenceRoot(uri) for uri in (*given["references_from"], store)]
    return PromptSpec(
        model=get_model(given["model"] or DEFAULT_MODEL),
        prompt_column=given["prompt_column"],
        template=given["template"],
        id_column=given["id_column"],
        arguments=dict(_pair(text, "--set") for text in given["settings"]),
        where=_partition(given)[0],
        limit=given["limit"],
        image_columns=given["image_columns"],
        references=References(roots),
    )


def _source(table: str, given: dict[str, Any]) -> Source:
    from dagster_gptimg.prompts import SqlTable

    return table if given["query"] is None else SqlTable(table, given["query"])


def _options(given: dict[str, Any], spec: PromptSpec) -> Options:
    from dagster_gptimg.batch.job import Options

    names = ("max_in_flight", "max_cost", "on_ambiguous", "settle", "allow_rebuy")
    return Options(
        again=frozenset(given["again"]),
        recipe=spec.recipe,
        **{name: given[name] for name in names if name in given},
    )


def _partition(given: dict[str, Any]) -> tuple[tuple[str, str] | None, str | None]:
    if given["partition"] is None:
        return None, None
    column, value = _pair(given["partition"], "--partition")
    return (column, value), value


def _pair(text: str, option: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise click.UsageError(f"{option} wants NAME=VALUE, not {text!r}")
    return name, value


def _rate(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise click.UsageError(f"--fault wants a rate from 0 to 1, not {text!r}") from error


def _dataset(store: str, name: str) -> Dataset:
    from dagster_gptimg.store.dataset import Dataset
    from dagster_gptimg.store.root import Store

    return Dataset(Store(store), name)


if __name__ == "__main__":
    main()
