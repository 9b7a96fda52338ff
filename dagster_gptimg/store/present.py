"""Which image files are there: one listing by prefix, eight bytes a file."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from dagster_gptimg.digests import sorted_column

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagster_gptimg.store.dataset import Dataset

LISTINGS_AT_ONCE = 16


def image_paths(dataset: Dataset) -> Iterator[str]:
    """The paths of all image files of a dataset, relative to it. Raises `StoreError`."""
    folder = f"{dataset.folder}/images"
    prefixes = dataset.store.names(folder)
    with ThreadPoolExecutor(LISTINGS_AT_ONCE) as pool:
        listings = pool.map(lambda prefix: dataset.store.names(f"{folder}/{prefix}"), prefixes)
        for prefix, names in zip(prefixes, listings, strict=True):
            for name in names:
                yield f"images/{prefix}/{name}"


class PresentImages:
    """The image files that are there; a million of them are 8 MB."""

    def __init__(self, dataset: Dataset) -> None:
        """List them. Raises `StoreError`."""
        self._hashes = sorted_column(array("q", map(hash, image_paths(dataset))))

    def has(self, path_hash: int) -> bool:
        """Whether a file with this hash of its path (relative to the dataset, this process's `hash`) is there."""
        place = bisect_left(self._hashes, path_hash)
        return place < len(self._hashes) and self._hashes[place] == path_hash
