"""Reading of a prompt table into validated rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

from dagster_gptimg.prompts.checker import Checker
from dagster_gptimg.prompts.readers import sources
from dagster_gptimg.prompts.readers.sources import Source
from dagster_gptimg.prompts.row_batch import RowBatch
from dagster_gptimg.prompts.spec import PromptSpec


def read_rows(source: Source, spec: PromptSpec, storage_options: Mapping[str, Any] | None = None) -> Iterator[RowBatch]:
    """Yield the validated rows of a table, in batches; nothing for a table without rows.

    Do not use the rows before the iterator is exhausted: only then are all problems known.

    Args:
        source: any fsspec URL of a file, a folder or a glob, a `SqlTable`, anything with `__arrow_c_stream__`,
            mappings, or texts.
        spec: how rows become prompts.
        storage_options: passed to fsspec.

    Raises:
        TableError: the table cannot be read, or a row is invalid; the error lists all problems.
    """
    checker = Checker(sources.name_of(source), spec)
    bounds = checker.filter.bounds() if checker.filter else []
    with closing(sources.read_chunks(source, storage_options, bounds)) as chunks:
        yield from checker.batches(chunks)
    if bounds and checker.lacks_its_first_row:  # a reader has skipped rows by the bounds: whose are they?
        with closing(sources.read_chunks(source, storage_options)) as chunks:
            checker.look_around(chunks)
    checker.finish()
