"""Erasure: the content of a request is removed, its cost stays.

The only place where facts are written a second time, and only with less content: no step of the protocol uses the
removed parts, and a key that is done stays done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagster_gptimg.store.gallery_layout import GALLERIES_OF_PARTITIONS, PAGE_DATA, thumbnail_name
from dagster_gptimg.store.layout import GALLERY, prefix_of, receipts_folder
from dagster_gptimg.store.receipts.facts import Intent, parse_fact
from dagster_gptimg.store.receipts.receipts import parse_outcome
from dagster_gptimg.store.verdicts.verdicts import Verdicts

if TYPE_CHECKING:
    from datetime import datetime

    from pydantic import BaseModel

    from dagster_gptimg.store.dataset import Dataset
    from dagster_gptimg.store.layout import FactName


def erase(dataset: Dataset, key: str, now: datetime) -> list[str]:
    """Remove the bytes, prompt and arguments of a request that has ended, and the notes of verdicts on its images.

    Can be repeated. Outcomes first: from then on the key counts as erased, and is neither reused nor bought again. They
    keep cost, sizes and hashes.

    Returns:
        The ids of its requests at fal.

    Raises:
        StoreError: the store cannot be used; run it again.
    """
    ids: list[str] = []
    found = [(name, parsed) for name, parsed in dataset.receipts.names(key) if parsed.key == key]
    for name, parsed in sorted(found, key=lambda pair: pair[1].kind != "outcome"):
        path = f"{dataset.folder}/{receipts_folder(prefix_of(key))}/{name}"
        if parsed.kind == "outcome":
            ids.append(parsed.request_id)
            _erase_outcome(dataset, path, parsed, now)
        elif parsed.kind == "intent":
            intent = parse_fact(Intent, dataset.store.read(path), path)
            less = intent.model_copy(update={"arguments": {}, "row_id": ""})
            dataset.store.write(path, _as_read(less))
    Verdicts(dataset).erase(key)
    return ids


def _erase_outcome(dataset: Dataset, path: str, name: FactName, now: datetime) -> None:
    outcome = parse_outcome(dataset.store.read(path), path, name)
    said = {} if outcome.details is None else {"details": None}
    less = outcome.model_copy(update={"error": None, "erased_at": outcome.erased_at or now, **said})
    dataset.store.write(path, _as_read(less))
    for image in outcome.images:
        dataset.store.delete(f"{dataset.folder}/{image.path}")
        dataset.store.delete(f"{dataset.folder}/{thumbnail_name(image.sha256)}")


def remove_galleries(dataset: Dataset) -> int:
    """Remove a dataset's galleries, which hold prompts; return the number of removed files. Raises `StoreError`.

    They are derived. Copies of galleries elsewhere are not known here.
    """
    store, removed = dataset.store, 0
    partitions = store.folders(f"{dataset.folder}/{GALLERIES_OF_PARTITIONS}")
    for gallery in (GALLERY, *(f"{GALLERIES_OF_PARTITIONS}/{name}" for name in partitions)):
        for folder in (gallery, f"{gallery}/{PAGE_DATA}"):
            for name in store.sizes(f"{dataset.folder}/{folder}"):
                store.delete(f"{dataset.folder}/{folder}/{name}")
                removed += 1
    return removed


def _as_read(fact: BaseModel) -> bytes:
    """Return a fact as JSON, with no fields besides those that it was read with: its version has no others."""
    return fact.model_dump_json(exclude_unset=True).encode()


def is_ended(dataset: Dataset, key: str) -> bool:
    """Return, by file names alone, whether a key has outcomes, and each of its accepted requests has one."""
    names = [parsed for _, parsed in dataset.receipts.names(key) if parsed.key == key]
    ended = {(n.attempt, n.request_id) for n in names if n.kind == "outcome"}
    return bool(ended) and {(n.attempt, n.request_id) for n in names if n.kind == "accepted"} <= ended
