"""Forget rows on request: their images, prompts and arguments are erased; their cost and hashes stay."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from dagster_gptimg.base.row_status import RowStatus
from dagster_gptimg.engine.maintain.all_takes import with_all_takes
from dagster_gptimg.engine.purchase_rules import owns_all
from dagster_gptimg.engine.record.results import EARLIER, settled_of
from dagster_gptimg.errors import UsageError
from dagster_gptimg.store.approved_table import erase_from_approved
from dagster_gptimg.store.erasure import erase, is_ended, remove_galleries
from dagster_gptimg.store.manifest import (
    about_of,
    manifest_folders,
    read_all_manifests,
    read_manifest_in,
    write_manifest_in,
)
from dagster_gptimg.store.manifest_columns import DETAILS
from dagster_gptimg.store.settled.index import SettledIndex
from dagster_gptimg.store.takes import families

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from dagster_gptimg.store.dataset import Dataset

_TEXTS = {"prompt": "", "uri": None, "arguments": "{}", "columns": "{}", "error": None, "verdict_note": None}
_NOTHING = dict.fromkeys(DETAILS) | _TEXTS


@dataclass(frozen=True, slots=True)
class Forgettable:
    """What would be erased with some rows.

    Attributes:
        keys: request keys.
        rows: the rows, sorted.
        shared: other rows that have the same requests, sorted: they are the same purchase.
        images: the number of their images that are in the store.
    """

    keys: list[str]
    rows: list[str]
    shared: list[str]
    images: int


@dataclass(frozen=True, slots=True)
class Forgotten:
    """The result of erasing rows.

    Attributes:
        request_ids: the erased requests at fal.
        had_galleries: whether galleries of the dataset, which held them, were removed.
    """

    request_ids: list[str]
    had_galleries: bool


def forgettable(dataset: Dataset, rows: Collection[str]) -> Forgettable:
    """Return what `forget` would erase with some rows; nothing is erased.

    Raises:
        UsageError: a row is in no manifest, or has not ended.
        StoreError: the store cannot be used.
    """
    table = _manifests(dataset)
    picked = table.filter(pc.is_in(table["row_id"], pa.array(sorted(rows), pa.string())))
    unknown = set(rows) - set(picked["row_id"].to_pylist())
    if unknown:
        msg = f"no manifest of dataset {dataset.name!r} has the row {', '.join(sorted(unknown)[:10])}"
        raise UsageError(msg)
    shown, takes = set(picked["request_key"].to_pylist()), families(dataset)
    keys = sorted({take for key in shown for take in takes.get(key, (key,))})
    open_keys = [key for key in keys if not is_ended(dataset, key)]
    if open_keys:
        msg = f"{len(open_keys)} requests of these rows have not ended: run `generate` until they have, then again"
        raise UsageError(msg)
    erased = table.filter(pc.is_in(table["request_key"], pa.array(keys, pa.string())))
    shared = set(erased["row_id"].to_pylist()) - set(rows)
    images = set(with_all_takes(dataset, erased)["uri"].drop_null().to_pylist())
    return Forgettable(keys, sorted(set(rows)), sorted(shared), len(images))


def forget(dataset: Dataset, wanted: Forgettable) -> Forgotten:
    """Erase images, prompts and arguments; the cost and hashes stay, and the rows are never bought again.

    All takes of a row are erased, with the notes of verdicts on their images, and the images leave the tables of
    approved images. Can be repeated after a failure.

    Args:
        dataset: the dataset.
        wanted: what is erased, from `forgettable`.

    Raises:
        StoreError: the store cannot be used.
    """
    now = datetime.now(UTC)
    ids = [request_id for key in wanted.keys for request_id in erase(dataset, key, now)]
    _note_in_index(dataset, wanted.keys, now)
    _erase_from_manifests(dataset, set(wanted.keys))
    erase_from_approved(dataset, wanted.keys)
    return Forgotten(ids, bool(remove_galleries(dataset)))


def _manifests(dataset: Dataset) -> pa.Table:
    try:
        return read_all_manifests(dataset)
    except FileNotFoundError as error:
        msg = f"dataset {dataset.name!r} has no manifest in this store"
        raise UsageError(msg) from error


def _note_in_index(dataset: Dataset, keys: list[str], now: datetime) -> None:
    lines = (settled_of(key, dataset.receipts.load(key), owns_all, EARLIER) for key in keys)
    index = SettledIndex(dataset.store, dataset.folder)
    index.load()
    name = f"{now:%Y%m%dT%H%M%S%f}-erased"
    index.write(name, [line for line in lines if line is not None])
    index.merge(f"{name}-merged", above=1)  # the lines of before have words about the images in them


def _erase_from_manifests(dataset: Dataset, keys: set[str]) -> None:
    for folder in manifest_folders(dataset):
        table = read_manifest_in(dataset, folder)
        if not keys.isdisjoint(table["request_key"].to_pylist()):
            write_manifest_in(dataset, folder, _without(table, keys), partial(about_of, table))


def _without(table: pa.Table, keys: set[str]) -> Iterator[dict[str, Any]]:
    for batch in table.to_batches():
        for record in batch.to_pylist():
            is_erased = record["request_key"] in keys
            yield {**record, **_NOTHING, "status": RowStatus.ERASED} if is_erased else record
