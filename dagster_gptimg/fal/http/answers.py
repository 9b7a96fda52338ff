"""Parsing of fal's answers: the one place that decides what the outcome of a submit was, and what a body means.

This is written by hand because no client does it right: the official ones repeat a POST on time-outs, dropped
connections, 408, 409, 429 and nginx pages (fal_client 1.0.3: up to ten times), and each repetition may be a paid
request.

An answer to a read says something about the request only if it has fal's own shape. Any other answer is a failed read
(`ReadError`). No function here makes an outcome; `engine/collect/result_reads.py` does, from several reads.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
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
from dagster_gptimg.fal.http.bodies import amount, parse_object, seconds, whole_number
from dagster_gptimg.fal.http.details import details_of, nsfw_flags
from dagster_gptimg.fal.http.request_ids import accepted_id, header_id, is_request_id
from dagster_gptimg.fal.http.texts import Texts
from dagster_gptimg.fal.types import (
    Answer,
    Completed,
    Ending,
    Failure,
    HistoryItem,
    HistoryPage,
    ImageFile,
    Images,
    InProgress,
    Json,
    LogLine,
    Pending,
    Queued,
    Status,
    Submitted,
    listed_images,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagster_gptimg.fal.http.bodies import Reply

REJECTIONS = frozenset({400, 401, 403, 404, 413, 422, 429})
"""HTTP statuses by which fal itself rejects a submit, if the body is fal's JSON. Every other status is ambiguous.

408, 409, 425, 499 and every 5xx can come from a gateway that has already passed the request on.
"""

_NOT_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.ClientHttpProxyError)
# httpx-aiohttp reports *every* lost connection as httpx.ConnectTimeout, also one that is cut after the request was sent
# (its map ends with ClientConnectionError -> ConnectTimeout). Only aiohttp's own connector errors prove that no byte
# left, so the cause is looked at, never httpx's class. A proxy that refuses CONNECT has passed nothing on either.

GONE = frozenset({404, 410})
"""HTTP statuses of a request or result that fal does not have (any more).

fal documents no status for an expired one.
"""

OF_THE_READING = frozenset({401, 403, 404, 405, 408, 409, 410, 425, 429})
"""HTTP statuses that say something about this read and nothing about the request, whatever the body.

Read again later.
"""

NOT_LOADED = frozenset({"file_download_error", "image_load_error"})
"""Error types for a reference image that fal could not load. No model has run, so nothing was computed.

fal bills a 422 only for compute that was spent.
"""

DOWNSTREAM = frozenset({"downstream_service_error", "downstream_service_unavailable", "generation_timeout"})
"""Error types for failures of the model itself, whatever the HTTP status; they never concern the content.

fal's documentation shows status 400 in one copy and 500 in another.
"""

LOCKED = "locked"
"""Word in fal's message if it has locked the account; any other 403 may be temporary."""

SHAPED_422 = "unknown"
"""Error type that is recorded for a 422 with a text, from a model that has no typed error details yet."""

NO_IMAGES = "ended_without_images"

LOG_LINES = 1000
LOG_LETTERS = 2000
IMAGES_MOST = 1000


def never_sent(error: Exception) -> bool:
    """Return whether a call without an HTTP answer provably never left this machine."""
    return isinstance(error.__cause__, _NOT_SENT) or isinstance(error, httpx.UnsupportedProtocol | httpx.InvalidURL)


