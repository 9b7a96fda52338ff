"""The emulator's database: SQLite, in WAL mode, one writer.

Everything that a reply promises is committed before it is sent.

`synchronous=NORMAL` survives SIGKILL; a power failure may lose the last commits, which is acceptable for an emulator.
"""

from __future__ import annotations

import dataclasses
import sqlite3
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dagster_gptimg.emulator.account.deliveries import Deliveries
from dagster_gptimg.emulator.account.records import COLUMNS, Outcome, Record, State

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS requests (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    request_id TEXT NOT NULL UNIQUE,
    endpoint_id TEXT NOT NULL,
    arguments TEXT NOT NULL,
    digest TEXT NOT NULL,
    twin INTEGER NOT NULL,
    prompt TEXT NOT NULL,
    outcome TEXT NOT NULL,
    images INTEGER NOT NULL,
    cost INTEGER NOT NULL,
    submitted_at REAL NOT NULL,
    ready_at REAL NOT NULL,
    start_by REAL,
    low_priority INTEGER NOT NULL,
    store_io INTEGER NOT NULL,
    headers TEXT NOT NULL,
    tags TEXT NOT NULL,
    source TEXT,
    source_width INTEGER NOT NULL,
    source_height INTEGER NOT NULL,
    erased INTEGER NOT NULL,
    requeues INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    state TEXT NOT NULL,
    twin_of TEXT,
    started_at REAL,
    ends_at REAL,
    completed_at REAL
);
CREATE INDEX IF NOT EXISTS by_digest ON requests (digest, seq);
CREATE INDEX IF NOT EXISTS by_end ON requests (completed_at);
CREATE INDEX IF NOT EXISTS unfinished ON requests (seq) WHERE state != 'COMPLETED';
"""
_NEWER_COLUMNS = {
    "headers": "TEXT NOT NULL DEFAULT '{}'",
    "tags": "TEXT NOT NULL DEFAULT '{}'",
    "erased": "INTEGER NOT NULL DEFAULT 0",
    "source": "TEXT",
    "source_width": "INTEGER NOT NULL DEFAULT 0",
    "source_height": "INTEGER NOT NULL DEFAULT 0",
}

# S608: the names are this module's own columns.
_SELECT = f"SELECT {', '.join(COLUMNS)} FROM requests"  # noqa: S608
_INSERTED = tuple(name for name in COLUMNS if name != "seq")
_INSERT = f"INSERT INTO requests ({', '.join(_INSERTED)}) VALUES ({', '.join('?' for _ in _INSERTED)})"  # noqa: S608
_MUTABLE = (
    "erased",
    "outcome",
    "images",
    "cost",
    "ready_at",
    "requeues",
    "attempt",
    "state",
    "started_at",
    "ends_at",
    "completed_at",
)
_UPDATE = f"UPDATE requests SET {', '.join(f'{name} = ?' for name in _MUTABLE)} WHERE seq = ?"  # noqa: S608


@dataclasses.dataclass(frozen=True)
class Totals:
    """The bill in sums. `cost` is in millionths of a dollar."""

    requests: int
    images: int
    cost: int
    in_flight: int


class Database:
    """All accepted requests of one state folder."""

    def __init__(self, path: Path) -> None:
        # Only the event loop's thread uses it once the server runs.
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.executescript(_SCHEMA)
        self._add_missing_columns()
        self.deliveries = Deliveries(self._db)
        self.watchers: list[Callable[[Record], None]] = []
        """Called with each new or changed request, before the commit."""
        self.id = self._remembered_id()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _add_missing_columns(self) -> None:
        """A state folder of an older version goes on living: datasets belong to it."""
        there = {row[1] for row in self._db.execute("PRAGMA table_info(requests)")}
        for name, kind in _NEWER_COLUMNS.items():
            if name not in there:
                self._db.execute(f"ALTER TABLE requests ADD COLUMN {name} {kind}")

    def _remembered_id(self) -> str:
        known = self.meta("id")
        if known is None:
            known = str(uuid.uuid4())
            self.set_meta("id", known)
        return known

    def meta(self, name: str) -> str | None:
        """A remembered value."""
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def set_meta(self, name: str, value: str) -> None:
        """Remember a value for later starts."""
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; may be nested, the outermost one commits."""
        if self._db.in_transaction:
            yield
            return
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def add(self, record: Record) -> Record:
        """Write a new request down; returns it with its place in the order."""
        values = [getattr(record, name) for name in _INSERTED]
        cursor = self._db.execute(_INSERT, values)
        return self._told(record.changed(seq=cursor.lastrowid))

    def save(self, record: Record) -> None:
        """Write a request's changed state down."""
        self._db.execute(_UPDATE, [*(getattr(record, name) for name in _MUTABLE), record.seq])
        self._told(record)

    def _told(self, record: Record) -> Record:
        for watcher in self.watchers:
            watcher(record)
        return record

    def by_id(self, request_id: str) -> Record | None:
        """The request with this id."""
        return self._one("WHERE request_id = ?", request_id)

    def by_seq(self, seq: int) -> Record | None:
        """The request with this place in the order."""
        return self._one("WHERE seq = ?", seq)

    def twins(self, digest: str) -> tuple[int, str | None]:
        """Return the number of requests with these arguments, and the id of the first."""
        query = "SELECT count(*), (SELECT request_id FROM requests WHERE digest = ?1 ORDER BY seq LIMIT 1)"
        count, first = self._db.execute(f"{query} FROM requests WHERE digest = ?1", (digest,)).fetchone()
        return int(count), first

    def unfinished(self) -> list[Record]:
        """All requests that have not ended, in order of acceptance."""
        return self._many("WHERE state != 'COMPLETED' ORDER BY seq")

    def everything(self) -> list[Record]:
        """All requests, in order of acceptance."""
        return self._many("ORDER BY seq")

    def find(self, where: Sequence[str], values: Sequence[object], order: str, limit: int) -> list[Record]:
        """Requests that meet all conditions; conditions and order are this package's own SQL, never a caller's."""
        conditions = f"WHERE {' AND '.join(where)}" if where else ""
        return self._many(f"{conditions} ORDER BY {order} LIMIT ?", *values, limit)

    def mean_cost(self, endpoint_id: str) -> float | None:
        """Return the average billed cost of this endpoint's requests, in millionths of a dollar.

        None before the first.
        """
        query = "SELECT avg(cost) FROM requests WHERE endpoint_id = ? AND cost > 0 AND state = 'COMPLETED'"
        found: float | None = self._db.execute(query, (endpoint_id,)).fetchone()[0]
        return found

    def totals(self) -> Totals:
        """The bill in sums: requests and images that cost something."""
        query = """SELECT count(*) FILTER (WHERE cost > 0), coalesce(sum(images) FILTER (WHERE cost > 0), 0),
                   coalesce(sum(cost), 0), count(*) FILTER (WHERE state != 'COMPLETED') FROM requests"""
        return Totals(*self._db.execute(query).fetchone())

    def _one(self, rest: str, *values: object) -> Record | None:
        row = self._db.execute(f"{_SELECT} {rest}", values).fetchone()
        return None if row is None else _record(row)

    def _many(self, rest: str, *values: object) -> list[Record]:
        return [_record(row) for row in self._db.execute(f"{_SELECT} {rest}", values)]


def _record(row: Sequence[Any]) -> Record:
    values = dict(zip(COLUMNS, row, strict=True))
    values["outcome"] = Outcome(values["outcome"])
    values["state"] = State(values["state"])
    values["low_priority"] = bool(values["low_priority"])
    values["store_io"] = bool(values["store_io"])
    values["erased"] = bool(values["erased"])
    return Record(**values)
