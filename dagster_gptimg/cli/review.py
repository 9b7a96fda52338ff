"""The commands of `dagster-gptimg review`: verdicts on images."""

from __future__ import annotations

import getpass
import sys
from typing import TYPE_CHECKING

import click

from dagster_gptimg.base.exit_status import ExitStatus
from dagster_gptimg.base.plain_text import counted
from dagster_gptimg.cli import click_options as given_as
from dagster_gptimg.cli.output import say, tell_json
from dagster_gptimg.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagster_gptimg.engine.maintain.review import NotApplied, Reviewed
    from dagster_gptimg.store.verdicts.verdicts import Kind

    Command = Callable[..., None]

_by = click.option("--by", metavar="NAME", help="The reviewer; by default the name of this system's user.")
_partition = click.option("--partition", metavar="P", help="Only images of this partition; of all by default.")


def _rest(command: Command) -> Command:
    return click.option("--rest", is_flag=True, help="All stored images that have no verdict, instead of rows.")(
        command
    )


def _as_it_is(command: Command) -> Command:
    return command


@click.group()
def review() -> None:
    """Record verdicts on images: approved, rejected, or cleared. Buys nothing; each verdict is kept."""


def _on_rows(name: str, verdict: Kind, about: str) -> None:
    rest_option = _rest if verdict == "approved" else _as_it_is

    @review.command(name, help=about)
    @click.argument("rows", metavar="ROW[:INDEX]...", nargs=-1, required=verdict != "approved")
    @rest_option
    @given_as.dataset_options
    @_partition
    @click.option("--note", metavar="TEXT", help="Why; stands in the image table.")
    @_by
    @given_as.json_option
    def command(
        rows: tuple[str, ...],
        store: str,
        dataset: str,
        *,
        partition: str | None,
        note: str | None,
        by: str | None,
        as_json: bool,
        rest: bool = False,
    ) -> None:
        from dagster_gptimg.engine.maintain.review import review_rest, review_rows

        if rest == bool(rows):
            msg = f"give either the rows to {name}, or --rest for all images without a verdict. Nothing was recorded"
            raise UsageError(msg)
        target = given_as.dataset_of(store, dataset)
        if rest:
            found = review_rest(target, verdict, note, by or _user(), partition)
        else:
            found = review_rows(target, rows, verdict, note, by or _user(), partition)
        _end(found, as_json=as_json)


_on_rows("approve", "approved", "Approve images: all of each ROW, or its one at INDEX, from 0; or all the rest.")
_on_rows("reject", "rejected", "Reject images: all of each ROW, or its one at INDEX, from 0.")
_on_rows("clear", "cleared", "Take back the last verdict on images: all of each ROW, or its one at INDEX, from 0.")


@review.command("import")
@click.argument("file", metavar="FILE.csv")
@given_as.dataset_options
@_partition
@_by
@given_as.json_option
def import_file(file: str, store: str, dataset: str, *, partition: str | None, by: str | None, as_json: bool) -> None:
    """Record the verdicts of FILE.csv, which the gallery's page downloads.

    Its columns: row_id, image_index, sha256, verdict (approved, rejected or cleared), note, and seen, the number of the
    image's last verdict that the page showed. A file with a bad line is refused as a whole. A line about an image that
    has another verdict or was replaced since is told, and not applied. Importing twice changes nothing.
    """
    from dagster_gptimg.engine.maintain.review import review as record
    from dagster_gptimg.engine.maintain.verdict_file import read_verdicts

    target = given_as.dataset_of(store, dataset)
    _end(record(target, read_verdicts(file), by or _user(), partition), as_json=as_json)


@review.command()
@given_as.dataset_options
@_partition
@click.option("--by", metavar="NAME", help="The reviewer of all verdicts; by default each page asks for a name once.")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Address to listen on; others than this machine's own let other machines in.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8190,
    show_default=True,
    metavar="N",
    help="Port to listen on; 0: any free one.",
)
@click.option("--open", "is_opened", is_flag=True, help="Open the page in a browser.")
def serve(
    store: str, dataset: str, *, partition: str | None, by: str | None, host: str, port: int, is_opened: bool
) -> None:  # fmt: skip
    """Serve the gallery on this machine: a verdict is on record as soon as it is given, and others see it.

    Prints an address with a token, which opens the page. Several people, pages and commands may review at once.
    """
    from dagster_gptimg.cli.dataset_output import progress_lines

    try:
        from dagster_gptimg.cli.review_server import process
    except ImportError as error:
        msg = f"the server needs packages: pip install 'dagster-gptimg[review]' ({error})"
        raise UsageError(msg) from error
    target, name = given_as.dataset_of(store, dataset), (by or "").strip() or None
    process.serve(
        target, partition, name, host=host, port=port, is_opened=is_opened, on_progress=progress_lines()
    )  # fmt: skip


def _user() -> str | None:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user may have no name
        return None


def _end(found: Reviewed, *, as_json: bool) -> None:
    """Say what came of it, and exit."""
    for left in found.not_applied:
        say(f"{_where(left)}: not applied ({left.why}): {left.words}")
    parts = [f"{counted(found.recorded, 'verdict')} recorded"]
    parts += [f"{found.unchanged} on record before"] if found.unchanged else []
    parts += [f"{len(found.not_applied)} not applied"] if found.not_applied else []
    say(", ".join(parts))
    if as_json:
        told = [
            {"line": left.given.line or None, "row_id": left.given.row_id, "image_index": left.given.image_index}
            | {"why": left.why}
            for left in found.not_applied
        ]
        tell_json({"recorded": found.recorded, "unchanged": found.unchanged, "not_applied": told})
    sys.exit(ExitStatus.INCOMPLETE if found.not_applied else ExitStatus.COMPLETE)


def _where(left: NotApplied) -> str:
    line = f"line {left.given.line}, " if left.given.line else ""
    return f"{line}row {left.given.row_id!r}, image {left.given.image_index}"
