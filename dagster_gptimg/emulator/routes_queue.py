"""fal's queue: submit, status, result, cancel (fal-api.md §1.3 to §1.8)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from PIL import Image
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .account import Account, Cancel, Order, checked, digest_of, prompt_of
from .faults import Phase
from .models import APPS, app_of, reference_urls
from .records import Record, State
from .references import References
from .replies import REQUEST_ID, answer, base_url, iso, told, with_key
from .results import ending
from .studio import Studio
from .wire import Cut, Dropped, header, nginx

_CANCEL_CODES = {
    Cancel.OK: 200,
    Cancel.CANCELLATION_REQUESTED: 202,
    Cancel.ALREADY_COMPLETED: 400,
    Cancel.NOT_FOUND: 404,
}
_LOCKED = "User is locked. Reason: Exhausted balance. Top up your balance at fal.ai/dashboard/billing."
LEAST_START_TIMEOUT = 0.1
"""Seconds; a start timeout must be more (fal, queue submit page)."""
_REPLY_FAULTS = {"submit_lost", "submit_cut", "submit_slow", "submit_504"}
"""Faults of a POST that was accepted all the same."""


class _BadRequestError(ValueError):
    """A POST that the gateway refuses as malformed."""


class QueueRoutes:
    """The handlers of the queue."""

    def __init__(self, account: Account, studio: Studio, references: References) -> None:
        self._account = account
        self._studio = studio
        self._references = references

    def routes(self) -> list[Route]:
        """Paths with `owner/app` and with the full id; `/response` is an alias of the result (§1.3)."""
        one = "/{app:path}/requests/{request_id}"
        return [
            Route(f"{one}/status", with_key(self.status), methods=["GET"]),
            Route(f"{one}/cancel", with_key(self.cancel), methods=["PUT"]),
            Route(f"{one}/response", with_key(self.result), methods=["GET"]),
            Route(one, with_key(self.result), methods=["GET"]),
            Route("/{endpoint_id:path}", with_key(self.submit), methods=["POST"]),
        ]

    async def submit(self, request: Request) -> Response:
        """Take a request in, or refuse it at the gateway."""
        endpoint_id = request.path_params["endpoint_id"].rstrip("/")
        if app_of(endpoint_id) not in APPS:
            return told(404, f"Application '{endpoint_id}' not found")
        try:
            order = _order(endpoint_id, await request.body(), request.headers)
            full = _too_long(request.query_params.get("fal_max_queue_length"), self._waiting())
        except _BadRequestError as error:
            return told(400, str(error), "bad_request")
        if full:
            return told(429, "The queue is longer than fal_max_queue_length", X_Fal_Needs_Retry="1")
        images = await self._references.load(reference_urls(checked(endpoint_id, order.arguments)[0]))
        order = replace(order, bad_reference=images is None)
        key = digest_of(endpoint_id, order.arguments)
        fault = self._account.dice.strike(Phase.SUBMIT, key, prompt_of(order.arguments))
        if fault is not None and fault not in _REPLY_FAULTS:
            return _not_accepted(fault)
        return await self._accepted(request, order, fault, images or [])

    def _waiting(self) -> int:
        self._account.now()
        return self._account.schedule.waiting()

    async def _accepted(self, request: Request, order: Order, fault: str | None, images: list[Image.Image]) -> Response:
        record = self._account.accept(order)
        self._references.keep(record.request_id, images)
        body = {
            "status": State.IN_QUEUE,
            "request_id": record.request_id,
            "gateway_request_id": record.request_id,
            **_urls(record, base_url(request)),
            "queue_position": self._account.schedule.position(record),
        }
        reply = answer(body, headers={REQUEST_ID: record.request_id})
        if fault == "submit_slow":
            await asyncio.sleep(self._account.settings.slow_seconds)
        return _mangled(reply, fault)

    def _found(self, request: Request) -> Record | None:
        return self._account.find(app_of(request.path_params["app"]), request.path_params["request_id"])

    async def status(self, request: Request) -> Response:
        """202 while it waits or runs, 200 when it has ended."""
        record = self._found(request)
        if record is None:
            return answer({"status": "NOT_FOUND"}, 404)
        fault = self._account.dice.strike(Phase.STATUS, record.draw_key, record.prompt)
        if fault is not None:
            return _unreadable(fault)
        with_logs = request.query_params.get("logs", "0").lower() in ("1", "true")
        body = self._status_body(record, base_url(request), with_logs=with_logs)
        return answer(body, 200 if record.state is State.COMPLETED else 202, {REQUEST_ID: record.request_id})

    def _status_body(self, record: Record, base: str, *, with_logs: bool) -> dict[str, Any]:
        body: dict[str, Any] = {"status": record.state, "request_id": record.request_id, **_urls(record, base)}
        if record.state is State.IN_QUEUE:
            return {**body, "queue_position": self._account.schedule.position(record)}
        body["logs"] = _logs(record) if with_logs else None
        if record.state is State.IN_PROGRESS:
            return body
        if record.started_at is not None and record.completed_at is not None:
            body["metrics"] = {"inference_time": record.completed_at - record.started_at}
        end = ending(record, base, self._account.settings.seed)
        return {**body, **({"error": end.error, "error_type": end.error_type} if end.error else {})}

    async def result(self, request: Request) -> Response:
        """The model's answer, or the error with which it ended; 400 before the end."""
        record = self._found(request)
        if record is None:
            return answer({"status": "NOT_FOUND"}, 404)
        fault = self._account.dice.strike(Phase.RESULT, record.draw_key, record.prompt)
        if fault is not None:
            return _unreadable(fault)
        if record.state is not State.COMPLETED:
            return answer({"detail": "Request is still in progress"}, 400, {REQUEST_ID: record.request_id})
        uris = await self._studio.data_uris(record) if record.inputs.get("sync_mode") else None
        seed = self._account.settings.seed
        end = ending(record, base_url(request), seed, uris.__getitem__ if uris else None)
        return answer(end.body, end.status_code, {REQUEST_ID: record.request_id, **end.headers})

    async def cancel(self, request: Request) -> Response:
        """Cancel, as far as it goes."""
        path = request.path_params
        outcome = self._account.cancel(app_of(path["app"]), path["request_id"])
        return answer({"status": outcome.value}, _CANCEL_CODES[outcome], {REQUEST_ID: path["request_id"]})


