"""Objects that look like a table but cannot be read, each with a message about how to convert it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar, cast

import pyarrow as pa

from dagster_gptimg.errors import TableError
from dagster_gptimg.prompts.readers.formats import TableFile
from dagster_gptimg.prompts.readers.sql import SqlTable

T = TypeVar("T")

_FRAME = "give it as a frame with one column: .to_frame('prompt')"
_QUERY = "give SqlTable(url, 'SELECT ...'), with the database's SQLAlchemy URL"
_WAYS: dict[tuple[str, str], str] = {
    ("polars", "LazyFrame"): "it is not computed yet: give frame.collect()",
    ("polars", "Series"): _FRAME,
    ("pandas", "Series"): _FRAME,
    ("pandas", "Index"): _FRAME,
    ("pyarrow", "ChunkedArray"): "give a table: pa.table({'prompt': array})",
    ("pyarrow", "StringArray"): "give a table: pa.table({'prompt': array})",
    ("pyarrow", "Dataset"): "give dataset.to_table(), or a scanner's to_reader() inside a function",
    ("pyarrow", "Scanner"): "give scanner.to_table(), or scanner.to_reader() inside a function",
    ("deltalake", "DeltaTable"): "give table.to_pyarrow_table()",
    ("pyiceberg", "Table"): "give table.scan().to_arrow()",
    ("pyiceberg", "DataScan"): "give scan.to_arrow()",
    ("lance", "LanceDataset"): "give dataset.to_table()",
    ("duckdb", "DuckDBPyConnection"): "a connection is not a table: give connection.sql('SELECT ...')",
    ("pyspark", "DataFrame"): "give frame.toPandas(), or frame.toArrow()",
    ("dask", "DataFrame"): "give frame.compute()",
    ("datasets", "Dataset"): "give dataset.with_format('arrow')[:], or dataset.to_pandas()",
    ("sqlalchemy", "Engine"): _QUERY,
    ("sqlalchemy", "Connection"): _QUERY,
    ("numpy", "ndarray"): "give a data frame, or a list of dicts: [{'prompt': text} for text in array]",
}
_ELSE = "give a URL, a data frame, an Arrow table or a list of dicts"


def refuse(source: object) -> None:
    """Raise `TableError`, with the way out, for what is no table, or none that can be read here."""
    way = _way(source)
    if way is not None:
        raise TableError(f"{type(source).__name__} cannot be read as a table: {way}")
    if isinstance(source, str | os.PathLike | TableFile | SqlTable) or hasattr(source, "__arrow_c_stream__"):
        return
    if isinstance(source, Mapping):
        way = "a mapping is one row, or columns: give a list of dicts, or a frame of the columns, pa.table(columns)"
        raise TableError(f"{type(source).__name__} is not a table: {way}")
    if not isinstance(source, Iterable) or isinstance(source, bytes | bytearray | memoryview):
        raise TableError(f"{type(source).__name__} is not a table: {_ELSE}")


def repeatable(source: T) -> T:
    """A table that can be read again: a generator or an Arrow reader is read into memory for it.

    Raises:
        TableError: it is no table.
    """
    refuse(source)
    if hasattr(source, "__arrow_c_stream__") and type(source).__name__.endswith("Reader"):
        return cast("T", pa.RecordBatchReader.from_stream(source).read_all())
    return cast("T", list(source)) if isinstance(source, Iterator) else source


def _way(source: object) -> str | None:
    for kind in type(source).__mro__:
        library = kind.__module__.partition(".")[0].lstrip("_")
        if (way := _WAYS.get((library, kind.__name__))) is not None:
            return way
    if hasattr(source, "__arrow_c_stream__") or not hasattr(source, "execute"):
        return None
    is_of_database = hasattr(source, "fetchmany") or hasattr(source, "commit")  # DB-API 2: a cursor, or a connection
    return _QUERY if is_of_database else None
