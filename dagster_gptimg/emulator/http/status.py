"""The status of a request in fal's form, for reads and streams (docs/fal-wire.md#status)."""

from __future__ import annotations

from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from dagster_gptimg.emulator.account.account import Account
from dagster_gptimg.emulator.account.records import Record, State
from dagster_gptimg.emulator.http.replies import answer, iso
from dagster_gptimg.emulator.http.results import ending
from dagster_gptimg.emulator.models.model import app_of


class Line(NamedTuple):
    """One line of a request's log. `at` is Unix seconds."""

    at: float
    text: str

    def as_json(self) -> dict[str, Any]:
        """The line in fal's shape."""
        return {"message": self.text, "timestamp": iso(self.at), "level": "INFO", "source": "USER"}


def lines(record: Record) -> list[Line]:
    """The log of this attempt; lines that lie in the future are still to come."""
    if record.started_at is None:
        return []
    found = [Line(record.started_at, f"Request started (attempt {record.attempt})")]
    if record.ends_at is not None:
        found.append(Line(round((record.started_at + record.ends_at) / 2, 6), "Half of the work is done"))
    if record.completed_at is not None:
        found.append(Line(record.completed_at, f"Request ended: {record.outcome.value}"))
    return found


def urls(record: Record, base: str, *, full_id: bool) -> dict[str, str]:
    """Where to read and cancel it: under `owner/app`, or as one page of fal's shows it (docs/fal-wire.md#urls)."""
    one = f"{base}/{record.endpoint_id if full_id else app_of(record.endpoint_id)}/requests/{record.request_id}"
    result = f"{one}/response" if full_id else one
    return {"response_url": result, "status_url": f"{one}/status", "cancel_url": f"{one}/cancel"}


def status_body(account: Account, record: Record, base: str, log: list[Line] | None) -> dict[str, Any]:
    """The status of a request now, with these lines of its log (None: they were not asked for)."""
    where = urls(record, base, full_id=account.settings.full_id_urls)
    body: dict[str, Any] = {"status": record.state, "request_id": record.request_id, **where}
    if record.state is State.IN_QUEUE:
        return {**body, "queue_position": account.schedule.position(record)}
    body["logs"] = None if log is None else [line.as_json() for line in log]
    if record.state is State.IN_PROGRESS:
        return body
    if record.started_at is not None and record.completed_at is not None:
        body["metrics"] = {"inference_time": record.completed_at - record.started_at}
    end = ending(record, base, account.settings)
    return {**body, **({"error": end.error, "error_type": end.error_type} if end.error else {})}


def missing(account: Account, request: Request) -> Response:
    """The answer about a request that does not exist, or is gone."""
    gone = account.settings.expired == "gone" and account.database.by_id(request.path_params["request_id"]) is not None
    return answer({"status": "NOT_FOUND"}, 410 if gone else 404)


def wants_logs(request: Request) -> bool:
    """Whether the caller asks for the log; fal's clients write it in two ways (docs/fal-wire.md#status)."""
    return request.query_params.get("logs", "0").lower() in ("1", "true")
