"""Digests in sorted columns: a map to numbers needs 16 bytes per entry (a dict over 100), a count needs 8.

In the map, 96 bits of a hash identify a row's id or a request's key: among a billion of them, the probability that two
collide is one in a hundred billion.
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
"""Bytes of a digest that are compared."""

KEY = 32
"""Bytes of a request key, which is a SHA-256."""

BUCKETS = 4096
"""Number of sorted columns, so that each stays short: a digest is inserted into one of them."""

PARTS = 32
"""Number of parts in which many digests are looked up among many others."""

SLICE = 2**16

_PARTS = struct.Struct("=QI")
_HIGH = struct.Struct("=Q")
_VALUE = 2**32 - 1
_EMPTY = array("Q")
"""Shared content of empty buckets: most maps stay small, and making 8,192 arrays takes 4 ms."""


def digest_of(text: str) -> bytes:
    """Return a digest of `SIZE` bytes that identifies a text among very many."""
    return hashlib.blake2b(text.encode(), digest_size=SIZE).digest()


def _highs(keys: bytes) -> memoryview:
    """Return the first 64 bits of each key."""
    return memoryview(keys).cast("Q")[:: KEY // 8]


def _lows(keys: bytes) -> memoryview:
    """Return the next 32 bits of each key."""
    return memoryview(keys).cast("I")[2 :: KEY // 4]


def digests_of(keys: bytes) -> Iterator[tuple[int, int]]:
    """Yield the digest of each key as (first 64 bits, next 32 bits). Keys are concatenated, 32 bytes each."""
    return zip(_highs(keys), _lows(keys), strict=True)


class Digests:
    """Digests in order, 12 bytes each, for looking up many at once among many others."""

    def __init__(self) -> None:
        self._high, self._low = array("Q"), array("I")

    def __len__(self) -> int:
        return len(self._high)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._high, self._low, strict=True)

    def extend(self, keys: bytes) -> None:
        """Append the digests of concatenated keys, 32 bytes each."""
        self._high.frombytes(_highs(keys).tobytes())
        self._low.frombytes(_lows(keys).tobytes())

    def places_in(self, known: Digests) -> array[int] | None:
        """Return the index of each digest in `known`; -1 if it is not there. None if `known` may have duplicates.

        Faster than a `DigestMap`, which works one by one. Done in parts, so that Arrow's tables stay small.
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
    """Return the indices of the digests of one part, and their first 64 bits; read slice by slice to limit memory."""
    places, found = [pa.array([], pa.uint64())], [pa.array([], pa.uint64())]
    for start in range(0, len(highs), SLICE):
        some = _column(pa.uint64(), highs).slice(start, SLICE)
        inside = pc.indices_nonzero(pc.equal(pc.bit_wise_and(some, pa.scalar(PARTS - 1, pa.uint64())), part))
        places.append(pc.add(inside, pa.scalar(start, pa.uint64())))
        found.append(some.take(inside))
    return pa.concat_arrays(places), pa.concat_arrays(found)


class DigestMap:
    """Map from digests to numbers from 0 to 2^32 - 1. Entries are never removed."""

    def __init__(self) -> None:
        self._high = [_EMPTY] * BUCKETS
        self._rest = [_EMPTY] * BUCKETS  # the digest's last 32 bits, and the number
        self._size = self._numbered = 0

    def __len__(self) -> int:
        return self._size

    def get(self, digest: bytes) -> int | None:
        """Return the number of a digest of at least 12 bytes; None if it has none."""
        high, low = _PARTS.unpack_from(digest)
        number = self._number(high, low)
        return None if number < 0 else number

    def setdefault(self, digest: bytes, value: int) -> int:
        """Return the number of a digest; set it to `value` if it has none."""
        high, low = _PARTS.unpack_from(digest)
        return self._set(high, low, value)

    def find(self, digests: Iterable[tuple[int, int]]) -> list[int]:
        """Return the numbers of several digests; -1 for one that has none."""
        return [self._number(high, low) for high, low in digests]

    def extend(self, digests: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        """Number digests from 0, or from where the last call ended; yield (number, first number) for known ones.

        Consume the iterator completely: a digest gets its number only when it is reached.
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
        """Return the position of a digest in its bucket.

        The inverted (`~`) position for insertion if it is not there.
        """
        column, rest = self._high[high % BUCKETS], self._rest[high % BUCKETS]
        first = place = bisect_left(column, high)
        while place < len(column) and column[place] == high:
            if rest[place] >> 32 == low:
                return place
            place += 1
        return ~first


class DigestCounts:
    """Counts of digests: 8 bytes for each counted digest.

    By 64 bits of them: among a million, the probability that two collide is one in 40 million. The second of two
    colliding requests gets the key of a second copy as long as the first one is before it in its table: if that row is
    removed later, the second is bought again.
    """

    def __init__(self) -> None:
        self._columns = [_EMPTY] * BUCKETS

    def of(self, digest: bytes) -> int:
        """Return how often a digest (of at least 8 bytes) was counted."""
        (high,) = _HIGH.unpack_from(digest)
        column = self._columns[high % BUCKETS]
        first = bisect_left(column, high)
        if first == len(column) or column[first] != high:
            return 0
        return bisect_right(column, high, first) - first

    def count(self, digest: bytes) -> int:
        """Count a digest; return how often it was counted before."""
        return self._count(_HIGH.unpack_from(digest))[0]

    def count_all(self, keys: bytes) -> list[int]:
        """Count the digests of concatenated keys, 32 bytes each; return how often each was counted before."""
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
