"""Digests in sorted columns: a map to numbers takes 16 bytes an entry, where a dict takes over 100; a count takes 8.

In the map, 96 bits of a hash stand for a row's id or a request's key: among a billion of them, the odds that two
different ones meet are one in a hundred billion.
"""

from __future__ import annotations

import hashlib
import struct
from array import array
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SIZE = 12
"""Bytes of a digest that count."""

KEY = 32
"""Bytes of a request's key, which is a SHA-256."""

BUCKETS = 4096
"""A digest is inserted into a sorted column; with so many of them, none gets long."""

PARTS = 32
"""Parts in which many digests are looked for among many others."""

SLICE = 2**16

_PARTS, _HIGH = struct.Struct("=QI"), struct.Struct("=Q")
_VALUE = 2**32 - 1
_EMPTY = array("Q")
"""Stands in every bucket until something goes into it: most maps stay small, and 8,192 arrays take 4 ms to make."""


def digest_of(text: str) -> bytes:
    """A digest of `SIZE` bytes by which very many texts are told apart."""
    return hashlib.blake2b(text.encode(), digest_size=SIZE).digest()


def _highs(keys: bytes) -> memoryview:
    """The first 64 bits of each key."""
    return memoryview(keys).cast("Q")[:: KEY // 8]


def _lows(keys: bytes) -> memoryview:
    """The next 32 bits of each key."""
    return memoryview(keys).cast("I")[2 :: KEY // 4]


def digests_of(keys: bytes) -> Iterator[tuple[int, int]]:
    """The digest of each key: its first 64 bits, and the next 32. Keys have 32 bytes and stand one behind the other."""
    return zip(_highs(keys), _lows(keys), strict=True)


class Digests:
    """Digests in their order, 12 bytes each: many that are looked for among many others, all at once."""

    def __init__(self) -> None:
        """None yet."""
        self._high, self._low = array("Q"), array("I")

    def __len__(self) -> int:
        return len(self._high)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._high, self._low, strict=True)

    def extend(self, keys: bytes) -> None:
        """Those of more keys, one behind the other, each of 32 bytes."""
        self._high.frombytes(_highs(keys).tobytes())
        self._low.frombytes(_lows(keys).tobytes())

    def places_in(self, known: Digests) -> array[int] | None:
        """Where each of them stands among others; -1 for one that does not. None when two of the others may be one.

        Quicker than a `DigestMap`, which is made and asked one by one. Part by part, so that Arrow's tables stay small.
        """
        found = array("i", [-1]) * len(self)
        for part in range(PARTS):
            there, highs = _part(known._high, part)
            if len(highs.unique()) != len(highs):
                return None
            mine, wanted = _part(self._high, part)
            numbers = there.take(pc.index_in(wanted, value_set=highs))
            lows = _column(pa.uint32(), known._low).take(numbers)
            is_same = pc.equal(lows, _column(pa.uint32(), self._low).take(mine))
            for place, number in zip(
                mine.filter(is_same).to_pylist(), numbers.filter(is_same).to_pylist(), strict=True
            ):
                found[place] = number
        return found


def _column(kind: pa.DataType, values: array[int]) -> pa.Array:
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(values)])


def _part(highs: array[int], part: int) -> tuple[pa.Array, pa.Array]:
    """Where the digests of one part are, and their first 64 bits; picked out of a slice at a time, to hold little."""
    places, found = [pa.array([], pa.uint64())], [pa.array([], pa.uint64())]
    for start in range(0, len(highs), SLICE):
        some = _column(pa.uint64(), highs).slice(start, SLICE)
        inside = pc.indices_nonzero(pc.equal(pc.bit_wise_and(some, pa.scalar(PARTS - 1, pa.uint64())), part))
        places.append(pc.add(inside, pa.scalar(start, pa.uint64())))
        found.append(some.take(inside))
    return pa.concat_arrays(places), pa.concat_arrays(found)


