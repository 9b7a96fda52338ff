"""A dataset that is not there is told in one way, with those that there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagster_gptimg.errors import UsageError
from dagster_gptimg.prompts.quoting import listed, meant
from dagster_gptimg.store.dataset_list import datasets_in

if TYPE_CHECKING:
    from dagster_gptimg.store.dataset import Dataset


def check_exists(dataset: Dataset) -> None:
    """Make sure that a dataset is in its store. Blocks.

    Raises:
        UsageError: it is not; the others of the store are named.
        StoreError: the store cannot be used.
    """
    if dataset.origin() is None:
        raise UsageError(f"there is no dataset {dataset.name!r} in this store{others(dataset)}")


def others(dataset: Dataset) -> str:
    """The other datasets of a store in a sentence, for whoever has misspelt the name of one; empty when there are none.

    Raises `StoreError`. Blocks.
    """
    try:
        names = [found.name for found in datasets_in(dataset.store) if found.name != dataset.name]
    except UsageError:  # more folders than a store has: no help for a name
        return ""
    return f". There are {listed(names)}{meant(dataset.name, names)}" if names else ""
