"""The settled index: what is done, by request key, in one columnar read.

Derived from receipts, and never needed for money. Runs add immutable Parquet pieces; many pieces are merged into one. A
piece that is missing or broken costs time, not money: what the index does not know is looked up in the receipts.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dagster_gptimg.errors import UnreadableError
from dagster_gptimg.store.root import Store

_log = logging.getLogger(__name__)
_MONEY = pa.decimal128(18, 6)
_TIME = pa.timestamp("us", tz="UTC")
_IMAGE = pa.struct(
    [
        ("path", pa.string()),
        ("sha256", pa.string()),
        ("bytes", pa.int64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("content_type", pa.string()),
    ]
)
SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("attempt", pa.int32()),
        ("request_id", pa.string()),
        ("kind", pa.string()),
        ("images", pa.list_(_IMAGE)),
        ("cost_usd", _MONEY),
        ("billable_units", _MONEY),
        ("error_type", pa.string()),
        ("error", pa.string()),
        ("partition", pa.string()),
        ("bought_by", pa.string()),
        ("settled_by", pa.string()),
        ("submitted_at", _TIME),
        ("completed_at", _TIME),
        ("stored_at", _TIME),
    ],
    metadata={"dagster_gptimg.settled.version": "1"},
)
MERGE_ABOVE = 32


class Settled(NamedTuple):
    """A request that is done: its images are stored, it was refused for good, or it was erased at the user's word.

    Attributes:
        bought_by: the run that sent it. settled_by: the run that recorded the outcome.
        images: as `StoredImage`s are, each a dict.
    """

    key: str
    attempt: int
    request_id: str
    kind: Literal["stored", "refused", "erased"]
    images: list[dict[str, Any]]
    cost_usd: Decimal | None
    billable_units: Decimal | None
    error_type: str | None
    error: str | None
    partition: str | None
    bought_by: str
    settled_by: str
    submitted_at: datetime
    completed_at: datetime
    stored_at: datetime


class SettledIndex:
    """The settled index of one dataset. Every call blocks."""

    def __init__(self, store: Store, folder: str) -> None:
        """`folder` is the dataset's, relative to the store."""
        self._store, self._folder = store, f"{folder}/settled"
        self._rows: dict[str, tuple[int, int]] = {}
        self._tables: list[pa.Table] = []
        self._names: list[str] = []

    def load(self) -> None:
        """Read all pieces. One that cannot be read is left out, with a warning. Raises `StoreError`."""
        self._rows, self._tables, self._names = {}, [], []
        for name in self._store.names(self._folder):
            if not name.endswith(".parquet"):
                continue
            try:
                self._add(read_parquet(self._store.read(f"{self._folder}/{name}")).cast(SCHEMA))
                self._names.append(name)
            except (FileNotFoundError, UnreadableError, pa.ArrowException, ValueError) as error:
                _log.warning("a piece of the settled index is left out (its receipts are read instead): %s", error)

    def get(self, key: str) -> Settled | None:
        """What is settled for a key: an erasure goes before images, and these before a refusal.

        Among equals, the line that knows of most purchases.
        """
        where = self._rows.get(key)
        if where is None:
            return None
        row = self._tables[where[0]].slice(where[1], 1).to_pylist()[0]
        return Settled(**row)

    def completed(self, start: datetime, end: datetime) -> set[str]:
        """Ids of the requests that completed between two moments."""
        found: set[str] = set()
        for table in self._tables:
            when = table["completed_at"]
            inside = pc.and_(
                pc.greater_equal(when, pa.scalar(start, _TIME)), pc.less_equal(when, pa.scalar(end, _TIME))
            )
            found.update(table["request_id"].filter(inside).to_pylist())
        return found

    def __len__(self) -> int:
        return len(self._rows)

    def write(self, piece: str, rows: list[Settled]) -> None:
        """Add an immutable piece, and know it from now on. Raises `StoreError`."""
        if not rows:
            return
        table = pa.Table.from_pylist([row._asdict() for row in rows], schema=SCHEMA)
        self._save(piece, table)
        self._add(table)

    def replace(self, piece: str, rows: list[Settled]) -> None:
        """Put these lines in place of everything that is there, readable or not. Raises `StoreError`."""
        old = self._store.names(self._folder)
        self._rows, self._tables, self._names = {}, [], []
        self.write(piece, rows)
        for name in old:
            self._store.delete(f"{self._folder}/{name}")

    def merge(self, piece: str) -> None:
        """Put many pieces into one, written before the others are removed. Raises `StoreError`."""
        if len(self._names) <= MERGE_ABOVE:
            return
        old = list(self._names)
        picked = [self._tables[t].slice(r, 1) for t, r in self._rows.values()]
        self._save(piece, pa.concat_tables(picked).combine_chunks())
        for name in old:
            self._store.delete(f"{self._folder}/{name}")

    def _save(self, piece: str, table: pa.Table) -> None:
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd")
        self._store.write(f"{self._folder}/{piece}.parquet", buffer.getvalue())
        self._names.append(f"{piece}.parquet")

    def _add(self, table: pa.Table) -> None:
        place = len(self._tables)
        self._tables.append(table)
        for row, (key, rank) in enumerate(_ranks(table)):
            known = self._rows.get(key)
            if known is None or rank >= self._rank(known):
                self._rows[key] = (place, row)

    def _rank(self, where: tuple[int, int]) -> Rank:
        table, row = self._tables[where[0]], where[1]
        return _rank(*(table[name][row].as_py() for name in _RANKED))


def read_parquet(data: bytes) -> pa.Table:
    """A table from a Parquet file's bytes, read in this thread.

    Arrow's thread pools are left alone: a process that ends while they wind down can be aborted ("terminate called
    without an active exception"), and these files are small.
    """
    return pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)


_RANKED = ("kind", "cost_usd", "attempt")
Rank = tuple[int, Decimal, int]
_KINDS = ("refused", "stored", "erased")


def _rank(kind: str, cost_usd: Decimal | None, attempt: int) -> Rank:
    """What is known of a key only grows: its cost is the sum over all its requests, so the larger one knows more."""
    return _KINDS.index(kind), Decimal(-1) if cost_usd is None else cost_usd, attempt


def _ranks(table: pa.Table) -> Iterator[tuple[str, Rank]]:
    columns = (table[name].to_pylist() for name in ("key", *_RANKED))
    for key, *ranked in zip(*columns, strict=True):
        yield key, _rank(*ranked)
