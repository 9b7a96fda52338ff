"""Where rows come from: any fsspec URL, anything that speaks the Arrow PyCapsule protocol, or mappings.

Everything is read in batches; no table is ever held as a whole.
"""

from __future__ import annotations

import io
import json
import lzma
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import IO, Any, Protocol, TypeAlias, runtime_checkable

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem
from fsspec.utils import infer_compression

from dagster_gptimg.errors import RowProblem, TableError
from dagster_gptimg.prompts.arrow import Columns, check_names, columns_of
from dagster_gptimg.prompts.delimited import Line, read_delimited
from dagster_gptimg.prompts.rowkeys import Bounds, may_hold
from dagster_gptimg.prompts.sql import SqlTable
from dagster_gptimg.prompts.values import native

BATCH = 1024
PARQUET_BUFFER = 2**18
"""Bytes of a column that are read at once from a local file."""
ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
_COMPRESSED = (".gz", ".bz2", ".xz", ".zst")
_USER = re.compile(r"://[^/@\s]*@")
_QUERY = re.compile(r"(https?://[^?\s]*)\?(?:(?!::)[^\s'\"])*")
_BROKEN = (OSError, ValueError, EOFError, ImportError, zlib.error, lzma.LZMAError, pa.ArrowException)


@runtime_checkable
class ArrowStream(Protocol):
    """A table of polars, pandas, DuckDB or pyarrow: the Arrow PyCapsule protocol."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Arrow's C stream."""


Source: TypeAlias = str | os.PathLike[str] | SqlTable | ArrowStream | Iterable[Mapping[str, object]]
Items: TypeAlias = "Iterator[Line | RowProblem]"
Chunk: TypeAlias = "Columns | Items"


def name_of(source: Source) -> str:
    """How messages call a table: never with the signature or the password that its URL may hold."""
    if isinstance(source, SqlTable):
        return source.name()
    if not isinstance(source, str | os.PathLike):
        return type(source).__name__
    return _without_secrets(os.fspath(source))


def _without_secrets(text: str) -> str:
    return _QUERY.sub(r"\1", _USER.sub("://", text))


def has_one_header(source: Source) -> bool:
    """Whether all rows have the same columns. JSON lines and mappings may leave some out, each row its own."""
    if isinstance(source, str | os.PathLike):
        return _ending(os.fspath(source)) in {".csv", ".tsv", ".parquet"}
    return isinstance(source, ArrowStream | SqlTable)


def read(source: Source, storage_options: Mapping[str, Any] | None = None) -> Items:
    """The rows of a table, each with its line (text files) or its 1-based number.

    Raises:
        TableError: the table as a whole cannot be read.
    """
    for chunk in read_chunks(source, storage_options):
        yield from chunk.lines() if isinstance(chunk, Columns) else chunk


def read_chunks(
    source: Source, storage_options: Mapping[str, Any] | None = None, bounds: Sequence[Bounds] = ()
) -> Iterator[Chunk]:
    """The same as the source has them: some at a time in columns, or all of them one by one.

    Rows outside `bounds` may be left out where the source can tell them without reading them; most cannot.

    Raises:
        TableError: the table as a whole cannot be read.
    """
    if isinstance(source, str | os.PathLike):
        return _read_url(os.fspath(source), storage_options, bounds)
    if isinstance(source, SqlTable):
        return iter([source.rows(bounds)])
    if isinstance(source, ArrowStream):
        return _read_arrow(source)
    rows: object = source
    if isinstance(rows, Iterable) and not isinstance(rows, Mapping | bytes):
        return iter([_read_mappings(rows, name_of(source))])
    msg = f"{name_of(source)} is no table: give a URL, a data frame, an Arrow table or a list of dicts"
    raise TableError(msg)


def _read_url(url: str, storage_options: Mapping[str, Any] | None, bounds: Sequence[Bounds]) -> Iterator[Chunk]:
    ending, name = _ending(url), name_of(url)
    with _opened(url, storage_options) as file, _told(name):
        if ending == ".parquet":
            yield from _read_parquet(file, name, bounds)
            return
        buffered = io.BufferedReader(file)
        text = io.TextIOWrapper(buffered, _encoding(buffered), errors="surrogateescape", newline="")
        if ending in {".csv", ".tsv"}:
            yield _read_told(read_delimited(text, name, "\t" if ending == ".tsv" else ","), name)
        else:
            yield _read_told(_read_json_lines(text, name), name)


def _path(url: str) -> str:
    """What tells the format: of `zip://a.csv::s3://b/c.zip` the file within, of `https://h/a.csv?sig=1` the path.

    Raises:
        TableError: nothing in it does.
    """
    for link in url.split("::"):
        path = link.partition("?")[0] if link.startswith(("http://", "https://")) else link
        if _stem(path).endswith(ENDINGS):
            return path.lower()
    msg = f"cannot tell the format of {name_of(url)}: its name must end in {', '.join(ENDINGS)} (or that and .gz)"
    raise TableError(msg)


