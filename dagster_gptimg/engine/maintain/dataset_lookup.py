"""The error for a dataset that does not exist, which lists the existing ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagster_gptimg.errors import UsageError
from dagster_gptimg.prompts.quoting import listed, meant
from dagster_gptimg.store.dataset_list import datasets_in

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
