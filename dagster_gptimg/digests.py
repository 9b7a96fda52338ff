"""Digests in sorted columns: a map to numbers takes 16 bytes an entry, where a dict takes over 100; a count takes 8.

In the map, 96 bits of a hash stand for a row's id or a request's key: among a billion of them, the odds that two
different ones meet are one in a hundred billion.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SIZE = 12
"""Bytes of a digest that count."""

KEY = 32
"""Bytes of a request's key, which is a SHA-256."""

BUCKETS = 4096
"""A digest is inserted into a sorted column; with so many of them, none gets long."""

_PARTS, _HIGH = struct.Struct("=QI"), struct.Struct("=Q")
_VALUE = 2**32 - 1
_EMPTY = array("Q")
"""Stands in every bucket until something goes into it: most maps stay small, and 8,192 arrays take 4 ms to make."""


def _highs(keys: bytes) -> memoryview:
    """The first 64 bits of each key."""
    return memoryview(keys).cast("Q")[:: KEY // 8]


def _parts(keys: bytes) -> Iterator[tuple[int, int]]:
    """The first 64 bits of each key, and the next 32."""
    return zip(_highs(keys), memoryview(keys).cast("I")[2 :: KEY // 4], strict=True)


class DigestMap:
    """Numbers from 0 to 2^32 - 1 by digest. No entry is ever removed."""

    def __init__(self) -> None:
        """None yet."""
        self._high = [_EMPTY] * BUCKETS
        self._rest = [_EMPTY] * BUCKETS  # the digest's last 32 bits, and the number
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def get(self, digest: bytes) -> int | None:
        """The number of a digest of 12 bytes at least; None when it has none."""
        high, low = _PARTS.unpack_from(digest)
        place = self._place(high, low)
        return None if place < 0 else int(self._rest[high % BUCKETS][place] & _VALUE)

    def setdefault(self, digest: bytes, value: int) -> int:
        """The number of a digest; `value`, from now on, when it has none."""
        high, low = _PARTS.unpack_from(digest)
        return self._set(high, low, value)

    def find(self, keys: bytes) -> list[int]:
        """The numbers of many keys, one behind the other, each of 32 bytes; -1 for one that has none.

        What `get` does, without a call for each: a run asks for a million of them.
        """
        columns, rests, found = self._high, self._rest, list[int]()
        for high, low in _parts(keys):
            column, rest = columns[high % BUCKETS], rests[high % BUCKETS]
            place, end, number = bisect_left(column, high), len(column), -1
            while place < end and column[place] == high:
                if rest[place] >> 32 == low:
                    number = rest[place] & _VALUE
                    break
                place += 1
            found.append(number)
        return found

    def extend(self, keys: bytes, number: int) -> Iterator[tuple[int, int]]:
        """Number many keys, one behind the other, from `number` on; yields (its number, its first one) for a known key.

        Iterate to the end: a key has its number when its turn has come.
        """
        columns, rests = self._high, self._rest
        for value, (high, low) in enumerate(_parts(keys), number):
            bucket = high % BUCKETS
            column = columns[bucket]
            place = bisect_left(column, high)
            if place < len(column) and column[place] == high:
                first = self._set(high, low, value)
                if first != value:
                    yield value, first
            elif column is _EMPTY:
                self._insert(0, high, low, value)
            else:
                column.insert(place, high)
                rests[bucket].insert(place, low << 32 | value)
                self._size += 1

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