class Answers:
    """Parser of the answers to one key's calls; no text that it returns contains the key."""

    def __init__(self, texts: Texts | None = None) -> None:
        """Use `texts` to clean the texts of answers; without it, no key is masked."""
        self._texts = texts or Texts()

    # -- submit

    def submit_failure(self, error: Exception) -> SubmitError:
        """Return the error for a submit without an HTTP answer: `NotSentError`, or `AmbiguousSubmitError`."""
        words = self._texts.clean(str(error)) or type(error).__name__
        if never_sent(error):
            return NotSentError(f"fal cannot be reached: {words}")
        return AmbiguousSubmitError(f"fal did not answer a submit: {words}")

    def submitted(self, reply: Reply, endpoint: str) -> Submitted:
        """Return the request that fal accepted. Its id is read first, and counts whatever else the answer holds.

        Raises:
            RejectedError: fal itself rejected the submit (`AccountLockedError` if fal has locked the account).
            AmbiguousSubmitError: any other answer.
        """
        body = _object(reply)
        if reply.is_success and (request_id := self._own_id(accepted_id(reply, body))) is not None:
            names = ("status_url", "response_url", "cancel_url")
            urls = {name: self._texts.url((body or {}).get(name)) for name in names}
            return Submitted(request_id=request_id, endpoint=endpoint, **urls)
        code = reply.status_code
        if code not in REJECTIONS or body is None or not reply.is_whole or not _is_fals(body):
            msg = f"the answer to a submit (HTTP {code}) does not say whether fal has accepted the request"
            raise AmbiguousSubmitError(msg, status_code=code)
        words = self._error_words(body)
        if code == httpx.codes.FORBIDDEN and LOCKED in words.lower():
            raise AccountLockedError(f"fal has locked the account: {words}", status_code=code)
        wait = seconds(_digits(reply.headers.get("retry-after", "")))
        raise RejectedError(f"fal rejected a submit (HTTP {code}): {words}", status_code=code, retry_after=wait)

    # -- status

    def status(self, reply: Reply, request_id: str) -> Status:
        """Return the status of a request.

        Raises:
            GoneError: fal says, in its own shape, that it does not know the request (any more).
            ReadError: the answer is not a status of this request.
        """
        body = _object(reply)
        if reply.status_code in GONE and body is not None and _is_fals(body):
            raise GoneError("fal does not know this request (any more)", status_code=reply.status_code)
        status = self.status_of(body, request_id) if body is not None and reply.is_success and reply.is_whole else None
        if status is None:
            raise ReadError(f"fal's answer (HTTP {reply.status_code}) is not a status", status_code=reply.status_code)
        return status

    def status_of(self, body: Mapping[str, Json], request_id: str) -> Status | None:
        """Return the status in a body or a stream's event; None if there is no status, or it is another request's."""
        if body.get("request_id", request_id) != request_id:
            return None
        name = body.get("status")
        if name == "IN_QUEUE":
            return Queued(whole_number(body.get("queue_position")))
        if name == "IN_PROGRESS":
            return InProgress(self._logs(body.get("logs")))
        if name != "COMPLETED":
            return None
        metrics = body.get("metrics")
        took = seconds(metrics.get("inference_time")) if isinstance(metrics, dict) else None
        error, error_type = (self._texts.clean(body.get(field)) or None for field in ("error", "error_type"))
        return Completed(error, error_type, self._logs(body.get("logs")), took)

    def _logs(self, lines: Json) -> tuple[LogLine, ...]:
        """Return fal's log lines, at most the latest `LOG_LINES`; entries that are not log lines are left out."""
        clean = self._texts.clean
        dicts = [line for line in lines[-LOG_LINES:] if isinstance(line, dict)] if isinstance(lines, list) else []
        return tuple(
            LogLine(
                clean(line.get("message"), LOG_LETTERS), clean(line.get("timestamp"), 64), clean(line.get("level"), 16)
            )
            for line in dicts
        )

    # -- result

    def result(self, reply: Reply) -> Answer:
        """Return the result of a request: images, fal's own error, or "not ended yet".

        An error counts as fal's own only in one of fal's shapes: a list of details with types (the model's), an
        `error_type` (the platform's), or a 422 with a text, from a model that has no typed details yet. A gateway's
        page, JSON of another shape, and every status in `OF_THE_READING` is a failed read.

        Raises:
            GoneError: fal says, in its own shape, that it does not have the result (any more).
            ReadError: the answer says nothing about the request.
        """
        body, code = _object(reply), reply.status_code
        if body is not None and reply.is_success and reply.is_whole and code != httpx.codes.ACCEPTED:
            return self._images_or_none(body, reply)
        if code == httpx.codes.ACCEPTED or (code == httpx.codes.BAD_REQUEST and _is_early(body)):
            return Pending()
        if code in GONE and body is not None and _is_fals(body):
            raise GoneError("fal does not have this result (any more)", status_code=code)
        kind = _own_type(body, reply) if reply.is_whole else None
        if body is None or kind is None or code < httpx.codes.BAD_REQUEST or code in OF_THE_READING:
            raise ReadError(f"fal's answer (HTTP {code}) is not a result", status_code=code)
        units = amount(reply.headers.get("x-fal-billable-units"))
        ending = ending_of(code, kind, is_models=isinstance(body["detail"], list), is_unbilled=units == 0)
        return Failure(
            kind=ending,
            status_code=code,
            error_type=self._texts.clean(kind, 100),
            message=self._error_words(body),
            billable_units=units,
        )

    def _images_or_none(self, body: Mapping[str, Json], reply: Reply) -> Images | Failure:
        units = amount(reply.headers.get("x-fal-billable-units"))
        if listed_images(body) == []:
            return Failure(
                kind="ended",
                status_code=reply.status_code,
                error_type=NO_IMAGES,
                message="fal's result has no images",
                billable_units=units,
            )
        found = self.images(body)
        return replace(found, billable_units=units, answers_for=self._texts.clean(header_id(reply)) or None)

    def images(self, output: Mapping[str, Json] | None) -> Images:
        """Return the images that a model's output lists. Raises `ReadError` if it lists none."""
        output = output or {}
        listed = listed_images(output) or []
        flags = nsfw_flags(output, len(listed))
        read = [self._image(file, flags.get(place)) for place, file in enumerate(listed[:IMAGES_MOST])]
        found = tuple(file for file in read if file is not None)
        if not found:
            raise ReadError("fal's result has no images")
        return Images(found, unreadable=len(read) - len(found), details=details_of(output, self._texts))

    def _image(self, file: Json, nsfw: bool | None) -> ImageFile | None:  # noqa: FBT001
        about = file if isinstance(file, dict) else {}
        url = about.get("url")
        holds = isinstance(url, str) and url.startswith("data:") and url.isascii()
        where = str(url) if holds else self._texts.address(url)
        if not where:
            return None
        return ImageFile(
            where,
            self._texts.clean(about.get("content_type"), 100) or None,
            self._texts.clean(about.get("file_name"), 200) or None,
            whole_number(about.get("file_size")),
            whole_number(about.get("width"), 10**6),
            whole_number(about.get("height"), 10**6),
            nsfw=nsfw,
        )

    # -- history

    def history(self, body: Mapping[str, Json]) -> HistoryPage:
        """Return one page of the request history; an entry that cannot be parsed only makes the page incomplete.

        Raises:
            ReadError: the body is not a page of the history.
        """
        lines = body.get("items")
        if not isinstance(lines, list):
            raise ReadError("fal's answer is not a page of the request history")
        items = [self._history_item(line) for line in lines]
        cursor = self._texts.address(body.get("next_cursor")) if body.get("has_more") else None
        if cursor == "":
            raise ReadError("a page of fal's request history says that more pages follow, but has no cursor")
        return HistoryPage(tuple(item for item in items if item is not None), None not in items, cursor)

    def _history_item(self, item: Json) -> HistoryItem | None:
        """Return one entry of the request history; None if it lacks a field that every entry must have."""
        request_id = self._own_id(item.get("request_id")) if isinstance(item, dict) else None
        if not isinstance(item, dict) or request_id is None:
            return None
        sent_at, ended_at = _time(item.get("sent_at")), _time(item.get("ended_at"))
        if sent_at is None or (ended_at is None and item.get("ended_at") is not None):
            return None
        given, output = item.get("json_input"), item.get("json_output")
        return HistoryItem(
            request_id=request_id,
            endpoint_id=self._texts.clean(str(item.get("endpoint_id")), 200),
            sent_at=sent_at,
            ended_at=ended_at,
            status_code=whole_number(item.get("status_code"), 999),
            json_input=given if isinstance(given, dict) else None,
            json_output=output if isinstance(output, dict) else None,
        )

    def _own_id(self, name: object) -> str | None:
        """Return a request id that may be recorded, also in a file name.

        None if it is not valid or contains the key.
        """
        return str(name) if is_request_id(name) and not self._texts.has_key(str(name)) else None

    # -- words

    def _error_words(self, body: Mapping[str, Json]) -> str:
        """Return fal's error message, without its `input` field, which repeats the prompt."""
        detail = body.get("detail", body.get("error", body.get("status")))
        if isinstance(detail, list):
            told = [d.get("msg", d.get("type")) for d in detail[:20] if isinstance(d, dict)]
            return self._texts.clean("; ".join(self._texts.clean(text) for text in told))
        if isinstance(detail, dict):
            detail = detail.get("message")
        return self._texts.clean(detail)


