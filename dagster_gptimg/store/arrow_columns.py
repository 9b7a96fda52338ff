"""Records in Arrow columns, written and read so that nothing derived stops a run: what does not fit is null."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from dagster_gptimg.base.plain_text import words_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_log = logging.getLogger(__name__)

BATCH = 2048
"""Lines that are in memory at once."""


def batch_of(records: Sequence[dict[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    """Records in columns; a value that its column cannot hold is null in it, with a warning in the log."""
    try:
        return pa.RecordBatch.from_pylist(records, schema=schema)
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        columns = [_column([record.get(field.name) for record in records], field) for field in schema]
        return pa.RecordBatch.from_arrays(columns, schema=schema)


def _column(values: list[Any], field: pa.Field) -> pa.Array:
    try:
        return pa.array(values, field.type)
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        return pa.concat_arrays([_cell(value, field) for value in values])


def _cell(value: object, field: pa.Field) -> pa.Array:
    try:
        return pa.array([value], field.type)
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        _log.warning("a value of %s cannot be written, and is null in the table: %s", field.name, words_of(error))
        return pa.nulls(1, field.type)


def read_batches(path: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The lines of a Parquet file in the columns of a schema, read in this thread (see `read_parquet`).

    A column that an earlier release did not write is null.
    """
    with pq.ParquetFile(path, pre_buffer=False) as file:  # the whole file would be in memory otherwise
        for batch in file.iter_batches(BATCH, columns=schema.names, use_threads=False):
            columns = [
                batch[field.name].cast(field.type)
                if field.name in batch.schema.names
                else pa.nulls(len(batch), field.type)
                for field in schema
            ]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)


def read_parquet(data: bytes) -> pa.Table:
    """A table from a Parquet file's bytes, read in this thread.

    Arrow's thread pools are left alone: a process that ends while they wind down can be aborted ("terminate called
    without an active exception"), and these files are small.
    """
    return pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)


def completed(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """A table with the columns of a schema that an earlier release did not write, as nulls at its end."""
    for field in schema:
        if field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(table.num_rows, field.type))
    return table
