"""Single lines of tables that are too large for memory: stored on disk, read by number."""

from __future__ import annotations

import os
import weakref
from array import array
from bisect import bisect_right
from collections import OrderedDict
from itertools import groupby
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dagster_gptimg.temporary_files import temporary_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CHUNK = 128
"""Number of lines that are stored together."""

KEPT = 64
"""Number of chunks that are kept in memory."""

Line = dict[str, Any]


class Lines:
    """The lines of some batches of one schema, in a temporary file.

    A reader of two lines of a chunk usually needs the others, too: then the whole chunk is converted at once, which is
    much cheaper than line by line. For random access single lines are converted.
    """

    def __init__(self, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> None:
        """Store the batches. Raises `TemporaryError`."""
        self._schema = schema
        self._file = temporary_file()
        weakref.finalize(self, self._file.close)
        self._starts, self._places, self._count, self._end = list[int](), list[tuple[int, int]](), 0, 0
        self._kept: OrderedDict[int, pa.RecordBatch | list[Line]] = OrderedDict()
        for batch in batches:
            self.add(batch)

    def add(self, batch: pa.RecordBatch) -> None:
        """Append lines. Raises `TemporaryError`."""
        for start in range(0, batch.num_rows, CHUNK):
            chunk = batch.slice(start, CHUNK)
            data = chunk.serialize()
            self._file.write(data)
            self._starts.append(self._count)
            self._places.append((self._end, data.size))
            self._count, self._end = self._count + chunk.num_rows, self._end + data.size

    def get(self, number: int) -> Line:
        """Return one line, by its number from 0."""
        place = bisect_right(self._starts, number) - 1
        kept, line = self._kept.get(place), number - self._starts[place]
        if kept is None:
            kept = self._kept[place] = self._read(place)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
            return dict(kept.slice(line, 1).to_pylist()[0])
        self._kept.move_to_end(place)
        if isinstance(kept, pa.RecordBatch):
            kept = self._kept[place] = kept.to_pylist()
        return kept[line]

    def some(self, numbers: Sequence[int]) -> pa.Table:
        """Return lines in columns, in the order of their numbers; each chunk is read once, whatever the order."""
        order = sorted(range(len(numbers)), key=numbers.__getitem__)
        parts: list[pa.RecordBatch] = []
        for place, some in groupby(order, lambda n: bisect_right(self._starts, numbers[n]) - 1):
            start = self._starts[place]
            parts.append(self._read(place).take(pa.array([numbers[n] - start for n in some], pa.int64())))
        found = pa.Table.from_batches(parts, self._schema)
        if all(n == at for at, n in enumerate(order)):
            return found
        back = array("q", bytes(8 * len(order)))
        for at, n in enumerate(order):
            back[n] = at
        return found.combine_chunks().take(pa.array(back))

    def _read(self, place: int) -> pa.RecordBatch:
        """Read a chunk; it is not mapped, since accessed parts of a map count as memory of this process."""
        self._file.flush()
        start, size = self._places[place]
        return pa.ipc.read_record_batch(pa.py_buffer(os.pread(self._file.fileno(), size, start)), self._schema)
