"""Single lines of large tables that are too large for the memory: laid out on disk, read by their number."""

from __future__ import annotations

import os
import weakref
from bisect import bisect_right
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dagster_gptimg.temporary_files import temporary_file

if TYPE_CHECKING:
    from collections.abc import Iterable

CHUNK = 128
"""Lines that lie together."""

KEPT = 64
"""Chunks that are kept; so far apart may lines be that are asked for one after the other, and be read only once."""

Line = dict[str, Any]


class Lines:
    """The lines of some batches of one schema, in a temporary file.

    Who asks for two lines of a chunk soon asks for the others, too: then all of it is made Python's at once, which
    costs far less than line by line. Whoever jumps about pays for single lines.
    """

    def __init__(self, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> None:
        """Lay them out. Raises `TemporaryError`."""
        self._schema = schema
        self._file = temporary_file()
        weakref.finalize(self, self._file.close)
        self._starts, self._places, self._count, self._end = list[int](), list[tuple[int, int]](), 0, 0
        self._kept: OrderedDict[int, pa.RecordBatch | list[Line]] = OrderedDict()
        for batch in batches:
            self.add(batch)

    def add(self, batch: pa.RecordBatch) -> None:
        """More lines, behind the others. Raises `TemporaryError`."""
        for start in range(0, batch.num_rows, CHUNK):
            chunk = batch.slice(start, CHUNK)
            data = chunk.serialize()
            self._file.write(data)
            self._starts.append(self._count)
            self._places.append((self._end, data.size))
            self._count, self._end = self._count + chunk.num_rows, self._end + data.size

    def get(self, number: int) -> Line:
        """One line, by its number from 0."""
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

    def _read(self, place: int) -> pa.RecordBatch:
        """A chunk; not mapped, since whatever was touched of a map counts as memory of this process."""
        self._file.flush()
        start, size = self._places[place]
        return pa.ipc.read_record_batch(pa.py_buffer(os.pread(self._file.fileno(), size, start)), self._schema)
