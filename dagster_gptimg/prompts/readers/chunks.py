"""Rows as a source has them, some at a time."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeAlias

from dagster_gptimg.errors import RowProblem
from dagster_gptimg.prompts.readers.arrow import Columns

Line: TypeAlias = tuple[int, dict[str, object]]
"""A row with its 1-based line (text files) or number."""


@dataclass(frozen=True, slots=True)
class NewFile:
    """The rows that follow come from this file: one of a table's several.

    Attributes:
        source: its name, for messages.
    """

    source: str


@dataclass(frozen=True, slots=True)
class Header:
    """The columns of the rows that follow (of the file): each row has all of these, and no other.

    Attributes:
        names: the columns.
    """

    names: tuple[str, ...]


Items: TypeAlias = Generator[Header | Line | RowProblem]
Chunk: TypeAlias = NewFile | Header | Columns | Items
"""A header comes before the rows that it is of, as a chunk or as the first item of one."""