def ending_of(code: int, error_type: str, *, is_models: bool, is_unbilled: bool) -> Ending:
    """Return what an error of fal's own means once it is confirmed (docs/fal-wire.md#model-error-types).

    Args:
        code: its HTTP status.
        error_type: its machine-readable type.
        is_models: whether the model sent it (a list of details), not the platform.
        is_unbilled: whether the answer says that 0 units were billed.
    """
    if code >= httpx.codes.INTERNAL_SERVER_ERROR:
        return "free"  # fal never bills these (its FAQ)
    if error_type in NOT_LOADED | DOWNSTREAM:
        return "free" if is_unbilled or error_type in NOT_LOADED else "ended"
    is_about_inputs = code == httpx.codes.UNPROCESSABLE_ENTITY or (code == httpx.codes.BAD_REQUEST and is_models)
    if is_about_inputs and (is_models or error_type == SHAPED_422):
        return "refused"
    return "free" if is_unbilled else "ended"


def _object(reply: Reply) -> dict[str, Json] | None:
    try:
        return parse_object(reply.body)
    except ReadError:
        return None


def _is_fals(body: Mapping[str, Json]) -> bool:
    """Return whether an error has fal's shape: `detail`, `error.type` (platform API) or `status: NOT_FOUND`."""
    error = body.get("error")
    return "detail" in body or (isinstance(error, dict) and "type" in error) or body.get("status") == "NOT_FOUND"