def _stem(path: str) -> str:
    """A path without the ending of its compression."""
    stem = path.lower()
    for ending in _COMPRESSED:
        stem = stem.removesuffix(ending)
    return stem


def _ending(url: str) -> str:
    stem = _stem(_path(url))
    return next(ending for ending in ENDINGS if stem.endswith(ending))


def _compression(url: str) -> str | None:
    """The name that fsspec has for it; by ourselves, since fsspec looks for it behind a URL's query."""
    path = _path(url)
    found: str | None = infer_compression(path)
    if found is None and path.endswith(_COMPRESSED):
        msg = f"{name_of(url)} is compressed in a way that cannot be read here: install zstandard, or use .gz"
        raise TableError(msg)
    return found


@contextmanager
def _opened(url: str, storage_options: Mapping[str, Any] | None) -> Iterator[Any]:
    compression = _compression(url)
    opening = ExitStack()
    try:
        file = opening.enter_context(fsspec.open(url, "rb", compression=compression, **dict(storage_options or {})))
    except FileNotFoundError as error:
        unless = ", or it cannot be reached" if "://" in url else ""
        msg = f"there is no table at {name_of(url)}{unless}"
        raise TableError(msg) from error
    except Exception as error:  # each file system has errors of its own (no credentials, no such bucket)
        msg = f"the table {name_of(url)} cannot be opened: {_without_secrets(str(error))}"
        raise TableError(msg) from error
    with opening:
        yield file


@contextmanager
def _told(source: str) -> Iterator[None]:
    """What breaks while a table is read, told as an error of the table."""
    try:
        yield
    except TableError:
        raise
    except _BROKEN as error:
        msg = f"the table {source} cannot be read: {_without_secrets(str(error))}"
        raise TableError(msg) from error


def _read_told(items: Items, source: str) -> Items:
    with _told(source):
        yield from items


def _encoding(file: io.BufferedReader) -> str:
    """UTF-8, with or without a byte order mark; UTF-16 when its mark says so (Excel's "Unicode text")."""
    return "utf-16" if file.peek(2)[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig"


def _read_json_lines(text: IO[str], source: str) -> Items:
    for line, content in enumerate(text, 1):
        if not content.strip():
            continue
        try:
            row = json.loads(content)
        except (ValueError, RecursionError) as error:
            yield RowProblem(
                source, line, None, f"not JSON: {getattr(error, 'msg', error)}; each line must be one, {{...}}"
            )
            continue
        if isinstance(row, dict):
            yield line, row
        else:
            yield RowProblem(source, line, None, "not a JSON object: each line must be one, {...}")


def _read_parquet(file: IO[bytes], source: str, bounds: Sequence[Bounds]) -> Iterator[Columns]:
    try:
        # A local file is read bit by bit: Arrow would hold a whole row group otherwise, which saves calls elsewhere.
        is_local = isinstance(getattr(file, "fs", None), LocalFileSystem)
        parquet = pq.ParquetFile(file, buffer_size=PARQUET_BUFFER if is_local else 0, pre_buffer=not is_local)
    except (pa.ArrowException, ValueError) as error:
        msg = f"{source} is no Parquet file: {error}"
        raise TableError(msg) from error
    check_names(parquet.schema_arrow.names, source)
    groups = [parquet.metadata.row_group(n) for n in range(parquet.num_row_groups)]
    wanted = [n for n, group in enumerate(groups) if all(_may_hold(group, bound) for bound in bounds)]
    before = 0
    for n, group in enumerate(groups):
        if n in wanted or (not wanted and n == 0):  # one is read in any case: its columns are looked at
            yield from _numbered(parquet.iter_batches(BATCH, row_groups=[n], use_threads=False), before)
        before += group.num_rows


def _may_hold(group: Any, bound: Bounds) -> bool:  # noqa: ANN401 - pyarrow ships no types
    """Whether a row group may have rows within a bound, by its statistics."""
    columns = (group.column(n) for n in range(group.num_columns))
    found = next((column.statistics for column in columns if column.path_in_schema == bound.column), None)
    return found is None or not found.has_min_max or may_hold(bound, found.min, found.max)


def _read_arrow(source: ArrowStream) -> Iterator[Columns]:
    with _told(name_of(source)):
        stream = pa.RecordBatchReader.from_stream(source)
        check_names(stream.schema.names, name_of(source))
        yield from _numbered(stream)


def _numbered(batches: Iterable[pa.RecordBatch], number: int = 0) -> Iterator[Columns]:
    for batch in batches:
        for start in range(0, batch.num_rows, BATCH):
            yield columns_of(batch.slice(start, BATCH), number + 1)
            number += min(BATCH, batch.num_rows - start)


def _read_mappings(rows: Iterable[Mapping[str, object]], source: str) -> Items:
    for number, row in enumerate(rows, 1):
        if isinstance(row, Mapping):
            yield number, {str(name): native(value) for name, value in row.items()}
        else:
            yield RowProblem(source, number, None, f"a row must be a mapping, not {type(row).__name__}")
