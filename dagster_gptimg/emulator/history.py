"""Queries over ended requests: the request history and the billing events, page by page (PAPI)."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from decimal import Decimal
from http import HTTPStatus
from typing import Any

from .account import Account
from .prices import UNIT_PRICE_USD, units
from .records import STATUS_CODES, Outcome, Record, State
from .replies import iso
from .results import ending

_FAR = 1e18
"""Stands for the end of a request in progress: behind every real one."""
_ENDED = f"coalesce(completed_at, {_FAR})"
_DURATION = f"coalesce(completed_at - started_at, {_FAR})"
_WHEN = "coalesce(completed_at, started_at)"


class BadQueryError(ValueError):
    """A query parameter that the platform API refuses."""


@dataclass(frozen=True)
class Query:
    """Filters and page of one listing. Times are Unix seconds; `end` is exclusive."""

    endpoint_ids: list[str]
    start: float
    end: float | None = None
    request_ids: list[str] = field(default_factory=list)
    status: str | None = None
    by_duration: bool = False
    limit: int = 50
    cursor: str | None = None


@dataclass(frozen=True)
class Page:
    """One page, newest or longest first."""

    records: list[Record]
    next_cursor: str | None


def requests(account: Account, query: Query) -> Page:
    """A page of the request history."""
    where = ["started_at IS NOT NULL"]
    values: list[object] = []
    if not account.settings.history_in_progress:
        where.append("completed_at IS NOT NULL")
    where.append("(completed_at IS NULL OR completed_at <= ?)")
    values.append(account.now() - account.settings.history_lag)
    if query.status is not None:
        codes = [outcome for outcome, code in STATUS_CODES.items() if _class(code) == query.status]
        where.append(f"state = 'COMPLETED' AND {_any_of('outcome', codes)}")
        values.extend(codes)
    return _page(account, query, where, values)


def billed(account: Account, query: Query) -> Page:
    """A page of what was billed; what was free has no billing event."""
    account.now()
    return _page(account, query, ["completed_at IS NOT NULL", "cost > 0"], [])


def _class(code: int) -> str:
    """The history's word for a status code: `success`, `user_error` or `error`."""
    if code < HTTPStatus.BAD_REQUEST:
        return "success"
    return "user_error" if code < HTTPStatus.INTERNAL_SERVER_ERROR else "error"


def _any_of(column: str, values: list[Any]) -> str:
    return f"{column} IN ({', '.join('?' for _ in values)})"


def _page(account: Account, query: Query, where: list[str], values: list[object]) -> Page:
    where, values = [*where, f"{_WHEN} >= ?"], [*values, query.start]
    if query.end is not None:
        where, values = [*where, f"{_WHEN} < ?"], [*values, query.end]
    for column, wanted in (("endpoint_id", query.endpoint_ids), ("request_id", query.request_ids)):
        if wanted:
            where, values = [*where, _any_of(column, wanted)], [*values, *wanted]
    key = _DURATION if query.by_duration else _ENDED
    if query.cursor is not None:
        where, values = [*where, f"({key}, seq) < (?, ?)"], [*values, *_decoded(query.cursor)]
    records = account.ledger.find(where, values, f"{key} DESC, seq DESC", query.limit + 1)
    more = len(records) > query.limit
    kept = records[: query.limit]
    return Page(kept, _encoded(kept[-1], query) if more else None)


def _encoded(record: Record, query: Query) -> str:
    """Where the next page starts. It names a request, not a page number: new requests do not shift it."""
    if record.completed_at is None or record.started_at is None:
        key = _FAR
    else:
        key = record.completed_at - record.started_at if query.by_duration else record.completed_at
    return base64.urlsafe_b64encode(json.dumps([key, record.seq]).encode()).decode()


def _decoded(cursor: str) -> tuple[float, int]:
    try:
        key, seq = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        return float(key), int(seq)
    except (ValueError, TypeError) as error:
        raise BadQueryError("cursor: not one of ours") from error


def item(account: Account, record: Record, base: str, *, payloads: bool) -> dict[str, Any]:
    """One request of the history, with its input and output when they are asked for and were stored."""
    over = record.state is State.COMPLETED
    known = {
        "request_id": record.request_id,
        "endpoint_id": record.endpoint_id,
        "started_at": iso(record.started_at),
        "sent_at": iso(record.submitted_at),
        "ended_at": iso(record.completed_at),
        "status_code": STATUS_CODES[record.outcome] if over else None,
        "duration": _duration(record),
    }
    return {**known, **_payloads(account, record, base)} if payloads else known


def _duration(record: Record) -> float | None:
    if record.completed_at is None or record.started_at is None:
        return None
    return record.completed_at - record.started_at


def _payloads(account: Account, record: Record, base: str) -> dict[str, Any]:
    """`X-Fal-Store-IO: 0` keeps both out of the history, `sync_mode` the output (fal-api.md §6.4, §6.6)."""
    if not record.store_io:
        return {"json_input": None, "json_output": None}
    in_line = record.outcome is Outcome.OK and bool(record.inputs.get("sync_mode"))
    shown = record.state is State.COMPLETED and not in_line
    output = ending(record, base, account.settings.seed).body if shown else None
    return {"json_input": json.loads(record.arguments), "json_output": output}


def event(record: Record) -> dict[str, Any]:
    """One billing event. `cost_estimate_nano_usd` is in billionths of a dollar."""
    output = float(units(record.cost))
    total = float(Decimal(units(record.cost)) * UNIT_PRICE_USD)
    return {
        "request_id": record.request_id,
        "endpoint_id": record.endpoint_id,
        "timestamp": iso(record.completed_at),
        "output_units": output,
        "unit_price": float(UNIT_PRICE_USD),
        "percent_discount": None,
        "cost_subtotal": total,
        "cost_discount": 0,
        "cost_total": total,
        "cost_estimate_nano_usd": record.cost * 1_000,
    }
