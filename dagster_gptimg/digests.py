"""A map from digests to numbers that takes 16 bytes an entry, where a dict takes over 100.

96 bits of a hash stand for a row's id, a request's key, a row's content: among a billion of them, the odds that two
different ones meet are one in a hundred billion.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left

SIZE = 12
"""Bytes of a digest that count."""

BUCKETS = 4096
"""A digest is inserted into a sorted column; with so many of them, none gets long."""

_PARTS = struct.Struct("<QI")
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

    def count(self, digest: bytes) -> int:
        """How often a digest was counted before; it is counted."""
        high, low = _PARTS.unpack_from(digest)
        place = self._place(high, low)
        if place < 0:
            self._insert(~place, high, low, 1)
            return 0
        rest = self._rest[high % BUCKETS]
        rest[place] += 1
        return int(rest[place] & _VALUE) - 1

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
