"""The source of rows: any fsspec URL, any object with the Arrow PyCapsule protocol, or mappings.

Everything is read in batches; no table is ever in memory as a whole.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, TypeAlias

from dagster_gptimg.base.masking import hide_in, hide_values
from dagster_gptimg.errors import RowProblem
from dagster_gptimg.prompts.partition_keys import Bounds
from dagster_gptimg.prompts.python_values import native
from dagster_gptimg.prompts.readers import folders, unreadable
from dagster_gptimg.prompts.readers.arrow import Columns
from dagster_gptimg.prompts.readers.chunks import Chunk, Header, Items, Line, NewFile
from dagster_gptimg.prompts.readers.columnar import (
    ArrowStream,
    is_pandas,
    read_arrow,
    read_arrow_file,
    read_pandas,
    read_parquet,
)
from dagster_gptimg.prompts.readers.delimited import read_delimited
from dagster_gptimg.prompts.readers.excel import read_excel
from dagster_gptimg.prompts.readers.formats import ENDINGS, Place, TableFile, place_of
from dagster_gptimg.prompts.readers.json_text import read_json, read_json_lines
from dagster_gptimg.prompts.readers.lines import Lines
from dagster_gptimg.prompts.readers.opening import decoded, from_stdin, opened, told
from dagster_gptimg.prompts.readers.sql import SqlTable
from dagster_gptimg.prompts.readers.text_file import PROMPT, read_text

__all__ = ["ENDINGS", "ArrowStream", "Source", "known_as", "name_of", "read", "read_chunks"]

Source: TypeAlias = str | os.PathLike[str] | TableFile | SqlTable | ArrowStream | Iterable[Mapping[str, object] | str]


LONGEST_NAME = 1000


def name_of(source: Source) -> str:
    """Return a table's name for messages, without the signature or password that its URL may contain."""
    if isinstance(source, SqlTable | TableFile):
        return source.name()
    if not isinstance(source, str | os.PathLike):
        return type(source).__name__
    return TableFile(source).name()


def known_as(source: Source) -> str:
    """Return a table's lasting name, without secrets: its URL or query; empty for one in memory or from a pipe."""
    has_name = isinstance(source, str | os.PathLike | SqlTable | TableFile)
    is_piped = isinstance(source, TableFile) and source.is_stdin
    return name_of(source)[:LONGEST_NAME] if has_name and not is_piped else ""


def read(source: Source, storage_options: Mapping[str, Any] | None = None) -> Iterator[Line | RowProblem]:
    """Yield the rows of a table, each with its line number (text files) or 1-based row number.

    Raises:
        TableError: the table as a whole cannot be read.
    """
    for chunk in read_chunks(source, storage_options):
        if isinstance(chunk, Columns):
            yield from chunk.lines()
        elif not isinstance(chunk, Header | NewFile):
            yield from (item for item in chunk if not isinstance(item, Header))


def read_chunks(
    source: Source, storage_options: Mapping[str, Any] | None = None, bounds: Sequence[Bounds] = ()
) -> Generator[Chunk]:
    """Return the rows in chunks: in columns, or one by one, depending on the source.

    Rows outside `bounds` may be left out if the source can skip them without reading them; most sources cannot.

    Raises:
        TableError: the table as a whole cannot be read.
    """
    if isinstance(source, TableFile):
        return _read_file(source, storage_options, bounds)
    if isinstance(source, str | os.PathLike):
        return _read_file(TableFile(source), storage_options, bounds)
    if isinstance(source, SqlTable):
        return _once(source.items(bounds))
    unreadable.refuse(source)
    if isinstance(source, ArrowStream):
        return _told_arrow(source)
    return _once(_read_mappings(source, name_of(source)))


def _once(items: Items) -> Generator[Chunk]:
    """Yield rows as one chunk; their source is closed even if they are not read to the end."""
    with closing(items):
        yield items


def _read_file(
    table: TableFile, storage_options: Mapping[str, Any] | None, bounds: Sequence[Bounds]
) -> Generator[Chunk]:
    url = os.fspath(table.url)
    hide_in(url)
    hide_values(storage_options or {})
    if table.is_stdin:
        place = Place(url, table.name(), table.table_format)
        with from_stdin(place) as (file, _), told(place.name):
            yield from _read_open(file, place, bounds)
    elif folders.is_several(url, storage_options):
        for part in folders.parts_of(url, storage_options, table.table_format):
            yield from _read_part(part, storage_options, bounds)
    else:
        yield from _read_one(place_of(url, table.table_format), storage_options, bounds)


def _read_one(place: Place, storage_options: Mapping[str, Any] | None, bounds: Sequence[Bounds]) -> Iterator[Chunk]:
    with opened(place, storage_options) as (file, found), told(found.name):
        yield from _read_open(file, found, bounds)


def _read_open(file: Any, place: Place, bounds: Sequence[Bounds]) -> Iterator[Chunk]:  # noqa: ANN401 - any file
    if place.form == "parquet":
        yield from read_parquet(file, place.name, bounds)
    elif place.form == "arrow":
        yield from read_arrow_file(file, place.name)
    elif place.form == "xlsx":
        yield _told_items(read_excel(file, place.name, place.sheet), place.name)
    else:
        with decoded(file, place.name) as text:
            items = (
                read_json(text, place.name)
                if place.form == "json"
                else _READERS[str(place.form)](Lines(text), place.name)
            )
            yield _told_items(items, place.name)


_READERS = {
    "csv": read_delimited,
    "tsv": lambda lines, name: read_delimited(lines, name, is_tsv=True),
    "txt": read_text,
    "jsonl": read_json_lines,
}


def _read_part(
    part: folders.Part, storage_options: Mapping[str, Any] | None, bounds: Sequence[Bounds]
) -> Iterator[Chunk]:
    """Yield one of several files, with the columns from its path; only the header if it is outside the bounds."""
    more = part.partition
    yield NewFile(part.place.name)
    for chunk in _read_one(part.place, storage_options, bounds):
        if isinstance(chunk, Header):
            yield _header_with(chunk, more)
        elif isinstance(chunk, Columns):
            if not part.may_hold(bounds):
                return
            rows = len(next(iter(chunk.cells.values()), ()))
            told_by_path = {column: [value] * rows for column, value in more.items() if column not in chunk.cells}
            yield Columns(chunk.number, chunk.cells | told_by_path)
        elif not isinstance(chunk, NewFile):
            yield _items_with(chunk, more)


def _header_with(header: Header, more: Mapping[str, str | None]) -> Header:
    return Header((*header.names, *(column for column in more if column not in header.names)))


def _items_with(items: Items, more: Mapping[str, str | None]) -> Items:
    for item in items:
        if isinstance(item, Header):
            yield _header_with(item, more)
        elif isinstance(item, RowProblem):
            yield item
        else:
            yield item[0], {**more, **item[1]}


def _told_items(items: Items, source: str) -> Items:
    with told(source):
        yield from items


def _told_arrow(source: ArrowStream) -> Generator[Chunk]:
    name = name_of(source)
    with told(name):
        yield from (read_pandas if is_pandas(source) else read_arrow)(source, name)


def _read_mappings(rows: Iterable[object], source: str) -> Items:
    """Yield mappings, or texts, each of which is a prompt."""
    for number, row in enumerate(rows, 1):
        if isinstance(row, Mapping):
            yield number, {name if isinstance(name, str) else str(name): native(value) for name, value in row.items()}
        elif isinstance(row, str):
            yield number, {PROMPT: row}
        else:
            yield RowProblem(source, number, None, f"a row must be a mapping, not {type(row).__name__}")
