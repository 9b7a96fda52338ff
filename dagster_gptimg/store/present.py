"""Which image files are there: one listing by prefix, against what should be there."""

from __future__ import annotations

import weakref
from array import array
from collections import defaultdict
from typing import IO, TYPE_CHECKING

from dagster_gptimg.store.parallel import side_by_side
from dagster_gptimg.temporary import temporary_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dagster_gptimg.store.dataset import Dataset

_PREFIX = len("images/ab")

HELD = 2**15
"""Images that are in memory before they are spilled."""


def image_paths(dataset: Dataset) -> Iterator[str]:
    """The paths of all image files of a dataset, relative to it. Raises `StoreError`."""
    for _, paths in _by_prefix(dataset):
        yield from paths


def _by_prefix(dataset: Dataset) -> Iterator[tuple[str, Iterable[str]]]:
    folder = f"{dataset.folder}/images"
    prefixes = dataset.store.names(folder)
    store = dataset.store
    for prefix, names in side_by_side(store, lambda prefix: store.names(f"{folder}/{prefix}"), prefixes):
        yield f"images/{prefix}", map(f"images/{prefix}/".__add__, names)


class WantedImages:
    """Images that should be there, by this process's `hash` of their paths relative to the dataset.

    Eight bytes for each lie in a temporary file, by the prefix under which it will be listed; few are in memory.
    """

    def __init__(self) -> None:
        """None yet."""
        self._held: defaultdict[str, array[int]] = defaultdict(lambda: array("q"))
        self._count = 0
        self._file: IO[bytes] | None = None
        self._spilled: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)

    def add(self, paths: Iterable[str]) -> None:
        """More of them."""
        held = self._held
        for path in paths:
            held[path[:_PREFIX]].append(hash(path))
            self._count += 1
        if self._count >= HELD:
            self._spill()

    def missing(self, dataset: Dataset) -> set[int]:
        """Those of which no file is there. Raises `StoreError`."""
        missing, left = set[int](), self._held.keys() | self._spilled.keys()
        for prefix, paths in _by_prefix(dataset) if left else ():
            missing.update(self._wanted(prefix).difference(map(hash, paths)))
            left.discard(prefix)
        return missing.union(*map(self._wanted, left))

    def _spill(self) -> None:
        if self._file is None:
            self._file = temporary_file()
            weakref.finalize(self, self._file.close)
        for prefix, hashes in self._held.items():
            self._spilled[prefix].append((self._file.tell(), len(hashes)))
            self._file.write(hashes)
        self._held.clear()
        self._count = 0

    def _wanted(self, prefix: str) -> set[int]:
        found = set(self._held.get(prefix, ()))
        for start, count in self._spilled.get(prefix, ()):
            hashes = array("q")
            if self._file is not None:
                self._file.seek(start)
                hashes.fromfile(self._file, count)
            found.update(hashes)
        return found
