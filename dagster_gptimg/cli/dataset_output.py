"""Output of the commands that show a store's datasets and write galleries."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from dagster_gptimg.base.plain_text import counted, plain
from dagster_gptimg.base.row_status import RowStatus
from dagster_gptimg.cli.output import say, tell, tell_json
from dagster_gptimg.engine import operations
from dagster_gptimg.engine.maintain.costs import dollars
from dagster_gptimg.engine.maintain.dataset_overview import overview_of
from dagster_gptimg.store.dataset_list import datasets_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagster_gptimg.engine.gallery.build import Gallery
    from dagster_gptimg.engine.maintain.dataset_overview import Overview
    from dagster_gptimg.store.dataset import Dataset
    from dagster_gptimg.store.root import Store

PROGRESS_SECONDS = 5.0
"""Seconds between two lines about a gallery that is being written."""

_TITLES = ("dataset", "origin", "rows", "images", "MB", "billed US$", "last run (UTC)", "rows without images")
_NUMBERS = {"rows", "images", "MB", "billed US$"}


def print_datasets(store: Store, *, as_json: bool) -> None:
    """Print a line for each dataset of a store.

    Raises:
        UsageError: there are more folders than a store has.
        StoreError: the store cannot be used.
    """
    found = [overview_of(dataset) for dataset in datasets_in(store)]
    if as_json:
        tell_json({"datasets": [overview.as_json() for overview in found]})
        return
    if not found:
        say("there is no dataset in this store")
        return
    lines = [_TITLES, *map(_line, found)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = zip(_TITLES, line, widths, strict=True)
        tell("  ".join(f"{cell:{'>' if title in _NUMBERS else '<'}{width}}" for title, cell, width in cells).rstrip())


def _line(found: Overview) -> tuple[str, ...]:
    counts = [(status, found.without_images[status]) for status in RowStatus]
    without = ", ".join(f"{count} {status.words}" for status, count in counts if count)
    more = f" + up to {dollars(found.estimated_usd)}" if found.estimated_usd else ""
    more += f" + {found.unknown} unknown" if found.unknown else ""
    return (
        plain(found.name),
        plain((found.origin or "").partition(":")[0]),
        str(found.rows),
        str(found.images),
        f"{found.bytes / 1e6:.1f}",
        f"{dollars(found.billed_usd)}{more}",
        "-" if found.last_run is None else f"{found.last_run:%Y-%m-%d %H:%M}",
        without or "-",
    )


def print_gallery(dataset: Dataset, partition: str | None, to: str | None, *, as_json: bool) -> None:
    """Write a gallery, and print where it is.

    Raises:
        UsageError: there is no image table, or `to` cannot be used.
        StoreError: the store cannot be used.
    """
    found = operations.gallery(dataset, partition, to, progress_lines())
    for line in gallery_lines(found):
        say(line)
    tell(found.path or found.uri)
    if as_json:
        tell_json(
            {
                "uri": found.uri,
                "path": found.path,
                "records": found.records,
                "images": found.images,
                "thumbnails_made": found.thumbnails_made,
                "without_thumbnail": found.without_thumbnail,
                "originals": "copied" if found.are_originals_copied else "linked",
            }
        )


def progress_lines() -> Callable[[int, int], None]:
    """Return a function that says now and then how many records of a gallery are written, of how many."""
    told = time.monotonic()

    def progress(done: int, of: int) -> None:
        nonlocal told
        if time.monotonic() - told > PROGRESS_SECONDS:
            told = time.monotonic()
            say(f"{done:,} of {of:,} records")

    return progress


def gallery_lines(found: Gallery) -> list[str]:
    """Return what a gallery has, in sentences for people."""
    images = "copied into the gallery" if found.are_originals_copied else "linked: a gallery needs its dataset's folder"
    counts = f"{counted(found.records, 'record')}, {counted(found.images, 'image')}"
    lines = [f"{counts}; {counted(found.thumbnails_made, 'thumbnail')} made; originals are {images}"]
    if found.without_thumbnail:
        lines.append(
            f"{counted(found.without_thumbnail, 'image')} without a thumbnail: the file is gone, changed, or of a kind "
            "that is not decoded here (`dagster-gptimg verify` compares files with receipts)"
        )
    return lines
