"""Forget rows on request: their images, prompts and arguments are erased; their cost and hashes stay."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from dagster_gptimg.base.row_status import RowStatus
from dagster_gptimg.engine.purchase_rules import owns_all
from dagster_gptimg.engine.record.results import EARLIER, settled_of
from dagster_gptimg.errors import UsageError
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

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from dagster_gptimg.store.dataset import Dataset

_TEXTS = {"prompt": "", "uri": None, "arguments": "{}", "columns": "{}", "error": None, "verdict_note": None}
_NOTHING = dict.fromkeys(DETAILS) | _TEXTS


@dataclass(frozen=True, slots=True)
class Forgotten:
    """The result of erasing rows.

    Attributes:
        keys: erased request keys.
        request_ids: their requests at fal.
        rows: all rows that shared them.
        had_galleries: whether galleries of the dataset, which held them, were removed.
    """

    keys: list[str]
    request_ids: list[str]
    rows: list[str]
    had_galleries: bool


def forget(dataset: Dataset, rows: Collection[str]) -> Forgotten:
    """Erase the images, prompts and arguments of rows; their cost and hashes stay, and they are never bought again.

    The notes of verdicts on their images are erased with them. Rows that share a request are erased together: they are
    the same purchase. Can be repeated after a failure.

    Raises:
        UsageError: a row is in no manifest, or has not ended; nothing was erased.
        StoreError: the store cannot be used.
    """
    table = _manifests(dataset)
    picked = table.filter(pc.is_in(table["row_id"], pa.array(sorted(rows), pa.string())))
    unknown = set(rows) - set(picked["row_id"].to_pylist())
    if unknown:
        msg = f"no manifest of dataset {dataset.name!r} has the row {', '.join(sorted(unknown)[:10])}"
        raise UsageError(msg)
    keys = sorted(set(picked["request_key"].to_pylist()))
    open_keys = [key for key in keys if not is_ended(dataset, key)]
    if open_keys:
        msg = f"{len(open_keys)} requests of these rows have not ended: run `generate` until they have, then again"
        raise UsageError(msg)
    now = datetime.now(UTC)
    ids = [request_id for key in keys for request_id in erase(dataset, key, now)]
    _note_in_index(dataset, keys, now)
    erased = _erase_from_manifests(dataset, set(keys))
    return Forgotten(keys, ids, erased, bool(remove_galleries(dataset)))


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


def _erase_from_manifests(dataset: Dataset, keys: set[str]) -> list[str]:
    rows: set[str] = set()
    for folder in manifest_folders(dataset):
        table = read_manifest_in(dataset, folder)
        if not keys.isdisjoint(table["request_key"].to_pylist()):
            write_manifest_in(dataset, folder, _without(table, keys, rows), partial(about_of, table))
    return sorted(rows)


def _without(table: pa.Table, keys: set[str], rows: set[str]) -> Iterator[dict[str, Any]]:
    for batch in table.to_batches():
        for record in batch.to_pylist():
            erased = record["request_key"] in keys
            if erased:
                rows.add(record["row_id"])
            yield {**record, **_NOTHING, "status": RowStatus.ERASED} if erased else record
