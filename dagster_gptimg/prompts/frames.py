"""What looks like a table and is none here: told with the way to one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dagster_gptimg.errors import TableError

_FRAME = "give it as a frame with one column: .to_frame('prompt')"
_WAYS: dict[tuple[str, str], str] = {
    ("polars", "LazyFrame"): "nothing of it is there yet: give frame.collect()",
    ("polars", "Series"): _FRAME,
    ("pandas", "Series"): _FRAME,
    ("pandas", "Index"): _FRAME,
    ("pyarrow", "ChunkedArray"): "give a table: pa.table({'prompt': array})",
    ("pyarrow", "StringArray"): "give a table: pa.table({'prompt': array})",
    ("pyarrow", "Dataset"): "give dataset.to_table(), or a scanner's to_reader() inside a function",
    ("deltalake", "DeltaTable"): "give table.to_pyarrow_table()",
    ("pyiceberg", "Table"): "give table.scan().to_arrow()",
    ("pyiceberg", "DataScan"): "give scan.to_arrow()",
    ("lance", "LanceDataset"): "give dataset.to_table()",
    ("duckdb", "DuckDBPyConnection"): "a connection is no table: give connection.sql('SELECT ...')",
    ("pyspark", "DataFrame"): "give frame.toPandas(), or frame.toArrow()",
    ("dask", "DataFrame"): "give frame.compute()",
    ("datasets", "Dataset"): "give dataset.with_format('arrow')[:], or dataset.to_pandas()",
    ("sqlalchemy", "Engine"): "give SqlTable(url, 'SELECT ...')",
    ("sqlalchemy", "Connection"): "give SqlTable(url, 'SELECT ...')",
    ("numpy", "ndarray"): "give a data frame, or a list of dicts: [{'prompt': text} for text in array]",
}
_ELSE = "give a URL, a data frame, an Arrow table or a list of dicts"
_ONE_SHOT = frozenset({"RecordBatchReader", "RecordBatchFileReader", "RecordBatchStreamReader"})
_READ_ALL = "give reader.read_all(), a list, or a function of a gptimg_asset that makes a new one for each run"


def refuse(source: object) -> None:
    """Raise `TableError`, with the way out, for what is known to be no table that can be read here."""
    way = _way(source)
    if way is not None:
        raise TableError(f"{type(source).__name__} is no table that can be read here: {way}")


def no_table(source: object) -> TableError:
    """The error for what is no table of any kind."""
    if isinstance(source, Mapping):
        way = "a mapping is one row, or columns: give a list of dicts, or a frame of the columns, pa.table(columns)"
        return TableError(f"{type(source).__name__} is no table: {way}")
    return TableError(f"{type(source).__name__} is no table: {_ELSE}")


def is_one_shot(source: object) -> bool:
    """Whether a table can be read only once: a generator, an Arrow reader."""
    return isinstance(source, Iterator) or type(source).__name__ in _ONE_SHOT


def refuse_one_shot(source: object, what: str) -> None:
    """Raise `TableError` for a table that can be read only once, where `what` reads it more often."""
    if is_one_shot(source):
        raise TableError(f"{type(source).__name__} can be read only once, and {what}: {_READ_ALL}")


def _way(source: object) -> str | None:
    for kind in type(source).__mro__:
        library = kind.__module__.partition(".")[0].lstrip("_")
        if (way := _WAYS.get((library, kind.__name__))) is not None:
            return way
    return None
