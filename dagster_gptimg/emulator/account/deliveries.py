"""Webhooks that are to be sent, or were: one row for each request with a `fal_webhook`, beside the requests."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

_SCHEMA = """
CREATE TABLE IF NOT EXISTS deliveries (
    seq INTEGER PRIMARY KEY,
    url TEXT NOT NULL,
    base_url TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    due_at REAL NOT NULL,
    ended TEXT
);
CREATE INDEX IF NOT EXISTS undelivered ON deliveries (seq) WHERE ended IS NULL;
"""


class End(StrEnum):
    """The ways in which a delivery ends."""

    DELIVERED = "delivered"
    """The receiver answered 2xx."""
    REDIRECTED = "redirected"
    """The webhook's receiver answered 3xx, which fal takes for a permanent failure."""
    DROPPED = "dropped"
    """The target is not a public http address, or the request is gone: never sent."""
    GIVEN_UP = "given_up"
    """Repeated until the result expired, or as often as fal does."""
    LOST = "lost"
    """The fault `webhook_lost`."""


@dataclasses.dataclass(frozen=True)
class Delivery:
    """The webhook of one request. `seq` is the request's place in the order; times are Unix seconds."""

    seq: int
    url: str
    base_url: str
    """Where the submitter found the emulator: what image URLs in the payload start with."""
    attempts: int = 0
    due_at: float = 0.0
    """Not sent before this time, nor before the end of the request."""
    ended: End | None = None


_COLUMNS = tuple(field.name for field in dataclasses.fields(Delivery))
# S608: the names are this module's own columns.
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM deliveries"  # noqa: S608
_REPLACE = f"INSERT OR REPLACE INTO deliveries VALUES ({', '.join('?' for _ in _COLUMNS)})"  # noqa: S608


class Deliveries:
    """All webhooks of one state folder, in the account's database and transactions."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._db.executescript(_SCHEMA)

    def save(self, delivery: Delivery) -> None:
        """Write a new or a changed delivery down."""
        self._db.execute(_REPLACE, dataclasses.astuple(delivery))

    def of(self, seq: int) -> Delivery | None:
        """The webhook of one request, if it has one."""
        row = self._db.execute(f"{_SELECT} WHERE seq = ?", (seq,)).fetchone()
        return None if row is None else _delivery(row)

    def open(self) -> list[Delivery]:
        """Return the deliveries that have not ended."""
        return [_delivery(row) for row in self._db.execute(f"{_SELECT} WHERE ended IS NULL ORDER BY seq")]

    def everything(self) -> dict[int, Delivery]:
        """All of them, by the request's place in the order."""
        return {row[0]: _delivery(row) for row in self._db.execute(_SELECT)}


def _delivery(row: Sequence[Any]) -> Delivery:
    values = dict(zip(_COLUMNS, row, strict=True))
    return Delivery(**{**values, "ended": None if values["ended"] is None else End(values["ended"])})
