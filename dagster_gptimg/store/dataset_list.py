"""The datasets of a store, and the check that none is within another one's folders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagster_gptimg.errors import UsageError
from dagster_gptimg.store.dataset import Dataset
from dagster_gptimg.store.layout import ABOUT, RESERVED, check_dataset

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagster_gptimg.store.root import Store

DEEPEST = 8
"""Maximum parts of a dataset's name."""

FOLDERS_MOST = 20_000
"""Maximum folders that are searched: a store has fewer, and a whole disk more."""


def datasets_in(store: Store) -> list[Dataset]:
    """Return all datasets of a store, by name: each folder with a `dataset.json`.

    Raises:
        UsageError: there are more folders than a store has.
        StoreError: the store cannot be listed.
    """
    return [Dataset(store, name) for name in sorted(_Walk(store).below("", 0))]


def check_place(dataset: Dataset) -> None:
    """Check that no dataset is within the folders of another one, since each would treat the other's files as its own.

    The store's root may also be within a dataset. Blocks.

    Raises:
        UsageError: a dataset is; nothing was sent.
        StoreError: the store cannot be used.
    """
    store, parts = dataset.store, f"{dataset.store.root}/{dataset.folder}".split("/")
    for number, part in enumerate(parts[1:], 1):
        outer = "/".join(parts[:number])
        if part in RESERVED and store.fs.exists(f"{outer}/{ABOUT}"):
            raise UsageError(
                f"{store.uri(dataset.folder)} is within the dataset {outer!r}, which has its {part} there. Use "
                "another name (dataset=, --dataset), or another store. Nothing was sent"
            )
    if dataset.origin() is None:
        there = RESERVED.intersection(store.folders(dataset.folder))
        for name in sorted(there):
            inner = next(_Walk(store).below(f"{dataset.folder}/{name}", 0), None)
            if inner is not None:
                raise UsageError(
                    f"the dataset {inner!r} is where a dataset {dataset.name!r} would have its {name}. Use another "
                    "name (dataset=, --dataset). Nothing was sent"
                )


class _Walk:
    def __init__(self, store: Store) -> None:
        self._store, self._seen = store, 0

    def below(self, folder: str, depth: int) -> Iterator[str]:
        """Yield the names of the datasets in a folder of the store."""
        self._seen += 1
        if self._seen > FOLDERS_MOST:
            msg = f"{self._store.uri('')} has more than {FOLDERS_MOST} folders: name a dataset, or the store itself"
            raise UsageError(msg)
        is_dataset = bool(folder) and ABOUT in self._store.names(folder, ABOUT)
        if is_dataset:
            yield folder
        for name in self._store.folders(folder) if depth < DEEPEST else ():
            inner = f"{folder}/{name}" if folder else name
            if not (is_dataset and name in RESERVED) and _is_name(inner):
                yield from self.below(inner, depth + 1)


def _is_name(name: str) -> bool:
    try:
        check_dataset(name)
    except UsageError:
        return False
    return True
