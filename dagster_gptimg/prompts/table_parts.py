"""A table that is read once for a run over many partitions: its rows are kept by partition in a temporary file.

Reading, and computing the partition of each row, would otherwise be done once for each partition. What a part yields
is what the table itself would yield to the filter of that partition, in the same order and with the same numbers.
"""

from __future__ import annotations

import heapq
import os
import pickle
import weakref
from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import IO, TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast

from dagster_gptimg.prompts.cell_values import CellError
from dagster_gptimg.prompts.partition_keys import Bounds, has_cells
from dagster_gptimg.prompts.quoting import MOST
from dagster_gptimg.prompts.readers import sources
from dagster_gptimg.prompts.readers.arrow import Columns
from dagster_gptimg.prompts.readers.chunks import Header, NewFile
from dagster_gptimg.temporary_files import temporary_file

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterator, Mapping, Sequence

    from dagster_gptimg.prompts.partition_keys import RowKey
    from dagster_gptimg.prompts.readers.chunks import Chunk, Items
    from dagster_gptimg.prompts.readers.sources import Source

KEPT = 4096
"""Rows that wait in memory until they are written, of all partitions together."""

LOOKED_AT = 10_000
"""Maximum rows that are searched for the keys of other partitions."""

_Item: TypeAlias = tuple[int, Any]
"""What a table yields, with its number in the order in which it does."""

_Waiting: TypeAlias = defaultdict[str | None, list[_Item]]
"""What is to be written, by key."""

_Blocks: TypeAlias = defaultdict[str | None, list[tuple[int, int]]]
"""Where items stand in the file, by key: offsets and sizes in bytes."""


class _Rows(NamedTuple):
    """The rows of a table by partition.

    Attributes:
        blocks: for each key, where its items stand in the file: offsets and sizes in bytes. Those of the key None are
            for every partition: files, headers, and rows with problems.
        noted: rows of any partition that all need to know of, with their keys: one of each of the first partitions,
            and the first one with a column.
    """

    file: IO[bytes]
    blocks: Mapping[str | None, Sequence[tuple[int, int]]]
    noted: Sequence[tuple[_Item, str]]


class TableParts:
    """A table of which some partitions are read, one after another."""

    def __init__(
        self, source: Source, by: RowKey, keys: Collection[str], storage_options: Mapping[str, Any] | None = None
    ) -> None:
        """Prepare; nothing is read before the first part is.

        Args:
            source: the table, which can be read more than once.
            by: computes the partition of a row.
            keys: of the partitions whose rows are kept.
            storage_options: passed to fsspec.
        """
        self.source, self.name, self.storage_options = source, sources.name_of(source), storage_options
        self._by, self._keys = by, frozenset(keys)
        self._rows: _Rows | None = None
        self._has_odd_values = False

    def part(self, key: str) -> TablePart:
        """Return the rows of a partition, to be read in place of the table."""
        return TablePart(self, key)

    def are_kept(self) -> bool:
        """Return whether the rows are kept, after reading the table at the first call.

        Values of other people's classes cannot always be written to a file.

        Raises:
            TableError: the table as a whole cannot be read.
            TemporaryError: there is no room for the temporary file.
        """
        if self._rows is None and not self._has_odd_values:
            try:
                self._rows = self._read()
            except (pickle.PicklingError, TypeError, AttributeError, RecursionError):
                self._has_odd_values = True
        return self._rows is not None

    def items(self, key: str) -> Iterator[object]:
        """Yield what the table yields for a partition, if rows are kept: its rows, and what every partition is told."""
        rows = self._rows
        if rows is None:
            return
        own, shared = (_read(rows.file, rows.blocks.get(which, ())) for which in (key, None))
        noted = [item for item, other in rows.noted if other != key]
        for _, item in heapq.merge(own, shared, noted, key=itemgetter(0)):
            yield item

    def _read(self) -> _Rows:
        """Read the table, and write its rows by partition."""
        file = temporary_file()
        weakref.finalize(self, file.close)
        blocks, waiting = _Blocks(list), _Waiting(list)
        noted, met, told, held = list[tuple[_Item, str]](), set[str](), set[str](), 0
        with closing(sources.read_chunks(self.source, self.storage_options, self._bounds())) as chunks:
            for number, found in enumerate(_items(chunks)):
                item: _Item = number, found
                key, cells = self._key_of(item[1]), item[1][1] if isinstance(item[1], tuple) else {}
                is_first = key is not None and key not in told and len(told) <= MOST and item[1][0] <= LOOKED_AT
                if key is not None and (is_first or not met.issuperset(cells)):
                    noted.append((item, key))
                    told.add(key)
                    met.update(cells)
                if key is not None and key not in self._keys:
                    continue
                waiting[key].append(item)
                held += 1
                if held == KEPT:
                    _write(file, waiting, blocks)
                    held = 0
        _write(file, waiting, blocks)
        file.flush()
        return _Rows(file, dict(blocks), noted)

    def _key_of(self, item: object) -> str | None:
        """Return the partition of a row, empty if it has none; None for what every partition is told."""
        if not isinstance(item, tuple):
            return None
        try:
            return self._by.of(item[1]) if has_cells(self._by, item[1]) else ""
        except CellError:
            return None

    def _bounds(self) -> list[Bounds]:
        """Return bounds that the rows of all wanted partitions satisfy; empty if there are none."""
        every = zip(*(self._by.bounds(key) for key in self._keys), strict=True)
        found = []
        for some in every:
            lows, highs = [bound.low for bound in some], [bound.high for bound in some]
            found.append(Bounds(some[0].column, min(lows), max(highs)))
        return found


@dataclass(frozen=True, slots=True)
class TablePart:
    """The rows of one partition of a table."""

    parts: TableParts
    key: str

    def chunks(self, bounds: Sequence[Bounds]) -> Generator[Chunk]:
        """Return its rows in chunks.

        Args:
            bounds: of the partition, for a table whose rows cannot be kept: the table itself is read then.

        Raises:
            TableError: the table as a whole cannot be read.
            TemporaryError: there is no room for the temporary file.
        """
        if not self.parts.are_kept():
            return sources.read_chunks(self.parts.source, self.parts.storage_options, bounds)
        return self._chunks()

    def _chunks(self) -> Generator[Chunk]:
        for is_file, items in groupby(self.parts.items(self.key), lambda item: isinstance(item, NewFile)):
            if is_file:
                yield from cast("Iterator[NewFile]", items)
            else:
                yield cast("Items", (item for item in items))


def _items(chunks: Iterator[Chunk]) -> Iterator[object]:
    """Yield what stands in the chunks, one by one."""
    for chunk in chunks:
        if isinstance(chunk, NewFile | Header):
            yield chunk
        else:
            yield from chunk.lines() if isinstance(chunk, Columns) else chunk


def _write(file: IO[bytes], waiting: _Waiting, blocks: _Blocks) -> None:
    """Write what is waiting behind what the file has, a block for each key."""
    start = file.tell()
    for key, items in waiting.items():
        size = file.write(pickle.dumps(items, pickle.HIGHEST_PROTOCOL))
        blocks[key].append((start, size))
        start += size
    waiting.clear()


def _read(file: IO[bytes], blocks: Sequence[tuple[int, int]]) -> Iterator[_Item]:
    """Yield the items of some blocks."""
    for start, size in blocks:
        yield from pickle.loads(os.pread(file.fileno(), size, start))  # noqa: S301 - a nameless file of this process
