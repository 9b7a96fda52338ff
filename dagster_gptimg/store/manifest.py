"""Manifests: the image table for people, one Parquet file per partition, replaced as a whole. Derived data.

The URIs in a manifest are those of the store where it was written. A store may be moved, copied, or have another
address, so URIs are made again whenever a manifest is read. Verdicts may be newer than a manifest, so the last ones are
laid over it whenever it is read (`verdicts/verdict_columns.py`).
"""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, NamedTuple, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dagster_gptimg.base.money import rounded
from dagster_gptimg.errors import UnreadableError
from dagster_gptimg.store.arrow_columns import BATCH, batch_of, completed, read_parquet
from dagster_gptimg.store.layout import IMAGE_AT_END, MANIFESTS, manifest_in, manifest_name, partition_folder
from dagster_gptimg.store.manifest_columns import COLUMNS, MONEY_COLUMNS
from dagster_gptimg.store.verdicts.verdict_columns import KNOWN, LastVerdicts
from dagster_gptimg.temporary_files import TemporaryFolder, create

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from dagster_gptimg.store.dataset import Dataset

SCHEMA = pa.schema(
    [(column.name, column.type) for column in COLUMNS], metadata={"dagster_gptimg.manifest.version": "1"}
)
"""One record per image, and one per request of a row that has none."""

Records: TypeAlias = "dict[str, Any] | pa.RecordBatch"
"""A record, or a batch of records in the columns of `SCHEMA`."""

_RECIPE = b"dagster_gptimg.recipe"
_CONTENT = b"dagster_gptimg.content"
_PARTS = b"dagster_gptimg.parts"
_log = logging.getLogger(__name__)


class Part(NamedTuple):
    """Consecutive records of a manifest that belong to one prompt table.

    Attributes:
        table: its name; empty if it has none.
        records: number of records.
        recipe: digest of the template, model and arguments; empty if not known.
    """

    table: str
    records: int
    recipe: str = ""


class About(NamedTuple):
    """The metadata of a manifest.

    Attributes:
        recipe: digest of the template, model and arguments of its last run; empty if not known.
        content: digest of the records of its last run; empty if not known.
        parts: its records; those of its last run first. Empty if not known.
    """

    recipe: str = ""
    content: str = ""
    parts: tuple[Part, ...] = ()


def write_manifest(
    dataset: Dataset, partition: str | None, records: Iterable[Records], about: Callable[[], About] = About
) -> str:
    """Write a manifest record by record, and put it in place atomically; return its URI. Raises `StoreError`.

    The columns of verdicts are those of the last ones, whatever the records have.

    Args:
        dataset: the dataset.
        partition: its key, or None.
        records: single ones or batches, iterated once.
        about: returns the file's metadata; called after the last record.
    """
    return write_manifest_in(dataset, partition_folder(partition), records, about)


def write_manifest_in(
    dataset: Dataset, folder: str, records: Iterable[Records], about: Callable[[], About] = About
) -> str:
    """Write the manifest of a partition, by the name of its folder; as `write_manifest` does."""
    name = manifest_in(folder)
    with TemporaryFolder() as made:
        path = made / "table.parquet"
        with create(path) as file:
            _write_parquet(file, records, about, _last_verdicts(dataset, folder))
            file.flush()
        dataset.store.write_file(f"{dataset.folder}/{name}", path)
    return dataset.uri(name)


def _last_verdicts(dataset: Dataset, folder: str) -> LastVerdicts:
    """Return the last verdicts; those that the manifest in a partition's folder has are not opened again."""
    verdicts = LastVerdicts(dataset)
    if verdicts.digest:
        with suppress(FileNotFoundError, UnreadableError):  # then they are opened
            verdicts.know(_scan(dataset, manifest_in(folder), KNOWN))
    return verdicts


