"""Digests in sorted columns: a map to numbers takes 16 bytes an entry, where a dict takes over 100; a count takes 8.

In the map, 96 bits of a hash stand for a row's id or a request's key: among a billion of them, the odds that two
different ones meet are one in a hundred billion.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left, bisect_right

SIZE = 12
"""Bytes of a digest that count."""

BUCKETS = 4096
"""A digest is inserted into a sorted column; with so many of them, none gets long."""

_PARTS, _HIGH = struct.Struct("<QI"), struct.Struct("<Q")
_VALUE = 2**32 - 1
_EMPTY = array("Q")
"""Stands in every bucket until something goes into it: most maps stay small, and 8,192 arrays take 4 ms to make."""


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
        (high,) = _HIGH.unpack_from(digest)
        column = self._columns[high % BUCKETS]
        if column is _EMPTY:
            column = self._columns[high % BUCKETS] = array("Q")
        place = bisect_right(column, high)
        column.insert(place, high)
        if not place or column[place - 1] != high:
            return 0
        return place - bisect_left(column, high, 0, place)
