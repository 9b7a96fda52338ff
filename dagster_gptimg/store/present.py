"""Which image files are there: one listing by prefix, against eight bytes for each image that should be there."""

from __future__ import annotations

from array import array
from collections import defaultdict
from typing import TYPE_CHECKING

from dagster_gptimg.store.parallel import side_by_side

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dagster_gptimg.store.dataset import Dataset

_PREFIX = len("images/ab")


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
    """Images that should be there, by this process's `hash` of their paths relative to the dataset."""

    def __init__(self) -> None:
        """None yet."""
        self._hashes: defaultdict[str, array[int]] = defaultdict(lambda: array("q"))

    def add(self, paths: Iterable[str]) -> None:
        """More of them."""
        hashes = self._hashes
        for path in paths:
            hashes[path[:_PREFIX]].append(hash(path))

    def missing(self, dataset: Dataset) -> set[int]:
        """Those of which no file is there. Raises `StoreError`."""
        if not self._hashes:
            return set()
        missing, looked_at = set[int](), set[str]()
        for prefix, paths in _by_prefix(dataset):
            missing.update(set(self._hashes.get(prefix, ())).difference(map(hash, paths)))
            looked_at.add(prefix)
        return missing.union(*(self._hashes[prefix] for prefix in self._hashes.keys() - looked_at))
