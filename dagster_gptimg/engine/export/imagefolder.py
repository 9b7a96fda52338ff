"""The layout `imagefolder`: what Hugging Face's `datasets` opens by `load_dataset("imagefolder", data_dir=...)`.

Columns are in Parquet, because `datasets` tells the types of the columns of CSV and JSON lines by their first rows: it
makes dates and numbers of texts, and fails, or loses rows, where a later one has another type. All is in a folder
`train`: without one, any image whose name has a part such as `test` or `dev` would become a split of its own, and all
other images would be left out.
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from dagster_gptimg.engine.export.columns import FILE_NAME
from dagster_gptimg.engine.export.files import Files
from dagster_gptimg.engine.export.parquet import schema_of

if TYPE_CHECKING:
    from dagster_gptimg.engine.export.job import ExportJob

PREFIX = "train/"
TABLE = f"{PREFIX}metadata.parquet"
OWN_FILES = (TABLE, f"{PREFIX}metadata.csv", f"{PREFIX}metadata.jsonl")

_ROWS = 2_000
"""Rows of a row group: `datasets` reads one at a time."""


def is_taken(name: str) -> bool:
    """Return whether the layout needs a column's name for itself: `file_name`s become images in `datasets`."""
    return name == "image" or name.endswith(f"_{FILE_NAME}")


def write(job: ExportJob) -> None:
    """Write the export. Raises `StoreError`, `UsageError`, `TemporaryError`."""
    Files(job, TABLE, _write_metadata).write()


def _write_metadata(job: ExportJob, file: IO[bytes]) -> None:
    schema = schema_of(job.columns)
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        rows = list[dict[str, object]]()
        for item in job.plan.items("is_failed = 0"):
            rows.append(job.row(item, item.name.removeprefix(PREFIX)))
            if len(rows) == _ROWS:
                writer.write_batch(pa.RecordBatch.from_pylist(rows, schema=schema))
                rows.clear()
        if rows:
            writer.write_batch(pa.RecordBatch.from_pylist(rows, schema=schema))