def read_manifest(dataset: Dataset, partition: str | None) -> pa.Table:
    """Return a partition's manifest, with the last verdicts.

    Raises:
        FileNotFoundError: there is none yet.
        UnreadableError: it exists but cannot be read.
        StoreError: the verdicts cannot be listed.
    """
    table = read_table(dataset, manifest_name(partition))
    return LastVerdicts(dataset).laid_over(table)


def has_manifest(dataset: Dataset, partition: str | None) -> bool:
    """Return whether a partition has a manifest, readable or not. Raises `StoreError`."""
    return is_there(dataset, manifest_name(partition))


def is_there(dataset: Dataset, path: str) -> bool:
    """Return whether the dataset has a table at a path, readable or not. Raises `StoreError`."""
    folder, _, name = path.rpartition("/")
    return name in dataset.store.names(f"{dataset.folder}/{folder}", name)


def read_all_manifests(dataset: Dataset) -> pa.Table:
    """Return all partitions' manifests, concatenated, with the last verdicts.

    Raises as `read_manifest` does.
    """
    tables = [read_manifest_in(dataset, folder) for folder in manifest_folders(dataset)]
    if not tables:
        raise FileNotFoundError(dataset.name)
    return LastVerdicts(dataset).laid_over(pa.concat_tables(tables, promote_options="default"))


def manifest_folders(dataset: Dataset) -> list[str]:
    """Return the folders with a manifest, one per partition; other files are ignored."""
    names = dataset.store.folders(f"{dataset.folder}/{MANIFESTS}")
    return [name for name in names if is_there(dataset, manifest_in(name))]


def read_manifest_in(dataset: Dataset, folder: str) -> pa.Table:
    """Return the manifest in a partition's folder, with the verdicts as it was written. Raises as `read_manifest`."""
    return read_table(dataset, manifest_in(folder))


def read_table(dataset: Dataset, path: str) -> pa.Table:
    """Return a table of image records as it was written, with the images' current URIs.

    Raises as `read_manifest` does.
    """
    name = f"{dataset.folder}/{path}"
    data = dataset.store.read(name)
    try:
        table = completed(read_parquet(data), SCHEMA)
    except (pa.ArrowException, ValueError) as error:
        msg = f"{dataset.store.uri(name)} exists but cannot be read: {error}"
        raise UnreadableError(msg) from error
    return _placed(table, dataset)


def _placed(table: pa.Table, dataset: Dataset) -> pa.Table:
    """Return the records with the current URIs of the images.

    A URI that is not that of a dataset's image is dropped: readers of an image table must not be led to other files.
    """
    place = table.schema.get_field_index("uri")
    if place < 0:
        return table
    found = table.column(place)
    uris = pa.chunked_array([uris_of(dataset, chunk) for chunk in found.chunks], pa.string())
    if strangers := uris.null_count - found.null_count:
        _log.warning("%s URIs in an image table of %s are not those of a dataset's images", strangers, dataset.name)
    return table.set_column(place, table.schema.field(place), uris)


def uris_of(dataset: Dataset, uris: pa.Array) -> pa.Array:
    """Return the current URIs of the images in a manifest's URIs, by the ends of these; null for other URIs."""
    paths = pc.struct_field(pc.extract_regex(uris, IMAGE_AT_END), "path")
    return pc.binary_join_element_wise(dataset.address, paths, "")


