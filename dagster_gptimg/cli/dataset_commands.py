"""The commands that show and hand on what a store has: datasets, image tables, galleries and exports."""

from __future__ import annotations

import sys
from typing import Any

import click

from dagster_gptimg.base.row_status import RowStatus
from dagster_gptimg.cli import click_options as given_as
from dagster_gptimg.options import LAYOUTS


@click.command()
@given_as.dataset_options
@click.option("--partition", metavar="P", help="Only this partition; all by default.")
@click.option(
    "--status", "statuses", multiple=True, type=click.Choice([str(status) for status in RowStatus]), metavar="S",
    help="Only records of this status (refused, held, ...); may be repeated.",
)  # fmt: skip
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "csv", "parquet", "table", "prompts"]),
    default="jsonl",
    show_default=True,
    help="Format of the output; `table` is for people, `prompts` a prompt table (CSV) to edit and to generate from.",
)
@click.option("--all-takes", is_flag=True, help="Also the other takes of rows, behind the current ones.")
def manifest(
    store: str, dataset: str, partition: str | None, statuses: tuple[str, ...], form: str, *, all_takes: bool
) -> None:
    """Print the image table: one record per image, and one per row that has none."""
    from dagster_gptimg.cli.manifest_output import print_manifest

    print_manifest(given_as.dataset_of(store, dataset), partition, form, statuses, all_takes=all_takes)


@click.command()
@given_as.store_option
@given_as.json_option
def datasets(store: str, *, as_json: bool) -> None:
    """List the datasets of a store: rows, images, bytes, dollars, the last run, and what is held or lost."""
    from dagster_gptimg.cli.dataset_output import print_datasets
    from dagster_gptimg.store.root import Store

    print_datasets(Store(store), as_json=as_json)


@click.command()
@given_as.dataset_options
@click.option("--partition", metavar="P", help="Only this partition; all by default.")
@click.option("--to", metavar="URI", help="Folder for a gallery with copies of all images; any fsspec root.")
@given_as.json_option
def gallery(store: str, dataset: str, partition: str | None, to: str | None, *, as_json: bool) -> None:
    """Write a gallery: static files that a browser opens, to look at all images, compare them and choose.

    Without --to it lies beside the dataset and refers to its images; with --to the folder has copies of them, and can
    be moved, sent and published as a whole. Buys nothing, and needs no key.
    """
    from dagster_gptimg.cli.dataset_output import print_gallery

    print_gallery(given_as.dataset_of(store, dataset), partition, to, as_json=as_json)


@click.command()
@given_as.dataset_options
@click.option("--partition", metavar="P", help="Only this partition; all by default.")
@click.option("--to", required=True, metavar="URI", help="Folder of the export; any fsspec root.")
@given_as.given("layout", metavar="|".join(LAYOUTS))
@given_as.given("file_names", "--name", "file_names", metavar="TEMPLATE")
@given_as.given("only", metavar="stored|approved")
@given_as.given("links", type=int, metavar="SECONDS")
@given_as.given("shard_mb", type=int, metavar="MB")
@given_as.json_option
def export(store: str, dataset: str, partition: str | None, to: str, *, as_json: bool, **given: Any) -> None:  # noqa: ANN401
    """Write the images as files that other programs open, with your own columns beside them. Buys nothing.

    Original bytes, each compared with its hash. The same command again copies what is new, removes what has left, and
    goes on with what was stopped. All names are checked before anything is written.
    """
    from dagster_gptimg.cli.export_output import print_export
    from dagster_gptimg.engine.export.options import ExportOptions

    sys.exit(print_export(given_as.dataset_of(store, dataset), partition, to, ExportOptions(**given), as_json=as_json))
