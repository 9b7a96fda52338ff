"""Queries over ended requests: the request history and the billing events, page by page.

docs/fal-wire.md#history and docs/fal-wire.md#billing-events.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from dagster_gptimg.emulator.account.account import Account, checked, is_in_line
from dagster_gptimg.emulator.account.records import Outcome, Record, State, status_code
from dagster_gptimg.emulator.account.references import decoded
from dagster_gptimg.emulator.account.storage import Storage
from dagster_gptimg.emulator.http.queries import BadQueryError
from dagster_gptimg.emulator.http.replies import iso
from dagster_gptimg.emulator.http.results import ending, unit_of
from dagster_gptimg.emulator.models.model import MICRO_USD

_FAR = 1e18
"""Sort key for the end of a request in progress: after every real one."""
_ENDED = f"coalesce(completed_at, {_FAR})"
_DURATION = f"coalesce(completed_at - started_at, {_FAR})"
_WHEN = {"ended": "coalesce(completed_at, started_at, submitted_at)", "sent": "submitted_at"}
"""The time by which a listing is filtered (a setting)."""


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
    settings = account.settings
    where = ["(completed_at IS NULL OR completed_at <= ?)"]
    values: list[object] = [account.now() - settings.history_lag]
    if not settings.history_queued:
        where.append("started_at IS NOT NULL")
    if not settings.history_in_progress:
        where.append("(completed_at IS NOT NULL OR started_at IS NULL)")
    if query.status is not None:
        outcomes = [outcome for outcome in Outcome if _class(status_code(outcome, settings)) == query.status]
        where.append(f"state = 'COMPLETED' AND {_any_of('outcome', outcomes)}")
        values.extend(outcomes)
    return _page(account, query, where, values, _WHEN[settings.history_time])


def billed(account: Account, query: Query, tags: Mapping[str, Sequence[str]]) -> Page:
    """Return a page of billed requests; free ones have no billing event. Of each tag one of the values must match."""
    where = ["completed_at <= ?", "cost > 0"]
    values: list[object] = [account.now() - account.settings.billing_lag]
    for name, wanted in tags.items():
        where.append(f"json_extract(tags, ?) IN ({', '.join('?' for _ in wanted)})")
        values.extend([f'$."{name}"', *wanted])
    return _page(account, query, where, values, _WHEN["ended"])


def _class(code: int) -> str:
    """The history's word for a status code: `success`, `user_error` or `error`."""
    if code < HTTPStatus.BAD_REQUEST:
        return "success"
    return "user_error" if code < HTTPStatus.INTERNAL_SERVER_ERROR else "error"


def _any_of(column: str, values: list[Any]) -> str:
    return f"{column} IN ({', '.join('?' for _ in values)})"


def _page(account: Account, query: Query, where: list[str], values: list[object], when: str) -> Page:
    where, values = [*where, f"{when} >= ?"], [*values, query.start]
    if query.end is not None:
        where, values = [*where, f"{when} < ?"], [*values, query.end]
    for column, wanted in (("endpoint_id", query.endpoint_ids), ("request_id", query.request_ids)):
        if wanted:
            where, values = [*where, _any_of(column, wanted)], [*values, *wanted]
    key = _DURATION if query.by_duration else _ENDED
    if query.cursor is not None:
        where, values = [*where, f"({key}, seq) < (?, ?)"], [*values, *_decoded(query.cursor)]
    records = account.database.find(where, values, f"{key} DESC, seq DESC", query.limit + 1)
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


def item(account: Account, record: Record) -> dict[str, Any]:
    """One request of the history, without its payloads."""
    over = record.state is State.COMPLETED
    return {
        "request_id": record.request_id,
        "endpoint_id": record.endpoint_id,
        "started_at": iso(record.submitted_at if record.started_at is None else record.started_at),
        "sent_at": iso(record.submitted_at),
        "ended_at": iso(record.completed_at),
        "status_code": status_code(record.outcome, account.settings) if over else None,
        "duration": _duration(record),
    }


def _duration(record: Record) -> float | None:
    if record.completed_at is None or record.started_at is None:
        return None
    return record.completed_at - record.started_at


class Payloads:
    """Inputs and outputs as the history shows them (`expand=payloads`)."""

    def __init__(self, account: Account, storage: Storage, base: str) -> None:
        self._account, self._storage, self._base = account, storage, base

    def of(self, record: Record) -> dict[str, Any]:
        """`X-Fal-Store-IO: 0` keeps both out of the history, `sync_mode` the output (docs/fal-wire.md#history)."""
        if not record.store_io or record.erased:
            return {"json_input": None, "json_output": None}
        in_line = record.outcome is Outcome.OK and is_in_line(record)
        shown = record.state is State.COMPLETED and not in_line
        output = ending(record, self._base, self._account.settings).body if shown else None
        return {"json_input": self._input(record), "json_output": output}

    def _input(self, record: Record) -> object:
        given = json.loads(record.arguments)
        if self._account.settings.history_input == "sent":
            return given
        filled = checked(record.endpoint_id, given)[0] or given
        return self._rewritten(filled)

    def _rewritten(self, value: Any) -> Any:  # noqa: ANN401 - any JSON
        """Return a value with every data URI replaced by the URL of a file on the CDN."""
        if isinstance(value, dict):
            return {name: self._rewritten(item) for name, item in value.items() if item is not None}
        if isinstance(value, list):
            return [self._rewritten(item) for item in value]
        data = decoded(value) if isinstance(value, str) and value.startswith("data:") else None
        if data is None:
            return value
        return self._base + self._storage.keep(data, value[5:].partition(";")[0])


def event(record: Record, *, tagged: bool = False) -> dict[str, Any]:
    """One billing event, with its tags if they are asked for. `cost_estimate_nano_usd` is in billionths of a dollar."""
    unit = unit_of(record)
    output, total = float(unit.billed(record.cost)), record.cost / MICRO_USD
    return {
        "request_id": record.request_id,
        "endpoint_id": record.endpoint_id,
        "timestamp": iso(record.completed_at),
        "output_units": output,
        "unit_price": float(unit.usd),
        "percent_discount": None,
        "cost_subtotal": total,
        "cost_discount": 0,
        "cost_total": total,
        "cost_estimate_nano_usd": record.cost * 1_000,
        **({"tags": json.loads(record.tags)} if tagged else {}),
    }