def _urls(record: Record, base: str) -> dict[str, str]:
    one = f"{base}/{app_of(record.endpoint_id)}/requests/{record.request_id}"
    return {"response_url": one, "status_url": f"{one}/status", "cancel_url": f"{one}/cancel"}


def _order(endpoint_id: str, body: bytes, headers: Mapping[str, str]) -> Order:
    return Order(
        endpoint_id=endpoint_id,
        body=body.decode("utf-8", "replace"),
        arguments=_parsed(body),
        # The deprecated name is still what the SDKs send; the new one wins.
        start_timeout=_start_timeout(header(headers, "x-fal-request-start-timeout", "x-fal-request-timeout")),
        low_priority=headers.get("x-fal-queue-priority", "").lower() == "low",
        store_io=headers.get("x-fal-store-io") != "0",
        no_retry=headers.get("x-fal-no-retry", "").lower() in ("1", "true", "yes"),
    )


def _parsed(body: bytes) -> object:
    try:
        return json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise _BadRequestError("The request body is not valid JSON") from error


def _no_constant(name: str) -> object:
    raise ValueError(name)


def _start_timeout(text: str | None) -> float | None:
    """Seconds."""
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not LEAST_START_TIMEOUT < seconds < float("inf"):
        raise _BadRequestError(f"X-Fal-Request-Start-Timeout must be a number greater than {LEAST_START_TIMEOUT}")
    return seconds


def _too_long(limit: str | None, waiting: int) -> bool:
    if limit is None:
        return False
    if not limit.isdecimal():
        raise _BadRequestError("fal_max_queue_length must be an integer")
    return waiting > int(limit)


def _mangled(reply: Response, fault: str | None) -> Response:
    """What the caller sees of the reply to a request that was accepted."""
    if fault == "submit_lost":
        return Dropped()
    if fault == "submit_cut":
        return Cut(reply)
    return nginx(504) if fault == "submit_504" else reply


def _not_accepted(fault: str) -> Response:
    if fault == "submit_429":
        message = "Too many concurrent requests"
        return told(429, message, "concurrent_requests_limit", X_Fal_Needs_Retry="1")
    if fault == "submit_500":
        return told(500, "Internal server error", "internal_error")
    if fault == "locked":
        return told(403, _LOCKED)
    return Dropped() if fault == "submit_dropped" else nginx(503)


def _unreadable(fault: str) -> Response:
    """What a read that goes wrong gets instead of the answer."""
    if fault == "status_500":
        return told(500, "Internal server error", "internal_error")
    return nginx(503) if fault in ("status_503", "result_500_gateway") else Dropped()


def _logs(record: Record) -> list[dict[str, Any]]:
    lines = [(record.started_at, f"Request started (attempt {record.attempt})")]
    if record.completed_at is not None:
        lines.append((record.completed_at, f"Request ended: {record.outcome.value}"))
    return [
        {"message": text, "timestamp": iso(time), "level": "INFO", "source": "USER"}
        for time, text in lines
        if time is not None
    ]
