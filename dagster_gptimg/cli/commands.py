"""The commands of `dagster-gptimg`, and their exit status.

Exit statuses are those of `ExitStatus`, which `--help` shows.
Imports are made where they are needed: `--help` answers at once, and Dagster is never imported.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from typing import Any, NoReturn

import click

from dagster_gptimg.base.exit_status import ExitStatus
from dagster_gptimg.base.version import __version__
from dagster_gptimg.cli import click_options as given_as
from dagster_gptimg.cli.dataset_commands import datasets, export, gallery, manifest
from dagster_gptimg.cli.output import say, tell_json
from dagster_gptimg.cli.review import review
from dagster_gptimg.errors import GptImgError, StoreError, TemporaryError, UsageError

INTERRUPT_SECONDS = 9.7
"""Seconds after a signal at which the process ends even if a call hangs (a store in a network that is down)."""


def _interrupt(_number: int, _frame: object) -> NoReturn:
    """End the command orderly, and in any case within 10 s; every receipt is durable once it is written."""
    ending = threading.Timer(INTERRUPT_SECONDS, _end)
    ending.daemon = True
    ending.start()
    raise KeyboardInterrupt


def _end() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(ExitStatus.INTERRUPTED)


def main() -> None:
    """Run the command line, and exit with an `ExitStatus`.

    An error of this package becomes one line on stderr, and `USAGE`, or `UNUSABLE` if it is a `TemporaryError`.
    A signal becomes `INTERRUPTED`.
    """
    # Arrow's own allocator keeps what was freed, and a run may last days on a small worker. Read on its import.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    # A SIGTERM is an interrupt like Ctrl-C: queued requests are cancelled, the others are on record.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)
    try:
        cli(standalone_mode=False)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        usage = f"{context.get_usage()}\nTry '{context.command_path} --help' for help.\n\n" if context else ""
        say(f"{usage}Error: {error.format_message()}")
        sys.exit(ExitStatus.USAGE)
    except TemporaryError as error:
        say(f"error: {error}")
        sys.exit(ExitStatus.UNUSABLE)
    except GptImgError as error:
        _fail(str(error))
    except (KeyboardInterrupt, click.Abort):
        sys.exit(ExitStatus.INTERRUPTED)


def _keep_imports() -> None:
    """Exclude imported modules from garbage collection, which would scan them again every few thousand rows."""
    gc.freeze()


def _repeat_quietly() -> None:
    """Keep stamina from printing retries to stdout, which it does with structlog, a dependency of Dagster."""
    from stamina.instrumentation import set_on_retry_hooks

    set_on_retry_hooks(())


def _fail(message: str) -> NoReturn:
    say(f"error: {message}")
    sys.exit(ExitStatus.USAGE)


class _Commands(click.Group):
    """The commands, whose help ends with the exit statuses."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Add a list of them."""
        super().format_epilog(ctx, formatter)
        with formatter.section("Exit status"):
            about = {int(status): f"{status.meaning}. Money: {status.money}." for status in ExitStatus}
            formatter.write_dl([(str(number), words) for number, words in about.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="dagster-gptimg")
def cli() -> None:
    """Prompt tables become verified, accounted-for images, through fal's queue."""


cli.add_command(review)


@cli.command()
@given_as.table_options
@given_as.request_options
@given_as.run_options
def generate(table: str, store: str, dataset: str, *, as_json: bool, **given: Any) -> None:  # noqa: ANN401
    """Turn TABLE (a file, a folder or a glob at any fsspec URL; `-` for stdin) into images."""
    _generate(table, store, dataset, as_json=as_json, **given)


@cli.command()
@click.argument("regenerate", metavar="ROW...", nargs=-1, required=True)
@click.option("--table", metavar="TABLE", help="The prompt table, as for `generate`.")
@given_as.run_of_rows_options
def regenerate(table: str | None, store: str, dataset: str, *, as_json: bool, **given: Any) -> None:  # noqa: ANN401
    """Run `generate` on TABLE, and buy another take of each ROW, whatever the verdicts; `plan` has the price before."""
    if table is None:
        raise UsageError(
            "regenerate needs the table that the rows are from, with the options that `generate` had: --table TABLE. "
            f"If it is gone, `dagster-gptimg manifest --store URI --dataset {dataset} --format prompts > rows.csv` "
            "makes one of what is on record: --table rows.csv --id-column row_id, without a template or inputs. Let "
            "`plan rows.csv --id-column row_id --regenerate ROW` say first that it buys nothing else. Nothing was sent"
        )
    _generate(table, store, dataset, as_json=as_json, **given)


def _generate(table: str, store: str, dataset: str, *, as_json: bool, **given: Any) -> NoReturn:  # noqa: ANN401
    from dagster_gptimg.cli.progress import RunView
    from dagster_gptimg.engine import operations
    from dagster_gptimg.engine.events import Event, Finished
    from dagster_gptimg.fal.settings import FalSettings
    from dagster_gptimg.prompts import read_rows

    _keep_imports()
    _repeat_quietly()
    settings, target = FalSettings.from_env(), given_as.dataset_of(store, dataset)
    spec = given_as.spec_of(given, store, target, *given_as.model_of(given, target))
    ends: list[Finished] = []
    with RunView(spec=spec, dataset=target) as view:

        def show(event: Event) -> None:
            if isinstance(event, Finished):
                ends.append(event)
            view(event)

        try:
            source, partition = given_as.source_of(table, given), given_as.partition_of(given)[1]
            operations.run(
                read_rows(source, spec),
                spec.model,
                target,
                settings,
                partition=partition,
                options=given_as.options_of(given, spec, source),
                references=spec.references,
                on_event=show,
            )
        except KeyboardInterrupt:
            if not ends:
                raise
    summary = ends[0].summary
    if as_json:
        tell_json(summary.as_json())
    sys.exit(summary.exit_status)


@cli.command()
@given_as.models_options
@given_as.read_options
def plan(table: str, store: str, dataset: str, models: tuple[str, ...], *, as_json: bool, **given: Any) -> None:  # noqa: ANN401
    """Show what `generate` would buy and reuse, and the cost range; needs no key and no network.

    With several --model: the cost of the table with each model, and what that model does not take.
    """
    given["model"] = models[0] if models else None
    if len(set(models)) > 1:
        from dagster_gptimg.cli.model_comparison import compare

        compare(list(dict.fromkeys(models)), table, store, dataset, given, as_json=as_json)
        return
    from dagster_gptimg.engine import operations
    from dagster_gptimg.engine.wording import plan_lines
    from dagster_gptimg.prompts import Move, read_rows

    _keep_imports()
    target, partition = given_as.dataset_of(store, dataset), given_as.partition_of(given)[1]
    model, chosen = given_as.model_of(given, target)
    move = Move(model, operations.former_models(target, partition))
    spec = given_as.spec_of(given, store, target, model, chosen, move)
    source = given_as.source_of(table, given)
    options = given_as.options_of(given, spec, source)
    summary = operations.plan(read_rows(source, spec), spec.model, target, partition=partition, options=options)
    for line in plan_lines(summary, spec):
        say(line)
    if as_json:
        left_behind = [left._asdict() for left in move.not_carried()]
        columns = {"columns": {"inputs": spec.seen.inputs, "carried": spec.seen.carried}}
        about = {"model": model.name, "model_is": chosen or "as given"}
        tell_json(summary.as_json() | about | columns | ({"not_carried": left_behind} if left_behind else {}))


for command in (manifest, datasets, gallery, export):
    cli.add_command(command)


@cli.command()
@given_as.dataset_options
@given_as.model_options
def rebuild(store: str, dataset: str, **given: Any) -> None:  # noqa: ANN401
    """Rebuild the settled index, and missing or unreadable manifests, from receipts. Buys nothing."""
    from dagster_gptimg.engine import operations

    target = given_as.dataset_of(store, dataset)
    found = operations.rebuild(target, given_as.model_of(given, target)[0])
    say(f"{found.keys} requests on record, {found.settled} of them settled: index written")
    for partition in found.manifests:
        say(f"manifest written: {'whole table' if partition is None else partition}")


@cli.command()
@click.argument("rows", metavar="ROW...", nargs=-1, required=True)
@given_as.dataset_options
@click.option("--yes", is_flag=True, help="Erase without a confirmation.")
def forget(rows: tuple[str, ...], store: str, dataset: str, *, yes: bool) -> None:
    """Erase the images, prompts and arguments of rows, after a confirmation. This cannot be undone.

    Cost and hashes stay; the rows are never bought again. With FAL_KEY set (an ADMIN key), fal's own copies are deleted
    as well.
    """
    from dagster_gptimg.cli import maintenance

    _repeat_quietly()
    maintenance.forget(given_as.dataset_of(store, dataset), rows, yes=yes)


@cli.command()
@given_as.dataset_options
@click.option(
    "--left", is_flag=True, help="Also images that are in no image table any more, although they were paid for."
)
@click.option("--delete", is_flag=True, help="Delete the files after a confirmation; without it they are only listed.")
@click.option("--yes", is_flag=True, help="Delete without a confirmation.")
@given_as.json_option
def prune(store: str, dataset: str, *, left: bool, delete: bool, yes: bool, as_json: bool) -> None:
    """List image files without a receipt; with --left, also those of rows that are no longer in the table."""
    from dagster_gptimg.cli import maintenance

    maintenance.prune(given_as.dataset_of(store, dataset), left=left, delete=delete, yes=yes, as_json=as_json)


@cli.command()
@given_as.store_option
@click.option("--dataset", metavar="NAME", help="Only this dataset; all of the store by default.")
@click.option(
    "--by", type=click.Choice(["dataset", "partition", "day", "month", "model"]), default="dataset", show_default=True,
    help="Grouping; days and months are in UTC, by when requests ended.",
)  # fmt: skip
@given_as.json_option
def costs(store: str, dataset: str | None, by: Any, *, as_json: bool) -> None:  # noqa: ANN401
    """Show the total cost of datasets, from all receipts: also of rows that were edited, removed or refused."""
    from dagster_gptimg.cli import maintenance
    from dagster_gptimg.store.root import Store

    maintenance.costs(Store(store), dataset, by, as_json=as_json)


@cli.command()
@given_as.dataset_options
@click.option("--hashes", is_flag=True, help="Read every file, and also compare its hash.")
@click.option("--adopt", metavar="REQUEST_ID", help="Only record that this request at fal belongs to --row.")
@click.option("--row", metavar="ROW", help="For --adopt: the id of a held row, or its request key.")
@given_as.json_option
def verify(store: str, dataset: str, *, hashes: bool, adopt: str | None, row: str | None, as_json: bool) -> None:
    """Compare the stored files with the receipts; fetch missing images again while fal has them. Buys nothing."""
    from dagster_gptimg.cli import maintenance

    _repeat_quietly()
    target = given_as.dataset_of(store, dataset)
    if (adopt is None) != (row is None):
        raise click.UsageError("--adopt and --row go together")
    if adopt is not None and row is not None:
        maintenance.adopt(target, adopt, row)
    else:
        sys.exit(maintenance.verify(target, hashes=hashes, as_json=as_json))


@cli.command()
@click.option("--store", metavar="URI", help="Also check that this store can be used.")
@click.option("--dataset", metavar="NAME", help="Also check that the folders of this dataset are writable.")
@given_as.flag("alone")
@given_as.model_options
def doctor(store: str | None, dataset: str | None, *, alone: bool, **given: Any) -> None:  # noqa: ANN401
    """Check key, network, model, temporary files and store; costs nothing."""
    from dagster_gptimg.cli.doctor import examine

    _repeat_quietly()
    if dataset is not None and store is None:
        _fail("--dataset needs --store: name the store of the dataset")
    target = None if store is None or dataset is None else given_as.dataset_of(store, dataset)
    try:
        model, _ = given_as.model_of(given, target)
    except StoreError:  # the check of the store, which is the last, reports it
        model, _ = given_as.model_of(given, None)
    sys.exit(ExitStatus.COMPLETE if examine(store, dataset, model, alone=alone) else ExitStatus.USAGE)


@cli.command()
@click.option("--store", required=True, metavar="URI", help="The store whose inboxes receive the webhooks.")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, metavar="N",
    help="Port to listen on; 0: any free one.",
)  # fmt: skip
def receive(store: str, host: str, port: int) -> None:
    """Receive fal's webhooks into a store's inboxes; needs no key. Run it behind a proxy that terminates TLS."""
    try:
        from dagster_gptimg.cli import webhook_receiver
    except ImportError as error:
        _fail(f"the receiver needs packages: pip install 'dagster-gptimg[receive]' ({error})")
    from dagster_gptimg.fal.settings import FalUrls
    from dagster_gptimg.store.root import Store

    _repeat_quietly()
    webhook_receiver.serve(Store(store), FalUrls.from_env(), host, port)


