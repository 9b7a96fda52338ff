"""Reading of a prompt table into validated rows."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

from dagster_gptimg.prompts.checker import Checker
from dagster_gptimg.prompts.partition_keys import Bounds
from dagster_gptimg.prompts.readers import sources
from dagster_gptimg.prompts.readers.chunks import Chunk
from dagster_gptimg.prompts.readers.sources import Source
from dagster_gptimg.prompts.row_batch import RowBatch
from dagster_gptimg.prompts.spec import PromptSpec
from dagster_gptimg.prompts.table_parts import TablePart


def read_rows(
    source: Source | TablePart, spec: PromptSpec, storage_options: Mapping[str, Any] | None = None
) -> Iterator[RowBatch]:
    """Yield the validated rows of a table, in batches; nothing for a table without rows.

    Do not use the rows before the iterator is exhausted: only then are all problems known.

    Args:
        source: any fsspec URL of a file, a folder or a glob, a `SqlTable`, anything with `__arrow_c_stream__`,
            mappings, or texts; or a part of one of these, which was read before.
        spec: how rows become prompts.
        storage_options: passed to fsspec.

    Raises:
        TableError: the table cannot be read, or a row is invalid; the error lists all problems.
    """
    checker = Checker(source.parts.name if isinstance(source, TablePart) else sources.name_of(source), spec)
    bounds = checker.filter.bounds() if checker.filter else []
    with closing(_chunks(source, storage_options, bounds)) as chunks:
        yield from checker.batches(chunks)
    if bounds and checker.lacks_its_first_row:  # a reader has skipped rows by the bounds: whose are they?
        whole = source.parts.source if isinstance(source, TablePart) else source
        with closing(_chunks(whole, storage_options, [])) as chunks:
            checker.look_around(chunks)
    checker.finish()


def _chunks(
    source: Source | TablePart, storage_options: Mapping[str, Any] | None, bounds: Sequence[Bounds]
) -> Generator[Chunk]:
    if isinstance(source, TablePart):
        return source.chunks(bounds)
    return sources.read_chunks(source, storage_options, bounds)