class DigestMap:
    """Numbers from 0 to 2^32 - 1 by digest. No entry is ever removed."""

    def __init__(self) -> None:
        """None yet."""
        self._high = [_EMPTY] * BUCKETS
        self._rest = [_EMPTY] * BUCKETS  # the digest's last 32 bits, and the number
        self._size = self._numbered = 0

    def __len__(self) -> int:
        return self._size

    def get(self, digest: bytes) -> int | None:
        """The number of a digest of 12 bytes at least; None when it has none."""
        high, low = _PARTS.unpack_from(digest)
        number = self._number(high, low)
        return None if number < 0 else number

    def setdefault(self, digest: bytes, value: int) -> int:
        """The number of a digest; `value`, from now on, when it has none."""
        high, low = _PARTS.unpack_from(digest)
        return self._set(high, low, value)

    def find(self, digests: Iterable[tuple[int, int]]) -> list[int]:
        """The numbers of many digests; -1 for one that has none."""
        return [self._number(high, low) for high, low in digests]

    def extend(self, digests: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        """Number many digests from 0 on, or from where the last call ended; for a known one (its number, its first).

        Iterate to the end: a digest has its number when its turn has come.
        """
        for value, (high, low) in enumerate(digests, self._numbered):
            self._numbered = value + 1
            first = self._set(high, low, value)
            if first != value:
                yield value, first

    def _number(self, high: int, low: int) -> int:
        place = self._place(high, low)
        return -1 if place < 0 else int(self._rest[high % BUCKETS][place] & _VALUE)

    def _set(self, high: int, low: int, value: int) -> int:
        place = self._place(high, low)
        if place >= 0:
            return int(self._rest[high % BUCKETS][place] & _VALUE)
        self._insert(~place, high, low, value)
        return value

    def _insert(self, place: int, high: int, low: int, value: int) -> None:
        bucket = high % BUCKETS
        if self._high[bucket] is _EMPTY:
            self._high[bucket], self._rest[bucket] = array("Q"), array("Q")
        self._high[bucket].insert(place, high)
        self._rest[bucket].insert(place, low << 32 | value)
        self._size += 1

    def _place(self, high: int, low: int) -> int:
        """Where a digest is in its bucket; where it would be, inverted (`~`), when it is not there."""
        column, rest = self._high[high % BUCKETS], self._rest[high % BUCKETS]
        first = place = bisect_left(column, high)
        while place < len(column) and column[place] == high:
            if rest[place] >> 32 == low:
                return place
            place += 1
        return ~first


class DigestCounts:
    """How often digests were counted: 8 bytes for each time.

    By 64 bits of them: among a million, the odds that two different ones meet are one in 40 million. The second of two
    requests that meet has the key of a second copy, as long as the first one stands before it in its table: should that
    row be removed later, this one is bought again.
    """

    def __init__(self) -> None:
        """Nothing was counted yet."""
        self._columns = [_EMPTY] * BUCKETS

    def of(self, digest: bytes) -> int:
        """How often a digest (of 8 bytes at least) was counted."""
        (high,) = _HIGH.unpack_from(digest)
        column = self._columns[high % BUCKETS]
        first = bisect_left(column, high)
        if first == len(column) or column[first] != high:
            return 0
        return bisect_right(column, high, first) - first

    def count(self, digest: bytes) -> int:
        """How often a digest was counted before; it is counted."""
        return self._count(_HIGH.unpack_from(digest))[0]

    def count_all(self, keys: bytes) -> list[int]:
        """That for many keys, one behind the other, each of 32 bytes."""
        return self._count(_highs(keys))

    def _count(self, highs: Iterable[int]) -> list[int]:
        columns, found = self._columns, list[int]()
        for high in highs:
            column = columns[high % BUCKETS]
            if column is _EMPTY:
                column = columns[high % BUCKETS] = array("Q")
            place = bisect_right(column, high)
            column.insert(place, high)
            is_new = not place or column[place - 1] != high
            found.append(0 if is_new else place - bisect_left(column, high, 0, place))
        return found
