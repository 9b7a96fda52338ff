"""Manifests: the image table that people read, one Parquet file a partition, replaced as a whole. Derived."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from dagster_gptimg.errors import UnreadableError
from dagster_gptimg.store.columns import BATCH, batch_of, completed, read_parquet
from dagster_gptimg.store.money import MONEY, rounded
from dagster_gptimg.store.paths import partition_folder
from dagster_gptimg.temporary import TemporaryFolder, create

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from dagster_gptimg.store.dataset import Dataset

_TIME = pa.timestamp("us", tz="UTC")
SCHEMA = pa.schema(
    [
        ("row_id", pa.string()),
        ("prompt", pa.string()),
        ("status", pa.string()),
        ("image_index", pa.int32()),
        ("images_wanted", pa.int32()),
        ("uri", pa.string()),
        ("sha256", pa.string()),
        ("bytes", pa.int64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("content_type", pa.string()),
        ("request_key", pa.string()),
        ("request_id", pa.string()),
        ("endpoint", pa.string()),
        ("arguments", pa.string()),
        ("cost_usd", MONEY),
        ("shared_with", pa.string()),
        ("billable_units", MONEY),
        ("error_type", pa.string()),
        ("error", pa.string()),
        ("submitted_at", _TIME),
        ("completed_at", _TIME),
        ("stored_at", _TIME),
        ("inference_s", pa.float64()),
        ("columns", pa.string()),
        ("notes", pa.string()),
    ],
    metadata={"dagster_gptimg.manifest.version": "1"},
)
"""One record per image, and one per request of a row that has none. `arguments` and `columns` are JSON."""

_FILE = "manifest.parquet"
_RECIPE, _CONTENT = b"dagster_gptimg.recipe", b"dagster_gptimg.content"


def manifest_name(partition: str | None) -> str:
    """A manifest's path in its dataset."""
    return f"manifests/{partition_folder(partition)}/manifest.parquet"


def _nothing() -> str:
    return ""


def write_manifest(
    dataset: Dataset,
    partition: str | None,
    records: Iterable[dict[str, Any]],
    recipe: str = "",
    content: Callable[[], str] = _nothing,
) -> str:
    """Write a manifest, record by record, and put it in place as a whole. Returns its URI. Raises `StoreError`.

    Args:
        dataset: whose it is.
        partition: its key, or None.
        records: read once.
        recipe: what its rows were made with, as a digest; kept in the file's metadata.
        content: asked for when all records have been read: a digest of what they say, kept likewise.
    """
    return write_manifest_in(dataset, partition_folder(partition), records, recipe, content)


def write_manifest_in(
    dataset: Dataset,
    folder: str,
    records: Iterable[dict[str, Any]],
    recipe: str = "",
    content: Callable[[], str] = _nothing,
) -> str:
    """The same, by the name of a partition's folder."""
    name = f"manifests/{folder}/manifest.parquet"
    with TemporaryFolder() as made:
        path = made / "manifest.parquet"
        with create(path) as file:
            _write_parquet(file, records, recipe, content)
            file.flush()
        dataset.store.write_file(f"{dataset.folder}/{name}", path)
    return dataset.uri(name)


def read_manifest(dataset: Dataset, partition: str | None) -> pa.Table:
    """A partition's manifest.

    Raises:
        FileNotFoundError: it has none yet.
        UnreadableError: it is there and cannot be read.
    """
    return _read(dataset, manifest_name(partition))


def has_manifest(dataset: Dataset, partition: str | None) -> bool:
    """Whether a partition has a manifest, readable or not. Raises `StoreError`."""
    folder, _, name = f"{dataset.folder}/{manifest_name(partition)}".rpartition("/")
    return name in dataset.store.names(folder)


def read_all_manifests(dataset: Dataset) -> pa.Table:
    """All partitions' manifests, one after the other; `FileNotFoundError` when there is none."""
    tables = [read_manifest_in(dataset, folder) for folder in manifest_folders(dataset)]
    if not tables:
        raise FileNotFoundError(dataset.name)
    return pa.concat_tables(tables)


def manifest_folders(dataset: Dataset) -> list[str]:
    """The folders that have a manifest each, one a partition; what is not ours there is passed over."""
    folder = f"{dataset.folder}/manifests"
    return [name for name in dataset.store.names(folder) if _FILE in dataset.store.names(f"{folder}/{name}", _FILE)]


def read_manifest_in(dataset: Dataset, folder: str) -> pa.Table:
    """The manifest in a partition's folder; raises as `read_manifest` does."""
    return _read(dataset, f"manifests/{folder}/manifest.parquet")


def _read(dataset: Dataset, path: str) -> pa.Table:
    name = f"{dataset.folder}/{path}"
    data = dataset.store.read(name)
    try:
        return completed(read_parquet(data), SCHEMA)
    except (pa.ArrowException, ValueError) as error:
        msg = f"{dataset.store.uri(name)} is there and cannot be read: {error}"
        raise UnreadableError(msg) from error


def scan_manifest(dataset: Dataset, partition: str | None, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Some columns of a partition's manifest, batch by batch; raises what `read_manifest` does."""
    name = f"{dataset.folder}/{manifest_name(partition)}"
    with TemporaryFolder() as made:
        copy = made / "manifest.parquet"
        dataset.store.fetch(name, copy)
        try:
            with pq.ParquetFile(copy, pre_buffer=False) as file:
                yield from file.iter_batches(BATCH, columns=columns, use_threads=False)
        except (pa.ArrowException, ValueError) as error:
            msg = f"{dataset.store.uri(name)} is there and cannot be read: {error}"
            raise UnreadableError(msg) from error


def digests_of(dataset: Dataset, partition: str | None) -> tuple[str, str]:
    """The recipe and the content of a partition's manifest, by its metadata only; empty where it does not say.

    Raises:
        FileNotFoundError: it has none yet.
        UnreadableError: it is there and cannot be read.
    """
    name = f"{dataset.folder}/{manifest_name(partition)}"
    with dataset.store.open(name) as file:
        try:
            about = pq.read_metadata(file).metadata or {}
        except (pa.ArrowException, ValueError, OSError) as error:
            msg = f"{dataset.store.uri(name)} is there and cannot be read: {error}"
            raise UnreadableError(msg) from error
    return about.get(_RECIPE, b"").decode(), about.get(_CONTENT, b"").decode()


def recipe_of(table: pa.Table) -> str:
    """What a manifest's rows were made with, as a digest; empty when it does not say."""
    return str((table.schema.metadata or {}).get(_RECIPE, b"").decode())


def _write_parquet(file: IO[bytes], records: Iterable[dict[str, Any]], recipe: str, content: Callable[[], str]) -> None:
    schema = SCHEMA.with_metadata({**SCHEMA.metadata, _RECIPE: recipe.encode()})
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for batch in _batches(records):
            for record in batch:
                record |= {name: rounded(record.get(name)) for name in ("cost_usd", "billable_units")}
            writer.write_batch(batch_of(batch, SCHEMA))
        writer.add_key_value_metadata({_CONTENT.decode(): content()})


def _batches(records: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    for record in records:
        batch.append(record)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
