"""Rows as a source returns them, in chunks."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeAlias

from dagster_gptimg.errors import RowProblem
from dagster_gptimg.prompts.readers.arrow import Columns

Line: TypeAlias = tuple[int, dict[str, object]]
"""A row with its 1-based line number (text files) or row number."""


@dataclass(frozen=True, slots=True)
class NewFile:
    """Marks the beginning of one of a table's several files.

    Attributes:
        source: the file's name for messages.
    """

    source: str


@dataclass(frozen=True, slots=True)
class Header:
    """The columns of the rows that follow; each of these rows has all of these columns, and no other.

    Attributes:
        names: the columns.
    """

    names: tuple[str, ...]


Items: TypeAlias = Generator[Header | Line | RowProblem]
Chunk: TypeAlias = NewFile | Header | Columns | Items
"""A header precedes its rows, either as a chunk or as the first item of one."""
