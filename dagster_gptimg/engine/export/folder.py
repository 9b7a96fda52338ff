"""The layout `folder`: images under names that people can read, and `images.csv` with their columns."""

from __future__ import annotations

import csv
import io
from typing import IO, TYPE_CHECKING

from dagster_gptimg.engine.export.columns import csv_cell
from dagster_gptimg.engine.export.files import Files

if TYPE_CHECKING:
    from dagster_gptimg.engine.export.job import ExportJob

TABLE = "images.csv"
PREFIX = ""
OWN_FILES = (TABLE,)


def is_taken(_name: str) -> bool:
    """Return whether the layout needs a column's name for itself."""
    return False


def write(job: ExportJob) -> None:
    """Write the export. Raises `StoreError`, `UsageError`, `TemporaryError`."""
    Files(job, TABLE, write_csv).write()


def write_csv(job: ExportJob, file: IO[bytes]) -> None:
    """Write the table of all images that are in an export as CSV, in UTF-8, with a line of names first."""
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text)
    writer.writerow(column.name for column in job.columns.columns)
    for item in job.plan.items("is_failed = 0"):
        writer.writerow(map(csv_cell, job.row(item, item.name).values()))
    text.detach()
