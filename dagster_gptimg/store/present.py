"""Which image files are there: one listing by prefix, eight bytes a file."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING

from dagster_gptimg.store.parallel import side_by_side

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagster_gptimg.store.dataset import Dataset

BUCKETS = 256


def image_paths(dataset: Dataset) -> Iterator[str]:
    """The paths of all image files of a dataset, relative to it. Raises `StoreError`."""
    folder = f"{dataset.folder}/images"
    prefixes = dataset.store.names(folder)
    store = dataset.store
    for prefix, names in side_by_side(store, lambda prefix: store.names(f"{folder}/{prefix}"), prefixes):
        for name in names:
            yield f"images/{prefix}/{name}"


class PresentImages:
    """The image files that are there; a million of them are 8 MB. Paths are known by this process's `hash` of them."""

    def __init__(self, dataset: Dataset) -> None:
        """List them. Raises `StoreError`."""
        self._hashes = [array("q") for _ in range(BUCKETS)]
        for path in map(hash, image_paths(dataset)):
            self._hashes[path % BUCKETS].append(path)
        for number, bucket in enumerate(self._hashes):
            self._hashes[number] = array("q", sorted(bucket))

    def has(self, path_hash: int) -> bool:
        """Whether a file with this hash of its path (relative to the dataset) is there."""
        bucket = self._hashes[path_hash % BUCKETS]
        place = bisect_left(bucket, path_hash)
        return place < len(bucket) and bucket[place] == path_hash
