"""Digests in columns: a million of them are 12 MB (16 once they can be looked up), where a Python set takes 100.

96 bits of a hash stand for a row's id, a request's key, a row's content: among a billion of them, the odds that two
different ones meet are one in a hundred billion.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZE = 12
"""Bytes of a digest that count."""

UNSORTED = 65_536
"""So many of the latest are kept in a dict beside the sorted ones, so that not each new one has all sorted anew."""

_PARTS = struct.Struct("<QI")


class Digests:
    """Digests in the order in which they come; an ordinal is a digest's place in that order, from 0."""

    def __init__(self) -> None:
        """None yet."""
        self._high, self._low = array("Q"), array("I")
        self._sorted_high, self._sorted_low, self._order = array("Q"), array("I"), array("I")
        self._latest: dict[tuple[int, int], list[int]] = {}
        self._seen = 0  # so many are sorted, or among the latest

    def __len__(self) -> int:
        return len(self._high)

    def add(self, digest: bytes) -> None:
        """One more, of 12 bytes at least."""
        high, low = _PARTS.unpack_from(digest)
        self._high.append(high)
        self._low.append(low)

    def cut(self, length: int) -> None:
        """Keep the first so many only."""
        del self._high[length:], self._low[length:]
        self._sort()

    def repeats(self) -> Iterator[tuple[int, int, int]]:
        """Every digest that was there before, as (its ordinal, that of the first, how many were before).

        Equal ones come in the order in which they were added.
        """
        order = pc.sort_indices(_column(self._high))
        high = _column(self._high).take(order)
        again = pc.indices_nonzero(pc.equal(high.slice(1), high.slice(0, max(len(high) - 1, 0)))).to_pylist()
        alike: dict[tuple[int, int], tuple[int, int]] = {}
        last = -2
        for place in again:  # `place + 1` has the same first 64 bits as `place`
            if place - 1 != last:
                alike.clear()
                first = order[place].as_py()
                alike[self._high[first], self._low[first]] = (first, 1)
            last, ordinal = place, order[place + 1].as_py()
            digest = self._high[ordinal], self._low[ordinal]
            first, count = alike.get(digest, (ordinal, 0))
            alike[digest] = (first, count + 1)
            if count:
                yield ordinal, first, count

    def find(self, digest: bytes) -> list[int]:
        """The ordinals of all that equal this one, in their order."""
        if self._seen < len(self._high):
            self._look_at_the_latest()
        high, low = _PARTS.unpack_from(digest)
        highs, place, found = self._sorted_high, bisect_left(self._sorted_high, high), list[int]()
        while place < len(highs) and highs[place] == high:
            if self._sorted_low[place] == low:
                found.append(self._order[place])
            place += 1
        return found + self._latest.get((high, low), []) if self._latest else found

    def _look_at_the_latest(self) -> None:
        if len(self._high) - len(self._order) > UNSORTED:
            self._sort()
        for ordinal in range(self._seen, len(self._high)):
            self._latest.setdefault((self._high[ordinal], self._low[ordinal]), []).append(ordinal)
        self._seen = len(self._high)

    def _sort(self) -> None:
        order = pc.sort_indices(_column(self._high)).cast(pa.uint32())
        self._sorted_high = _array("Q", _column(self._high).take(order))
        self._sorted_low = _array("I", _column(self._low).take(order))
        self._order = _array("I", order)
        self._latest, self._seen = {}, len(self._order)


def sorted_column(values: array[int]) -> array[int]:
    """The same numbers, sorted; no Python object a number."""
    column = _column(values)
    return _array(values.typecode, column.take(pc.sort_indices(column)))


_TYPES = {"Q": pa.uint64(), "q": pa.int64(), "I": pa.uint32()}


def _column(values: array[int]) -> pa.Array:
    """The same numbers as Arrow sees them, without a copy."""
    return pa.Array.from_buffers(_TYPES[values.typecode], len(values), [None, pa.py_buffer(values)])


def _array(typecode: str, column: pa.Array) -> array[int]:
    found = array(typecode)
    found.frombytes(memoryview(column.buffers()[1])[: len(column) * found.itemsize])
    return found