def _is_early(body: Mapping[str, Json] | None) -> bool:
    """Return whether the body of a 400 says that the request has not ended yet."""
    detail = (body or {}).get("detail")
    return isinstance(detail, str) and "still in progress" in detail


def _own_type(body: Mapping[str, Json] | None, reply: Reply) -> str | None:
    """Return the machine-readable type of fal's own error; None if the answer is not fal's own error."""
    if body is None or "detail" not in body:
        return None
    detail = body["detail"]
    if isinstance(detail, list):
        first = detail[0] if detail else None
        return _text(first.get("type")) if isinstance(first, dict) else None
    return _text(body.get("error_type")) or reply.headers.get("x-fal-error-type") or _untyped(reply, detail)


def _untyped(reply: Reply, detail: Json) -> str | None:
    """Return an error type for an error that fal sends without one.

    A refusal as text (422), or a start that came too late (504).
    """
    if reply.status_code == httpx.codes.UNPROCESSABLE_ENTITY and isinstance(detail, str):
        return SHAPED_422 if "x-fal-request-id" in reply.headers else None
    return "request_timeout" if reply.headers.get("x-fal-request-timeout-type") == "user" else None


def _digits(text: str) -> float | None:
    return float(text) if len(text) <= 9 and text.isascii() and text.isdigit() else None  # noqa: PLR2004 - 30 years


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) and value else None


def _time(value: Json) -> datetime | None:
    """Return a time as a UTC datetime; None for anything else, and for times outside the range of `datetime`."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        return None if moment is None else (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
