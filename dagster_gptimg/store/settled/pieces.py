"""The pieces of the settled index: immutable Parquet files of a folder of the store, each with a copy on this machine.

The copies are what is read: another run may merge the pieces, and remove them, while this one goes on.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from dagster_gptimg.store.arrow_columns import read_batches
from dagster_gptimg.store.settled.piece_names import MARK, check_piece, listed, piece_name
from dagster_gptimg.store.settled.rows import SCHEMA
from dagster_gptimg.temporary_files import TemporaryFolder, create

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from dagster_gptimg.store.root import Store
    from dagster_gptimg.store.settled.piece_names import Listed


class Pieces:
    """A folder's pieces. Every call blocks.

    Attributes:
        names: the pieces that are known, in their order.
    """

    def __init__(self, store: Store, folder: str) -> None:
        """Know no piece yet; `folder` is relative to the store."""
        self._store, self._folder = store, folder
        self._copies: TemporaryFolder | None = None
        self.names: list[str] = []

    def listed(self) -> Listed:
        """What lies in the folder. Raises `StoreError`."""
        return listed(self._store.names(self._folder))

    def fetched(self, name: str, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """Copy a piece to this machine, and read some columns of it; at its end it is known.

        Raises:
            FileNotFoundError, UnreadableError: it cannot be copied.
            pa.ArrowException, ValueError: it is not what was written under its name.
        """
        self._store.fetch(f"{self._folder}/{name}", self._copy(name))
        check_piece(name, self._copy(name))
        yield from read_batches(self._copy(name), _columns(columns))
        self.names.append(name)

    def read(self, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        """All lines of the known pieces, in some of their columns or in all, from the copies."""
        for name in list(self.names):
            yield from read_batches(self._copy(name), SCHEMA if columns is None else _columns(columns))

    def lay_out(self, name: str, batches: Iterable[pa.RecordBatch]) -> str:
        """Write a piece on this machine only; returns its whole name."""
        laid = self._copy(name)
        with create(laid) as file:
            with pq.ParquetWriter(file, SCHEMA, compression="zstd") as writer:
                for batch in batches:
                    writer.write_batch(batch)
            file.flush()
        found = piece_name(name, laid)
        laid.rename(self._copy(found))
        return found

    def put(self, name: str) -> None:
        """Write what was laid out into the store, and the mark that it was written. Raises `StoreError`."""
        self._store.write_file(f"{self._folder}/{name}", self._copy(name))
        with suppress(FileExistsError):
            self._store.create(f"{self._folder}/{name}{MARK}", b"")

    def remove(self, names: Iterable[str]) -> None:
        """Remove pieces, after their marks, so that a concurrent reader does not take them for lost."""
        for name in names:
            self._store.delete(f"{self._folder}/{name}{MARK}")
            self._store.delete(f"{self._folder}/{name}")

    def all_files(self) -> list[str]:
        """The names of all that lies in the folder, readable or not; marks come first. Raises `StoreError`."""
        return sorted(self._store.names(self._folder), key=lambda name: not name.endswith(MARK))

    def remove_files(self, names: Iterable[str]) -> None:
        """Remove some of `all_files`, unless they are of a piece that is known. Raises `StoreError`."""
        for name in names:
            if name.removesuffix(MARK) not in self.names:
                self._store.delete(f"{self._folder}/{name}")

    def _copy(self, name: str) -> Path:
        if self._copies is None:  # not before there is something to copy: what a SIGKILL leaves lying is then rare
            self._copies = TemporaryFolder()
        return self._copies.path / name


def _columns(names: list[str]) -> pa.Schema:
    return pa.schema(map(SCHEMA.field, names))
