"""The existing image files and their sizes: one listing by prefix, compared with the recorded ones."""

from __future__ import annotations

import weakref
from array import array
from collections import defaultdict
from itertools import repeat
from typing import IO, TYPE_CHECKING

from dagster_gptimg.store.layout import IMAGE_FOLDER, IMAGES, images_folder
from dagster_gptimg.store.parallel import side_by_side
from dagster_gptimg.temporary_files import temporary_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dagster_gptimg.store.dataset import Dataset

_NONE = -1

HELD = 2**15
"""Maximum images in memory before they are moved to a temporary file."""


def image_paths(dataset: Dataset) -> Iterator[str]:
    """Yield the paths of all image files of a dataset, relative to it. Raises `StoreError`."""
    store, folder = dataset.store, f"{dataset.folder}/{IMAGES}"
    for prefix, names in side_by_side(store, lambda prefix: store.names(f"{folder}/{prefix}"), store.names(folder)):
        yield from map(f"{images_folder(prefix)}/".__add__, names)


class WantedImages:
    """The expected images, by this process's `hash` of their paths relative to the dataset, and their sizes.

    Each takes sixteen bytes in a temporary file, ordered by prefix; few are in memory.
    """

    def __init__(self) -> None:
        self._held: defaultdict[str, array[int]] = defaultdict(lambda: array("q"))
        self._count = 0
        self._file: IO[bytes] | None = None
        self._spilled: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)

    def add(self, paths: Iterable[str], sizes: Iterable[int | None] = repeat(None)) -> None:
        """Add expected images with their sizes in bytes; None if not known."""
        held = self._held
        for path, size in zip(paths, sizes, strict=False):
            held[path[IMAGE_FOLDER]].extend((hash(path), _NONE if size is None else size))
            self._count += 1
        if self._count >= HELD:
            self._spill()

    def missing(self, dataset: Dataset) -> set[int]:
        """Return the numbers of images whose file is missing, truncated or replaced. Raises `StoreError`."""
        missing, left = set[int](), self._held.keys() | self._spilled.keys()
        for prefix, there in _by_prefix(dataset) if left else ():
            for path, size in self._wanted(prefix).items() - there.items():
                known = there.get(path, _NONE)
                if known == _NONE or (known is not None and size != _NONE):
                    missing.add(path)
            left.discard(prefix)
        return missing.union(*map(self._wanted, left))

    def _spill(self) -> None:
        if self._file is None:
            self._file = temporary_file()
            weakref.finalize(self, self._file.close)
        for prefix, numbers in self._held.items():
            self._spilled[prefix].append((self._file.tell(), len(numbers)))
            self._file.write(numbers)
        self._held.clear()
        self._count = 0

    def _wanted(self, prefix: str) -> dict[int, int]:
        found = array("q", self._held.get(prefix, ()))
        for start, count in self._spilled.get(prefix, ()):
            if self._file is not None:
                self._file.seek(start)
                found.fromfile(self._file, count)
        return dict(zip(found[::2], found[1::2], strict=True))


def _by_prefix(dataset: Dataset) -> Iterator[tuple[str, dict[int, int | None]]]:
    """Yield, by prefix, the existing files: the hash of each path, and its size if the store provides it."""
    store, folder = dataset.store, f"{dataset.folder}/{IMAGES}"
    for prefix, sizes in side_by_side(store, lambda prefix: store.sizes(f"{folder}/{prefix}"), store.names(folder)):
        path = images_folder(prefix)
        yield path, dict(zip(map(hash, map(f"{path}/".__add__, sizes)), sizes.values(), strict=True))
