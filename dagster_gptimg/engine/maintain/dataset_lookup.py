"""Whether a dataset, or a partition of it, exists; if not, the error names what there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagster_gptimg.errors import UsageError
from dagster_gptimg.prompts.quoting import listed, meant
from dagster_gptimg.store.dataset_list import datasets_in
from dagster_gptimg.store.layout import partition_folder
from dagster_gptimg.store.manifest import manifest_folders

if TYPE_CHECKING:
    from dagster_gptimg.store.dataset import Dataset


def check_exists(dataset: Dataset) -> None:
    """Check that a dataset exists in its store. Blocks.

    Raises:
        UsageError: it does not; the message names the other datasets.
        StoreError: the store cannot be used.
    """
    if dataset.origin() is None:
        raise UsageError(f"there is no dataset {dataset.name!r} in this store{others(dataset)}")


def others(dataset: Dataset) -> str:
    """Return a sentence with the other datasets of a store; empty if there are none. Raises `StoreError`. Blocks."""
    try:
        names = [found.name for found in datasets_in(dataset.store) if found.name != dataset.name]
    except UsageError:  # more folders than a store has: no help for a name
        return ""
    return f". The store has {listed(names)}{meant(dataset.name, names)}" if names else ""


def table_folders(dataset: Dataset, partition: str | None) -> list[str]:
    """Return the folders of a dataset's image tables, or that of one partition. Blocks.

    Raises:
        UsageError: there is none; the message names what there is.
        StoreError: the store cannot be used.
    """
    there = manifest_folders(dataset)
    folders = there if partition is None else [name for name in there if name == partition_folder(partition)]
    if not folders:
        where = "dataset" if partition is None else f"partition {partition!r} of dataset"
        hint = others(dataset) if partition is None else ""
        raise UsageError(f"{where} {dataset.name!r} has no image table in this store yet: run `generate` first{hint}")
    return folders
