"""Parsing of a received POST: body, platform headers, query (docs/fal-wire.md#submit)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from starlette.requests import Request

from dagster_gptimg.emulator.account.received_post import LIFECYCLE, Submission
from dagster_gptimg.emulator.account.storage import expiry_seconds
from dagster_gptimg.emulator.http.replies import base_url

LEAST_START_TIMEOUT = 0.1
"""Seconds; a start timeout must be more (docs/fal-wire.md#submit)."""

MOST_TAGS = 10
MOST_TAG_BYTES = 1024
_TAG = re.compile(r"([a-z0-9._-]{1,64})=([\x20-\x2b\x2d-\x7e]{1,256})")


class BadRequestError(ValueError):
    """A POST that the gateway refuses as malformed."""


async def read_submission(request: Request, endpoint_id: str) -> Submission:
    """Return what a POST asks for; raises BadRequestError if the gateway refuses it as malformed."""
    body, headers = await request.body(), request.headers
    _check_lifecycle(headers.get(LIFECYCLE))
    return Submission(
        endpoint_id=endpoint_id,
        body=body.decode("utf-8", "replace"),
        arguments=_parsed(body),
        # The deprecated name is still what the SDKs send; the new one wins.
        start_timeout=_start_timeout(_header(headers, "x-fal-request-start-timeout", "x-fal-request-timeout")),
        low_priority=headers.get("x-fal-queue-priority", "").lower() == "low",
        store_io=headers.get("x-fal-store-io") != "0",
        no_retry=headers.get("x-fal-no-retry", "").lower() in ("1", "true", "yes"),
        headers={name: value for name, value in headers.items() if name.startswith(("x-fal-", "x-app-fal-"))},
        tags=tags_of(headers.get("x-fal-tags", "")),
        webhook=request.query_params.get("fal_webhook"),
        base_url=base_url(request),
    )


def tags_of(text: str) -> dict[str, str]:
    """Return the tags that fal keeps; invalid ones are silently dropped, and never fail the request."""
    kept: dict[str, str] = {}
    size = 0
    for pair in text.split(","):
        found = _TAG.fullmatch(pair.strip())
        if found is None or found[1].startswith("fal.") or len(kept) == MOST_TAGS:
            continue
        size += len(found[0]) + bool(kept)
        if size <= MOST_TAG_BYTES:
            kept[found[1]] = found[2]
    return kept


def _header(headers: Mapping[str, str], *names: str) -> str | None:
    """The first of these headers that is there."""
    return next((headers[name] for name in names if name in headers), None)


def _check_lifecycle(text: str | None) -> None:
    try:
        expiry_seconds(text)
    except ValueError as error:
        raise BadRequestError("X-Fal-Object-Lifecycle-Preference is not valid") from error


def _parsed(body: bytes) -> object:
    try:
        return json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BadRequestError("The request body is not valid JSON") from error


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
        raise BadRequestError(f"X-Fal-Request-Start-Timeout must be a number greater than {LEAST_START_TIMEOUT}")
    return seconds


def is_too_long(limit: str | None, waiting: int) -> bool:
    """Whether the queue is longer than `fal_max_queue_length` allows."""
    if limit is None:
        return False
    if not limit.isdecimal():
        raise BadRequestError("fal_max_queue_length must be an integer")
    return waiting > int(limit)
