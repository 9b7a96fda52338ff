"""What is in memory of every line of the settled index.

A line takes 19 bytes (its key's digest, its kind, how many images it has, a version), and about as many again once
single keys are asked for.
"""

from __future__ import annotations

import zlib
from array import array
from decimal import Decimal
from itertools import repeat
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from dagster_gptimg.base.digest_columns import KEY, SIZE, DigestMap, Digests, digests_of
from dagster_gptimg.store.settled.rows import KINDS, Brief

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from dagster_gptimg.store.settled.rows import Settled

LINE_COLUMNS = ["key", "request_id", "kind", "images", "cost_usd"]
"""The columns of which something is in memory."""

PLACED = 2**16
"""Minimum number of keys that are looked up at a time: each time all lines are scanned."""

_MISSING = 128
"""Flag beside the kind: an image file differs from its record."""

_BRIEF = {n | gone: (kind, bool(gone)) for n, kind in enumerate(KINDS) for gone in (0, _MISSING)}


class KnownLines:
    """Lines by their numbers from 0, in the order in which they were added, and by their keys."""

    def __init__(self, read: Callable[[int], Settled]) -> None:
        """Make it without lines; `read` reads the whole of one, by its number."""
        self._read = read
        # Lines by their keys: all of them in their order, and those that have been asked for one by one in a map.
        self._keys, self._map, self._others = Digests(), DigestMap(), dict[int, list[int]]()
        self._kinds, self._images, self._versions = bytearray(), array("H"), array("I")

    def __len__(self) -> int:
        return len(self._kinds)

    def add(self, batch: pa.RecordBatch) -> None:
        """Add lines, of which `LINE_COLUMNS` are read. Raises `ValueError` when one of the keys is not a key."""
        self._keys.extend(_bytes_of(batch["key"]))
        counts, costs = pc.list_value_length(batch["images"]), batch["cost_usd"].cast(pa.string()).fill_null("None")
        self._images.extend(counts.to_pylist())
        self._kinds += bytes(map(KINDS.index, batch["kind"].to_pylist()))
        told = pc.binary_join_element_wise(batch["request_id"], costs, counts.cast(pa.string()), batch["kind"], "|")
        self._versions.extend(map(zlib.crc32, told.cast(pa.binary()).to_pylist()))

    def mark_missing(self, number: int) -> None:
        """Note that a file of a line's images is not there as it was stored."""
        self._kinds[number] |= _MISSING

    def get(self, key: str) -> Settled | None:
        """What is settled for a key; the line is read."""
        first = self._by_key().get(bytes.fromhex(key[: 2 * SIZE])) if self._kinds else None
        return None if first is None else self._read(self._most_known(self._best_of(first)))

    def brief(self, key: str) -> Brief | None:
        """What is settled for a key, in brief: nothing is read, unless the key has several lines."""
        return self.briefs(self._by_key().find(digests_of(bytes.fromhex(key))))[0] if self._kinds else None

    def briefs(self, places: Iterable[int]) -> list[Brief | None]:
        """Return the briefs of the keys at some `places`; None for one that is not in the index."""
        kinds, images, versions, others = self._kinds, self._images, self._versions, self._others
        found = list[Brief | None]()
        for first in places:
            if first < 0:
                found.append(None)
                continue
            number = self._most_known(self._best_of(first)) if first in others else first
            kind, is_missing = _BRIEF[kinds[number]]
            # `Brief(...)` is a call of Python for each of a million.
            found.append(tuple.__new__(Brief, (kind, images[number], is_missing, versions[number])))
        return found

    def numbers(self, places: Iterable[int]) -> list[int]:
        """Return the numbers of the lines of the keys at some `places`, all of which are in the index."""
        others = self._others
        return [self._most_known(self._best_of(first)) if first in others else first for first in places]

    def places(self, keys: Iterable[bytes]) -> Iterator[int]:
        """Where very many keys stand, for `briefs`: 32 bytes each, one behind the other; below 0: nowhere.

        Take as many as there are keys: where there are no lines, the keys are not counted.
        Many at once are found without a map of the lines; that is made when somebody asks for single keys.
        """
        if not self._kinds:
            yield from repeat(-1)
        wanted, most = Digests(), max(PLACED, len(self) // 4)
        for some in keys:
            wanted.extend(some)
            if len(wanted) >= most:
                yield from self._places(wanted)
                wanted = Digests()
        yield from self._places(wanted)

    def superseded(self) -> set[int]:
        """The numbers of the lines that another one of the same key goes before."""
        self._by_key()
        alike = ([first, *others] for first, others in self._others.items())
        return {number for numbers in alike for number in set(numbers) - {self._most_known(numbers)}}

    def _places(self, wanted: Digests) -> Sequence[int]:
        found = None if len(self._map) else wanted.places_in(self._keys)
        return self._by_key().find(wanted) if found is None else found

    def _by_key(self) -> DigestMap:
        """Return the map of the first lines of all keys, after adding lines that are not in it yet."""
        for number, first in self._map.extend(self._keys):
            self._others.setdefault(first, []).append(number)
        self._keys = Digests()
        return self._map

    def _best_of(self, first: int) -> list[int]:
        """The numbers of a key's lines that are of its best kind; `first` is the number of its first line."""
        found = [first, *self._others.get(first, ())]
        if len(found) > 1:
            kinds = [self._kinds[number] & ~_MISSING for number in found]
            found = [number for number, kind in zip(found, kinds, strict=True) if kind == max(kinds)]
        return found

    def _most_known(self, numbers: Sequence[int]) -> int:
        """Return the line of one key that says most: an erasure, then images, then a refusal.

        Knowledge about a key only grows: its cost is the sum over all its requests, so the larger cost is newer. Of two
        equal lines, the one with existing images is returned.
        """
        return numbers[0] if len(numbers) == 1 else max(numbers, key=self._knowledge)

    def _knowledge(self, number: int) -> tuple[int, Decimal, bool, int, int]:
        line, is_here = self._read(number), not self._kinds[number] & _MISSING
        cost = Decimal(-1) if line.cost_usd is None else line.cost_usd
        return KINDS.index(line.kind), cost, is_here, line.attempt, number


def _bytes_of(keys: pa.Array) -> bytes:
    """Convert keys in hex to concatenated bytes. Raises `ValueError` if one is not a key."""
    found = bytes.fromhex("".join(keys.to_pylist()))
    if pc.any(pc.not_equal(pc.utf8_length(keys), 2 * KEY)).as_py():
        raise ValueError("a key is not a SHA-256")
    return found
