"""Reading fal's answers: the one place that decides what a submit's outcome was, and what a body means.

We write this by hand because no client does it right: the official ones repeat a POST on time-outs, dropped
connections,
408, 409, 429 and nginx pages (fal_client 1.0.3: up to ten times), and each repetition may be a paid request.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

import aiohttp
import httpx

from dagster_gptimg.errors import (
    AccountLockedError,
    AmbiguousSubmitError,
    GoneError,
    NotSentError,
    ReadError,
    RejectedError,
    SubmitError,
)
from dagster_gptimg.fal.types import (
    Answer,
    Completed,
    Failure,
    HistoryItem,
    ImageFile,
    Images,
    InProgress,
    Json,
    LogLine,
    Pending,
    Queued,
    Status,
    Submitted,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

REJECTIONS = frozenset({400, 401, 403, 404, 413, 422, 429})
"""The statuses by which fal itself turns a submit away, when they carry fal's JSON. Everything else is ambiguous:
408, 409, 425, 499 and every 5xx can come from something that has passed the request on already."""

_NOT_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
# httpx-aiohttp reports *every* lost connection as httpx.ConnectTimeout, also one that is cut after the request was sent
# (its map ends with ClientConnectionError -> ConnectTimeout). Only aiohttp's own connector errors prove that no byte
# left, so the cause is looked at, never httpx's class.

_GONE = frozenset({404, 410})
"""What fal says of a request or result that it does not have (any more). It documents no code for an expired one."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")


def is_request_id(text: object) -> bool:
    """True when this can be a request id. It becomes part of file names, so nothing else is let through."""
    return isinstance(text, str) and _REQUEST_ID.fullmatch(text) is not None


def never_sent(error: httpx.HTTPError | httpx.InvalidURL) -> bool:
    """Whether a call that brought no HTTP answer provably never left this machine."""
    return isinstance(error.__cause__, _NOT_SENT) or isinstance(error, httpx.UnsupportedProtocol | httpx.InvalidURL)


def submit_failure(error: httpx.HTTPError | httpx.InvalidURL) -> SubmitError:
    """What a submit that brought no HTTP answer means: not sent, or ambiguous."""
    if never_sent(error):
        return NotSentError(f"fal cannot be reached: {_words(error)}")
    return AmbiguousSubmitError(f"no answer to a submit: {_words(error)}")


def read_submit(response: httpx.Response, endpoint: str) -> Submitted:
    """The request that fal accepted.

    Raises:
        RejectedError: fal itself turned it away (`AccountLockedError` for 403).
        AmbiguousSubmitError: anything else.
    """
    body = _json_object(response)
    if response.is_success and body is not None and is_request_id(body.get("request_id")):
        urls = [body.get(name) for name in ("status_url", "response_url", "cancel_url")]
        return Submitted(str(body["request_id"]), endpoint, *(u if isinstance(u, str) else "" for u in urls))
    code = response.status_code
    if code not in REJECTIONS or body is None or not _is_fals(body):
        msg = f"an answer to a submit that does not tell whether fal has the request (HTTP {code})"
        raise AmbiguousSubmitError(msg, status_code=code)
    words = _error_words(body)
    if code == httpx.codes.FORBIDDEN:
        raise AccountLockedError(f"fal has locked the account: {words}", status_code=code)
    raise RejectedError(f"fal rejected a submit (HTTP {code}): {words}", status_code=code, retry_after=_wait(response))


def read_status(response: httpx.Response) -> Status:
    """A request's status.

    Raises:
        GoneError: fal does not know the request (any more).
        ReadError: this is no status.
    """
    body = _json_object(response)
    if response.status_code in _GONE and body is not None:
        raise GoneError("fal does not know this request (any more)", status_code=response.status_code)
    status = status_of(body) if body is not None and response.is_success else None
    if status is None:
        raise ReadError(f"not a status (HTTP {response.status_code})", status_code=response.status_code)
    return status


def status_of(body: Mapping[str, Json]) -> Status | None:
    """The status that a body says, of an answer or of an event in a stream; None when it says none."""
    name = body.get("status")
    if name == "IN_QUEUE":
        position = body.get("queue_position")
        return Queued(position if isinstance(position, int) else None)
    if name == "IN_PROGRESS":
        return InProgress(_logs(body.get("logs")))
    if name != "COMPLETED":
        return None
    metrics = body.get("metrics")
    seconds = metrics.get("inference_time") if isinstance(metrics, dict) else None
    return Completed(
        _text(body.get("error")),
        _text(body.get("error_type")),
        _logs(body.get("logs")),
        float(seconds) if isinstance(seconds, int | float) else None,
    )


def _logs(lines: Json) -> tuple[LogLine, ...]:
    """Fal's log lines; what is not one is left out."""
    return tuple(
        LogLine(str(line.get("message", "")), str(line.get("timestamp") or ""), str(line.get("level") or ""))
        for line in (lines if isinstance(lines, list) else [])
        if isinstance(line, dict)
    )