def scan_manifest(
    dataset: Dataset, partition: str | None, columns: list[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """Yield some columns (None: all) of a partition's manifest in batches, unchanged, with the verdicts as written.

    Raises as `read_manifest` does.
    """
    yield from _scan(dataset, manifest_name(partition), columns)


def scan_columns_in(dataset: Dataset, folder: str, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Yield some columns of the manifest in a partition's folder, as `scan_manifest` does."""
    yield from _scan(dataset, manifest_in(folder), columns)


def manifest_version_in(dataset: Dataset, folder: str) -> str:
    """Return a text that changes when the manifest in a partition's folder is replaced; empty if there is none.

    Raises `UnreadableError`.
    """
    try:
        return dataset.store.version(f"{dataset.folder}/{manifest_in(folder)}")
    except FileNotFoundError:
        return ""


def _scan(dataset: Dataset, path: str, columns: list[str] | None) -> Iterator[pa.RecordBatch]:
    name = f"{dataset.folder}/{path}"
    with TemporaryFolder() as made:
        copy = made / "table.parquet"
        dataset.store.fetch(name, copy)
        try:
            with pq.ParquetFile(copy, pre_buffer=False) as file:
                yield from file.iter_batches(BATCH, columns=columns, use_threads=False)
        except (pa.ArrowException, ValueError) as error:
            msg = f"{dataset.store.uri(name)} exists but cannot be read: {error}"
            raise UnreadableError(msg) from error


def scan_manifest_in(
    dataset: Dataset, folder: str, verdicts: LastVerdicts | None = None
) -> Iterator[list[dict[str, Any]]]:
    """Yield the records of the manifest in a partition's folder, some at a time, with the images' current URIs.

    Args:
        dataset: the dataset.
        folder: the name of the partition's folder.
        verdicts: the last verdicts, which the records get; None: verdicts are as they were when it was written.

    Raises as `read_manifest` does.
    """
    name = manifest_in(folder)
    for batch in _scan(dataset, name, None):
        try:
            table = _placed(completed(pa.Table.from_batches([batch]), SCHEMA), dataset)
        except (pa.ArrowException, ValueError) as error:
            msg = f"{dataset.uri(name)} exists but cannot be read: {error}"
            raise UnreadableError(msg) from error
        yield (table if verdicts is None else verdicts.laid_over(table)).to_pylist()


def about_manifest(dataset: Dataset, partition: str | None) -> About:
    """Return a partition's manifest's metadata.

    Raises:
        FileNotFoundError: there is none yet.
        UnreadableError: it exists but cannot be read.
    """
    name = f"{dataset.folder}/{manifest_name(partition)}"
    with dataset.store.open(name) as file:
        try:
            return _about(pq.read_metadata(file).metadata or {})
        except (pa.ArrowException, ValueError, OSError) as error:
            msg = f"{dataset.store.uri(name)} exists but cannot be read: {error}"
            raise UnreadableError(msg) from error


def about_of(table: pa.Table) -> About:
    """Return the metadata of a manifest that was read."""
    return _about(table.schema.metadata or {})


def _about(metadata: Mapping[bytes, bytes]) -> About:
    try:
        told = json.loads(metadata.get(_PARTS, b"[]"))
        parts = tuple(Part(str(table), int(records), str(recipe)) for table, records, recipe in told)
    except (ValueError, TypeError):
        parts = ()  # derived data: without this information
    return About(metadata.get(_RECIPE, b"").decode(), metadata.get(_CONTENT, b"").decode(), parts)


def _write_parquet(
    file: IO[bytes], records: Iterable[Records], about: Callable[[], About], verdicts: LastVerdicts
) -> None:
    with pq.ParquetWriter(file, SCHEMA, compression="zstd") as writer:
        for batch in _batches(records):
            if isinstance(batch, pa.RecordBatch):
                writer.write_table(verdicts.settled(pa.Table.from_batches([batch])))
                continue
            verdicts.settle(batch)
            for record in batch:
                record |= {name: rounded(record.get(name)) for name in MONEY_COLUMNS}
            writer.write_batch(batch_of(batch, SCHEMA))
        told = about()
        texts = {_RECIPE: told.recipe, _CONTENT: told.content, _PARTS: json.dumps(told.parts)}
        writer.add_key_value_metadata({name.decode(): text for name, text in texts.items()})


def _batches(records: Iterable[Records]) -> Iterator[list[dict[str, Any]] | pa.RecordBatch]:
    batch: list[dict[str, Any]] = []
    for record in records:
        if isinstance(record, pa.RecordBatch):
            if batch:
                yield batch
            yield record
            batch = []
            continue
        batch.append(record)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