@cli.command()
@click.argument("name", metavar="[NAME]", required=False)
@given_as.json_option
def models(name: str | None, *, as_json: bool) -> None:
    """List the models of the registry; of NAME (its endpoint, or FILE.json) the inputs, with ranges and defaults."""
    from dagster_gptimg.cli import model_list

    if name is None:
        model_list.print_models(as_json=as_json)
    else:
        model_list.print_model(given_as.model_of({"model": name, "price": None}, None)[0], as_json=as_json)


@cli.command()
@click.argument("endpoint")
def openapi(endpoint: str) -> None:
    """Print fal's OpenAPI document of ENDPOINT; save it as a file for --model."""
    from dagster_gptimg.fal.http.client import FalClient
    from dagster_gptimg.fal.http.portal import fal_portal
    from dagster_gptimg.fal.settings import FalSettings

    _repeat_quietly()
    with fal_portal(FalSettings.from_env()) as call:
        tell_json(call(FalClient.openapi, endpoint), indent=2)


@cli.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=None,
    metavar="N",
    help="Port; by default the previous one, or a free one.",
)
@click.option("--state", default=".fal-emulator", show_default=True, metavar="DIR", help="Folder of its state.")
@click.option(
    "--latency", type=click.FloatRange(min=0), default=None, metavar="S", help="Seconds that a request takes, +-30 %."
)
@click.option("--slots", type=click.IntRange(min=1), default=None, metavar="N", help="Requests in progress at once.")
@click.option("--fault", "faults", multiple=True, metavar="NAME=RATE", help="A fault, and its rate from 0 to 1.")
@click.option("--seed", type=int, default=None, metavar="N", help="Seed of the random latencies and faults.")
def emulate(port: int | None, state: str, faults: tuple[str, ...], **given: Any) -> None:  # noqa: ANN401
    """Run an emulator of fal on this machine: the same API, with faults and a bill.

    Its images are drawn, not generated.
    """
    try:
        from dagster_gptimg import emulator
    except ImportError as error:
        _fail(f"the emulator needs packages: pip install 'dagster-gptimg[emulator]' ({error})")
    rates = {name: given_as.rate(value) for name, value in (given_as.pair(fault, "--fault") for fault in faults)}
    try:
        settings = emulator.Settings(
            faults=rates, **{name: value for name, value in given.items() if value is not None}
        )
        emulator.serve(state, port, settings)
    except (ValueError, emulator.EmulatorError) as error:
        _fail(str(error))
