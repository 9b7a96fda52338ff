"""The approved images that an asset downstream has published: a table beside the image table that it was made from.

Derived data. The columns of verdicts are those that the step has read: what stands now is in the image table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dagster_gptimg.errors import UnreadableError
from dagster_gptimg.store.layout import approved_in, partition_folder
from dagster_gptimg.store.manifest import is_there, manifest_folders, read_table
from dagster_gptimg.temporary_files import TemporaryFolder, create

if TYPE_CHECKING:
    from collections.abc import Collection

    from dagster_gptimg.store.dataset import Dataset


def write_approved(dataset: Dataset, partition: str | None, table: pa.Table) -> str:
    """Write the approved images of a partition, in place of those of before; return the table's URI.

    Raises `StoreError`.

    Args:
        dataset: the dataset.
        partition: its key, or None.
        table: records of the image table.
    """
    return _write(dataset, partition_folder(partition), table)


def read_approved(dataset: Dataset, partition: str | None) -> pa.Table:
    """Return the approved images of a partition as they were published, with their current URIs.

    Raises:
        FileNotFoundError: none were published yet.
        UnreadableError: the table exists but cannot be read.
        StoreError: the store cannot be used.
    """
    return read_table(dataset, approved_in(partition_folder(partition)))


def has_approved(dataset: Dataset, partition: str | None) -> bool:
    """Return whether there is a table of approved images of a partition, readable or not. Raises `StoreError`."""
    return is_there(dataset, approved_in(partition_folder(partition)))


def erase_from_approved(dataset: Dataset, keys: Collection[str]) -> None:
    """Remove the images of these request keys from all tables of approved images. Can be repeated.

    A table that cannot be read is removed as a whole, since these images may be in it. Raises `StoreError`.
    """
    erased = pa.array(sorted(keys), pa.string())
    for folder in manifest_folders(dataset):
        try:
            table = read_table(dataset, approved_in(folder))
        except FileNotFoundError:
            continue
        except UnreadableError:
            dataset.store.delete(f"{dataset.folder}/{approved_in(folder)}")
            continue
        left = table.filter(pc.invert(pc.is_in(table["request_key"], erased)))
        if left.num_rows < table.num_rows:
            _write(dataset, folder, left)


def _write(dataset: Dataset, folder: str, table: pa.Table) -> str:
    name = approved_in(folder)
    with TemporaryFolder() as made:
        path = made / "table.parquet"
        with create(path) as file:
            pq.write_table(table, file, compression="zstd")
            file.flush()
        dataset.store.write_file(f"{dataset.folder}/{name}", path)
    return dataset.uri(name)
