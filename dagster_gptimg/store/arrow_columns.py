"""Records in Arrow columns, written and read so that derived data never stops a run: invalid values become null."""

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
"""Maximum lines in memory at a time."""


def batch_of(records: Sequence[dict[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    """Return records in columns; a value that its column cannot hold becomes null, with a warning in the log."""
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
        _log.warning("a value of %s cannot be written, so it is null in the table: %s", field.name, words_of(error))
        return pa.nulls(1, field.type)


def read_batches(path: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield the lines of a Parquet file in a schema's columns, read in this thread; missing columns become null."""
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
    """Return a table from a Parquet file's bytes, read in this thread.

    Arrow's thread pools are not used: a process that ends while they shut down can be aborted ("terminate called
    without an active exception"), and these files are small.
    """
    return pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)


def completed(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return a table with all columns of a schema, in its order; those of later releases follow.

    Columns that an earlier release did not write are null. Tables of several releases can be concatenated only if their
    columns stand in one order.
    """
    for field in schema:
        if field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(table.num_rows, field.type))
    later = [name for name in table.column_names if name not in schema.names]
    return table.select([*schema.names, *later])
