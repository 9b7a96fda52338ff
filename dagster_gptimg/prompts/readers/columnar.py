"""Tables in columns: Parquet files, Arrow files, and objects that implement the Arrow PyCapsule protocol."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any, Protocol, runtime_checkable

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from dagster_gptimg.errors import TableError
from dagster_gptimg.prompts.partition_keys import Bounds, may_hold
from dagster_gptimg.prompts.python_values import native
from dagster_gptimg.prompts.readers.arrow import Columns, check_names, columns_of
from dagster_gptimg.prompts.readers.chunks import Header

BATCH = 1024
SLICE = 64 * 2**20
"""Maximum bytes of an Arrow batch that are converted at once, unless a single row has more."""
PARQUET_BUFFER = 2**18
"""Bytes of a column that are read at once from a local file."""

_FILE = b"ARROW1"
_OLD_FEATHER = b"FEA1"


@runtime_checkable
class ArrowStream(Protocol):
    """A table of polars, pandas, DuckDB or pyarrow: an object with the Arrow PyCapsule protocol."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Return the table as an Arrow C stream."""


def read_parquet(file: IO[bytes], source: str, bounds: Sequence[Bounds]) -> Iterator[Header | Columns]:
    """Yield the rows of a Parquet file; row groups without rows within the bounds are skipped."""
    try:
        # Local files are read in small parts; of remote ones Arrow holds a whole row group, which saves calls.
        is_local = isinstance(getattr(file, "fs", None), LocalFileSystem)
        parquet = pq.ParquetFile(file, buffer_size=PARQUET_BUFFER if is_local else 0, pre_buffer=not is_local)
    except (pa.ArrowException, ValueError) as error:
        msg = f"{source} is not a Parquet file: {error}"
        raise TableError(msg) from error
    yield _header(parquet.schema_arrow, source)
    before = 0
    for n in range(parquet.num_row_groups):
        group = parquet.metadata.row_group(n)
        if all(_may_hold(group, bound) for bound in bounds):
            yield from _numbered(parquet.iter_batches(BATCH, row_groups=[n], use_threads=False), before)
        before += group.num_rows


def read_arrow_file(file: IO[bytes], source: str) -> Iterator[Header | Columns]:
    """Yield the rows of an Arrow IPC file (Feather) or an IPC stream."""
    magic = file.read(len(_FILE))
    file.seek(0)
    if magic.startswith(_OLD_FEATHER):
        raise TableError(f"{source} is a Feather file of version 1: save it as version 2 or as Parquet")
    if magic == _FILE:
        reader = pa.ipc.open_file(file)
        yield _header(reader.schema, source)
        yield from _numbered(_sound(reader.get_batch(n)) for n in range(reader.num_record_batches))
    else:
        stream = pa.ipc.open_stream(file)
        yield _header(stream.schema, source)
        yield from _numbered(map(_sound, stream))


def _sound(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return a batch after checking that its offsets are within it, which Arrow does not check for files."""
    batch.validate(full=True)
    return batch


def read_arrow(table: ArrowStream, source: str) -> Iterator[Header | Columns]:
    """Yield the rows of a data frame. Its stream is always closed: some databases are blocked until then."""
    with _reader(table) as stream:
        yield _header(stream.schema, source)
        yield from _numbered(stream)


def _reader(table: ArrowStream) -> Any:  # noqa: ANN401 - pyarrow ships no types
    # Avoid the protocol if possible: it limits the nesting of a type.
    return table.to_reader() if isinstance(table, pa.Table) else pa.RecordBatchReader.from_stream(table)


def read_pandas(frame: Any, source: str) -> Iterator[Header | Columns]:  # noqa: ANN401 - pandas may not be installed
    """Yield the rows of a pandas frame, also if its objects are of several kinds, for which Arrow has no type."""
    try:
        table = pa.Table.from_pandas(frame)
    except (pa.ArrowException, ArithmeticError, ValueError, TypeError):
        names = [str(name) for name in frame.columns]
        check_names(names, source)
        yield Header(tuple(names))
        for start in range(0, len(frame), BATCH):
            some = frame.iloc[start : start + BATCH]
            cells = {name: list(map(native, some.iloc[:, n].tolist())) for n, name in enumerate(names)}
            yield Columns(start + 1, cells)
    else:
        yield from read_arrow(table, source)


def is_pandas(table: object) -> bool:
    """Return whether a table is a pandas frame."""
    kinds = type(table).__mro__
    return any((kind.__module__.partition(".")[0], kind.__name__) == ("pandas", "DataFrame") for kind in kinds)


def _header(schema: pa.Schema, source: str) -> Header:
    check_names(schema.names, source)
    return Header(tuple(schema.names))


def _may_hold(group: Any, bound: Bounds) -> bool:  # noqa: ANN401 - pyarrow ships no types
    """Return whether a row group may have rows within a bound, by its statistics."""
    columns = (group.column(n) for n in range(group.num_columns))
    found = next((column.statistics for column in columns if column.path_in_schema == bound.column), None)
    if found is None or not found.has_min_max:
        return True
    try:
        low, high = found.min, found.max
    except (ValueError, ArithmeticError):  # times outside the range of Python's datetime
        return True
    return may_hold(bound, low, high)


def _numbered(batches: Iterable[pa.RecordBatch], number: int = 0) -> Iterator[Columns]:
    for batch in batches:
        size = batch.nbytes
        rows = BATCH if size <= SLICE else min(BATCH, max(1, batch.num_rows * SLICE // size))
        for start in range(0, batch.num_rows, rows):
            yield columns_of(batch.slice(start, rows), number + 1)
            number += min(rows, batch.num_rows - start)
