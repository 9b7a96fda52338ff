"""Where rows come from: any fsspec URL, anything that speaks the Arrow PyCapsule protocol, or mappings.

Everything is read in batches; no table is ever held as a whole.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any, Protocol, TypeAlias, runtime_checkable

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from dagster_gptimg.errors import RowProblem, TableError
from dagster_gptimg.prompts.delimited import Line, read_delimited

BATCH = 2048
_ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
_COMPRESSED = (".gz", ".bz2", ".xz", ".zst")


@runtime_checkable
class ArrowStream(Protocol):
    """A table of polars, pandas, DuckDB or pyarrow: the Arrow PyCapsule protocol."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Arrow's C stream."""


Source: TypeAlias = "str | os.PathLike[str] | ArrowStream | Iterable[Mapping[str, object]]"
Items: TypeAlias = "Iterator[Line | RowProblem]"


def name_of(source: Source) -> str:
    """How messages call a table."""
    return os.fspath(source) if isinstance(source, str | os.PathLike) else type(source).__name__


def read(source: Source, storage_options: Mapping[str, Any] | None = None) -> Items:
    """The rows of a table, each with its line (text files) or its 1-based number.

    Raises:
        TableError: the table as a whole cannot be read.
    """
    if isinstance(source, str | os.PathLike):
        return _read_url(os.fspath(source), storage_options)
    if isinstance(source, ArrowStream):
        return _numbered(pa.RecordBatchReader.from_stream(source))
    if isinstance(source, Iterable):
        return _read_mappings(source)
    msg = f"{type(source).__name__} is no table: give a URL, a data frame, an Arrow table or a list of dicts"
    raise TableError(msg)


def _read_url(url: str, storage_options: Mapping[str, Any] | None) -> Items:
    ending = _ending(url)
    with _opened(url, storage_options) as file:
        if ending == ".parquet":
            yield from _read_parquet(file, url)
            return
        text = io.TextIOWrapper(file, _encoding(file), errors="surrogateescape", newline="")
        if ending in {".csv", ".tsv"}:
            yield from read_delimited(text, url, "\t" if ending == ".tsv" else ",")
        else:
            yield from _read_json_lines(text, url)


def _ending(url: str) -> str:
    plain = url.lower()
    for ending in _COMPRESSED:
        plain = plain.removesuffix(ending)
    found = next((ending for ending in _ENDINGS if plain.endswith(ending)), None)
    if found is None:
        msg = f"cannot tell the format of {url}: its name must end in {', '.join(_ENDINGS)} (or that and .gz)"
        raise TableError(msg)
    return found


@contextmanager
def _opened(url: str, storage_options: Mapping[str, Any] | None) -> Iterator[IO[bytes]]:
    try:
        opened = fsspec.open(url, "rb", compression="infer", **dict(storage_options or {}))
        with opened as file:
            yield file
    except TableError:
        raise
    except FileNotFoundError as error:
        msg = f"there is no table at {url}"
        raise TableError(msg) from error
    except (OSError, ImportError, ValueError, EOFError) as error:
        msg = f"the table {url} cannot be read: {error}"
        raise TableError(msg) from error


def _encoding(file: IO[bytes]) -> str:
    """UTF-8, with or without a byte order mark; UTF-16 when its mark says so (Excel's "Unicode text")."""
    start = file.read(2)
    file.seek(0)
    return "utf-16" if start in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig"


def _read_json_lines(text: IO[str], source: str) -> Items:
    for line, content in enumerate(text, 1):
        if not content.strip():
            continue
        try:
            row = json.loads(content)
        except (ValueError, RecursionError) as error:
            yield RowProblem(source, line, None, f"not JSON: {error}")
            continue
        if isinstance(row, dict):
            yield line, row
        else:
            yield RowProblem(source, line, None, "not a JSON object: each line must be one, {...}")


def _read_parquet(file: IO[bytes], source: str) -> Items:
    try:
        parquet = pq.ParquetFile(file)
    except (pa.ArrowException, ValueError) as error:
        msg = f"{source} is no Parquet file: {error}"
        raise TableError(msg) from error
    yield from _numbered(parquet.iter_batches(BATCH, use_threads=False))


def _numbered(batches: Iterable[pa.RecordBatch]) -> Items:
    number = 0
    for batch in batches:
        for start in range(0, batch.num_rows, BATCH):
            for row in batch.slice(start, BATCH).to_pylist():
                number += 1
                yield number, row


def _read_mappings(rows: Iterable[Mapping[str, object]]) -> Items:
    for number, row in enumerate(rows, 1):
        if isinstance(row, Mapping):
            yield number, dict(row)
        else:
            yield RowProblem("list", number, None, f"a row must be a mapping, not {type(row).__name__}")