def read_result(response: httpx.Response) -> Answer:
    """A request's result: images, fal's own error, or not yet.

    An error counts as fal's own only in one of fal's shapes: a list of details with types (the model's), an
    `error_type` (the platform's), or a 422 with a text, of a model that has no typed details yet. A gateway's page, or
    JSON of another shape, is a failed read; so is a text with 500 and above: only fal's own word makes a failure free.

    Raises:
        GoneError: fal does not have the result (any more).
        ReadError: the answer says nothing about the request.
    """
    body, code = _json_object(response), response.status_code
    if body is not None and response.is_success and code != httpx.codes.ACCEPTED:
        return Images(_images(body), _units(response))
    if code == httpx.codes.ACCEPTED or (code == httpx.codes.BAD_REQUEST and "still in progress" in _error_words(body)):
        return Pending()
    kind = _own_type(body, response)
    if body is None or kind is None or code < httpx.codes.BAD_REQUEST:
        if code in _GONE and body is not None:
            raise GoneError("fal does not have this result (any more)", status_code=code)
        raise ReadError(f"not a result (HTTP {code})", status_code=code)
    return Failure(code, kind, _error_words(body), _units(response))


def images_of(json_output: Mapping[str, Json] | None) -> tuple[ImageFile, ...]:
    """The images of a result as the history keeps it; empty when it has none."""
    try:
        return _images(dict(json_output or {}))
    except ReadError:
        return ()


def read_history(body: Mapping[str, Json]) -> list[HistoryItem]:
    """The lines of one page of the request history.

    Raises:
        ReadError: a line lacks what every line must have. A history with a hole must not be believed.
    """
    items = body.get("items")
    if not isinstance(items, list):
        raise ReadError("not a page of the request history")
    return [_history_item(item) for item in items]


def _history_item(item: Json) -> HistoryItem:
    if not isinstance(item, dict) or not is_request_id(item.get("request_id")):
        raise ReadError("a line of the request history has no request id")
    given, output, code = item.get("json_input"), item.get("json_output"), item.get("status_code")
    return HistoryItem(
        request_id=str(item["request_id"]),
        endpoint_id=str(item.get("endpoint_id")),
        sent_at=_time(item.get("sent_at")),
        ended_at=None if item.get("ended_at") is None else _time(item["ended_at"]),
        status_code=code if isinstance(code, int) else None,
        json_input=given if isinstance(given, dict) else None,
        json_output=output if isinstance(output, dict) else None,
    )


def _images(body: Mapping[str, Json]) -> tuple[ImageFile, ...]:
    files = body.get("images")
    if not isinstance(files, list):
        raise ReadError("a result without images")
    found = tuple(_image(f) for f in files if isinstance(f, dict) and isinstance(f.get("url"), str))
    if not found:
        raise ReadError("a result without images")
    return found


def _image(file: Mapping[str, Json]) -> ImageFile:
    return ImageFile(
        str(file["url"]),
        _text(file.get("content_type")),
        _text(file.get("file_name")),
        _integer(file.get("file_size")),
        _integer(file.get("width")),
        _integer(file.get("height")),
    )


def _json_object(response: httpx.Response) -> dict[str, Json] | None:
    try:
        body = response.json()
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _is_fals(body: Mapping[str, Json]) -> bool:
    """Fal's error bodies: `detail` (queue, models), `error.type` (platform API), `status: NOT_FOUND`."""
    error = body.get("error")
    return "detail" in body or (isinstance(error, dict) and "type" in error) or body.get("status") == "NOT_FOUND"


def _own_type(body: Mapping[str, Json] | None, response: httpx.Response) -> str | None:
    """The machine-readable type of fal's own error, or None when this is not one."""
    if body is None or "detail" not in body:
        return None
    detail = body["detail"]
    if isinstance(detail, list) and detail and isinstance(detail[0], dict):
        return _text(detail[0].get("type"))
    return _text(body.get("error_type")) or response.headers.get("X-Fal-Error-Type") or _untyped(response, detail)


def _untyped(response: httpx.Response, detail: Json) -> str | None:
    """A word for an error that fal gives without a type: a refusal in words, or a start that was too late (504)."""
    headers = response.headers
    if response.status_code == httpx.codes.UNPROCESSABLE_ENTITY and isinstance(detail, str):
        return "unknown" if "X-Fal-Request-Id" in headers else None
    return "request_timeout" if headers.get("X-Fal-Request-Timeout-Type") == "user" else None


def _error_words(body: Mapping[str, Json] | None) -> str:
    """Fal's message, without the `input` that echoes the prompt, at most 500 characters."""
    if body is None:
        return ""
    detail = body.get("detail", body.get("error", body.get("status")))
    if isinstance(detail, list):
        return "; ".join(str(d.get("msg", d.get("type", ""))) for d in detail if isinstance(d, dict))[:500]
    if isinstance(detail, dict):
        detail = detail.get("message")
    return str(detail)[:500]


def _units(response: httpx.Response) -> Decimal | None:
    try:
        units = Decimal(response.headers["X-Fal-Billable-Units"])
    except (KeyError, InvalidOperation):
        return None
    return units if units.is_finite() and units >= 0 else None


def _wait(response: httpx.Response) -> float | None:
    seconds = response.headers.get("Retry-After", "")
    return float(seconds) if seconds.isascii() and seconds.isdigit() else None


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) else None


def _integer(value: Json) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _time(value: Json) -> datetime:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError as error:
        msg = f"{value!r} is not a time"
        raise ReadError(msg) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
