"""Single lines of large tables that are too large for the memory: laid out on disk, read by their number."""

from __future__ import annotations

import mmap
import tempfile
import weakref
from bisect import bisect_right
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterable

KEPT = 64
"""Batches that are kept open; they are no copies, but views of the file."""


class Lines:
    """The lines of some batches of one schema, in a temporary file."""

    def __init__(self, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> None:
        """Lay them out."""
        self._schema = schema
        self._file = tempfile.TemporaryFile(prefix="dagster-gptimg-lines-")  # noqa: SIM115 - closed with this object
        weakref.finalize(self, self._file.close)
        self._starts, self._places, self._count = list[int](), list[tuple[int, int]](), 0
        self._map: mmap.mmap | None = None
        self._open: OrderedDict[int, pa.RecordBatch] = OrderedDict()
        for batch in batches:
            self.add(batch)

    def add(self, batch: pa.RecordBatch) -> None:
        """More lines, behind the others."""
        if batch.num_rows:
            data = batch.serialize()
            self._starts.append(self._count)
            self._places.append((self._file.seek(0, 2), data.size))
            self._count += batch.num_rows
            self._file.write(data)
            self._map = None

    def get(self, number: int) -> dict[str, Any]:
        """One line, by its number from 0."""
        place = bisect_right(self._starts, number) - 1
        row: dict[str, Any] = self._batch(place).slice(number - self._starts[place], 1).to_pylist()[0]
        return row

    def _batch(self, place: int) -> pa.RecordBatch:
        found = self._open.get(place)
        if found is None:
            start, size = self._places[place]
            found = pa.ipc.read_record_batch(
                pa.py_buffer(memoryview(self._mapped())[start : start + size]), self._schema
            )
            self._open[place] = found
            if len(self._open) > KEPT:
                self._open.popitem(last=False)
        return found

    def _mapped(self) -> mmap.mmap:
        if self._map is None:
            self._file.flush()
            self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        return self._map
