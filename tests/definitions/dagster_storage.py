"""Dagster's own storages in SQLite, each with one engine and a connection that stays open.

Dagster makes an engine for each of its calls, which compiles each statement anew, and closes the database, which
writes its log back; both took more of a run in these tests than the run. What stands in the databases is the same.
"""

from __future__ import annotations

import weakref
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster._core.storage.event_log import ConsolidatedSqliteEventLogStorage
from dagster._core.storage.runs import SqliteRunStorage
from dagster._core.storage.schedules import SqliteScheduleStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from sqlalchemy import create_engine, event

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import Connection, Engine

__all__ = ["SqliteStorage"]


class OneEngine:
    """What the storages below share: one engine on one file, and transactions on it."""

    _conn_string: str

    @cached_property
    def _engine(self) -> Engine:
        engine = create_engine(self._conn_string, connect_args={"timeout": 60})
        event.listen(engine, "connect", _without_sync)
        weakref.finalize(self, engine.dispose)
        return engine

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        with self._engine.begin() as connection:
            yield connection

    def dispose(self) -> None:
        self._engine.dispose()


def _without_sync(connection: Any, _record: object) -> None:
    """Wait for no disk: a test's instance is not meant to outlive a power failure."""
    connection.execute("PRAGMA synchronous=OFF").close()


class Runs(OneEngine, SqliteRunStorage):
    """The runs."""


class Schedules(OneEngine, SqliteScheduleStorage):
    """Ticks and cursors."""


class EventLog(OneEngine, ConsolidatedSqliteEventLogStorage):
    """One database of events, as on Postgres: a database for each run takes a second a run to make."""

    _connect = OneEngine.connect


class SqliteStorage(DagsterSqliteStorage):
    """The three of them; a folder that has databases is taken as it is."""

    def __init__(self, base_dir: str, inst_data: Any = None) -> None:
        super(DagsterSqliteStorage, self).__init__()  # type: ignore[no-untyped-call]  # not the one that makes Dagster's
        self.base_dir, self._inst_data = base_dir, inst_data
        runs, schedules = Path(base_dir, "runs"), Path(base_dir, "schedules")
        is_new = not runs.exists()
        self._run_storage = Runs.from_local(str(runs)) if is_new else Runs(_database(runs / "runs"))
        self._schedule_storage = (
            Schedules.from_local(str(schedules)) if is_new else Schedules(_database(schedules / "schedules"))
        )
        self._events = EventLog(str(Path(base_dir, "events")))

    @property
    def event_log_storage(self) -> EventLog:
        return self._events

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> SqliteStorage:
        return cls.from_local(inst_data=inst_data, **config_value)


def _database(path: Path) -> str:
    return f"sqlite:///{path}.db"
