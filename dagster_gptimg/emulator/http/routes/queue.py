"""fal's queue: submit, status, result, cancel (docs/fal-wire.md#urls and the sections after it)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dagster_gptimg.emulator.account.account import Account, Cancel, checked, digest_of, is_in_line, prompt_of
from dagster_gptimg.emulator.account.received_post import Submission
from dagster_gptimg.emulator.account.records import Record, State
from dagster_gptimg.emulator.account.references import Brought, References
from dagster_gptimg.emulator.faults import Phase
from dagster_gptimg.emulator.http.api_keys import with_key
from dagster_gptimg.emulator.http.broken_replies import Cut, Dropped, nginx
from dagster_gptimg.emulator.http.drawing_threads import DrawingThreads
from dagster_gptimg.emulator.http.parse_submission import BadRequestError, is_too_long, read_submission
from dagster_gptimg.emulator.http.replies import REQUEST_ID, answer, base_url, retry_hint, told
from dagster_gptimg.emulator.http.results import ending
from dagster_gptimg.emulator.http.status import lines, missing, status_body, urls, wants_logs
from dagster_gptimg.emulator.models.model import app_of
from dagster_gptimg.emulator.models.models import APPS, MODELS, reference_urls
from dagster_gptimg.emulator.settings import Settings

_CANCEL_CODES = {
    Cancel.OK: 200,
    Cancel.CANCELLATION_REQUESTED: 202,
    Cancel.ALREADY_COMPLETED: 400,
    Cancel.NOT_FOUND: 404,
}
_LOCKED = "User is locked. Reason: Exhausted balance. Top up your balance at fal.ai/dashboard/billing."
_REPLY_FAULTS = {"submit_lost", "submit_cut", "submit_slow", "submit_504"}
"""Faults of a POST that was accepted all the same."""


class QueueRoutes:
    """The handlers of the queue."""

    def __init__(self, account: Account, drawing_threads: DrawingThreads, references: References) -> None:
        self._account = account
        self._drawing_threads = drawing_threads
        self._references = references

    def routes(self) -> list[Route]:
        """Paths with `owner/app` and with the full id; `/response` is the result, too (docs/fal-wire.md#urls)."""
        one = "/{app:path}/requests/{request_id}"
        handlers = [
            (f"{one}/status", self.status, "GET"),
            (f"{one}/cancel", self.cancel, "PUT"),
            (f"{one}/response", self.result, "GET"),
            (one, self.result, "GET"),
            ("/{endpoint_id:path}", self.submit, "POST"),
        ]
        return [Route(path, with_key(self._account, handler), methods=[method]) for path, handler, method in handlers]

    async def submit(self, request: Request) -> Response:
        """Take a request in, or refuse it at the gateway."""
        endpoint_id = request.path_params["endpoint_id"].rstrip("/")
        if app_of(endpoint_id) not in APPS:
            return told(404, f"Application '{endpoint_id}' not found")
        try:
            submission = await read_submission(request, endpoint_id)
            full = is_too_long(request.query_params.get("fal_max_queue_length"), self._waiting())
        except BadRequestError as error:
            return told(400, str(error), "bad_request")
        if full:
            return too_many(self._account.settings, "The queue is longer than fal_max_queue_length")
        inputs, errors = checked(endpoint_id, submission.arguments)
        if errors and self._account.settings.validates_at_submit:
            return told(422, errors)
        is_source = endpoint_id in MODELS and MODELS[endpoint_id].has_one_image
        brought = await self._references.load(reference_urls(inputs), is_source=is_source)
        return await self._taken(request, submission, brought)

    def _waiting(self) -> int:
        self._account.now()
        return self._account.schedule.waiting()

    async def _taken(self, request: Request, submission: Submission, brought: Brought) -> Response:
        key = digest_of(submission.endpoint_id, submission.arguments)
        fault = self._account.dice.strike(Phase.SUBMIT, key, prompt_of(submission.arguments))
        if fault is not None and fault not in _REPLY_FAULTS:
            return _not_accepted(fault, self._account.settings)
        record = self._account.accept(replace(submission, problem=brought.problem, source=brought.source))
        self._references.keep(record.request_id, () if brought.source else brought.thumbnails)
        if fault == "submit_slow":
            await asyncio.sleep(self._account.settings.slow_seconds)
        return _mangled(self._receipt(record, base_url(request)), fault)

    def _receipt(self, record: Record, base: str) -> Response:
        body = {
            "status": State.IN_QUEUE,
            "request_id": record.request_id,
            "gateway_request_id": record.request_id,
            **urls(record, base, full_id=self._account.settings.full_id_urls),
            "queue_position": self._account.schedule.position(record),
        }
        return answer(body, self._account.settings.submit_code, {REQUEST_ID: record.request_id})

    def _found(self, request: Request, *, expired: bool = False) -> Record | None:
        path = request.path_params
        return self._account.find(app_of(path["app"]), path["request_id"], expired=expired)

    async def status(self, request: Request) -> Response:
        """202 while it waits or runs, 200 when it has ended."""
        record = self._found(request, expired=self._account.settings.expired == "completed")
        if record is None:
            return missing(self._account, request)
        fault = self._account.dice.strike(Phase.STATUS, record.draw_key, record.prompt)
        return _unreadable(fault, self._account.settings) if fault else self._status(request, record)

    def _status(self, request: Request, record: Record) -> Response:
        now = self._account.moment()
        log = [line for line in lines(record) if line.at <= now] if wants_logs(request) else None
        body = status_body(self._account, record, base_url(request), log)
        return answer(body, 200 if record.state is State.COMPLETED else 202, {REQUEST_ID: record.request_id})

    async def result(self, request: Request) -> Response:
        """The model's answer, or the error with which it ended; not before the end."""
        record = self._found(request)
        if record is None:
            return missing(self._account, request)
        fault = self._account.dice.strike(Phase.RESULT, record.draw_key, record.prompt)
        if fault is not None:
            return _unreadable(fault, self._account.settings)
        if record.state is not State.COMPLETED:
            return self._too_early(request, record)
        uris = await self._drawing_threads.data_uris(record) if is_in_line(record) else None
        end = ending(record, base_url(request), self._account.settings, uris.__getitem__ if uris else None)
        return answer(end.body, end.status_code, {REQUEST_ID: record.request_id, **end.headers})

    def _too_early(self, request: Request, record: Record) -> Response:
        if self._account.settings.result_before_end == 202:  # noqa: PLR2004
            return self._status(request, record)
        return answer({"detail": "Request is still in progress"}, 400, {REQUEST_ID: record.request_id})

    async def cancel(self, request: Request) -> Response:
        """Cancel a request, if possible."""
        path = request.path_params
        outcome = self._account.cancel(app_of(path["app"]), path["request_id"])
        headers, reading = {REQUEST_ID: path["request_id"]}, self._account.settings.cancel_answer
        if outcome is Cancel.OK and reading == "success":
            return answer({"success": True}, 200, headers)
        if outcome is Cancel.OK and reading == "CANCELLATION_REQUESTED":
            outcome = Cancel.CANCELLATION_REQUESTED
        return answer({"status": outcome.value}, _CANCEL_CODES[outcome], headers)


def too_many(settings: Settings, message: str, error_type: str | None = None) -> Response:
    """A reply that there are too many requests: HTTP 429, with `Retry-After` if the settings have one."""
    wait = {} if settings.retry_after is None else {"Retry-After": f"{settings.retry_after:g}"}
    return told(429, message, error_type, {**retry_hint(settings, again=True), **wait})


def _mangled(reply: Response, fault: str | None) -> Response:
    """Return the reply to an accepted request, as changed by a fault."""
    if fault == "submit_lost":
        return Dropped()
    if fault == "submit_cut":
        return Cut(reply)
    return nginx(504) if fault == "submit_504" else reply


def _not_accepted(fault: str, settings: Settings) -> Response:
    if fault == "submit_429":
        return too_many(settings, "Too many concurrent requests", "concurrent_requests_limit")
    if fault == "submit_500":
        return _internal_error(settings)
    if fault == "locked":
        return told(403, _LOCKED)
    return Dropped() if fault == "submit_dropped" else nginx(503)


def _unreadable(fault: str, settings: Settings) -> Response:
    """Return the reply to a read that fails."""
    if fault == "status_500":
        return _internal_error(settings)
    return nginx(503) if fault in ("status_503", "result_500_gateway") else Dropped()


def _internal_error(settings: Settings) -> Response:
    return told(500, "Internal server error", "internal_error", retry_hint(settings, again=False))
