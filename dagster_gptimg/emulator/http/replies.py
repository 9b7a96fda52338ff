"""JSON answers: the shapes that several services share."""

from __future__ import annotations

import json
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response

from dagster_gptimg.emulator.open_questions import Readings

REQUEST_ID = "x-fal-request-id"

Handler = Callable[[Request], Awaitable[Response]]


def answer(body: object, status_code: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer. ASCII only, since a prompt may hold a lone surrogate."""
    content = json.dumps(body, separators=(",", ":")).encode()
    return Response(content, status_code, headers, media_type="application/json")


def told(
    status_code: int, detail: object, error_type: str | None = None, headers: dict[str, str] | None = None
) -> Response:
    """A request error: `detail`, `error_type` and its header (docs/fal-wire.md#error-bodies, 2)."""
    body = {"detail": detail, **({"error_type": error_type} if error_type else {})}
    kind = {"X-Fal-Error-Type": error_type} if error_type else {}
    return answer(body, status_code, {REQUEST_ID: str(uuid.uuid4()), **kind, **(headers or {})})


def retry_hint(readings: Readings, *, again: bool) -> dict[str, str]:
    """The header by which fal says whether to try again; it has had two names (docs/fal-wire.md#error-bodies)."""
    if readings.retry_hint == "X-Fal-Retryable":
        return {readings.retry_hint: str(again).lower()}
    return {readings.retry_hint: str(int(again))}


def platform_error(status_code: int, kind: str, message: str) -> Response:
    """An error of the platform API (docs/fal-wire.md#error-bodies, 3)."""
    return answer({"error": {"type": kind, "message": message, "request_id": str(uuid.uuid4())}}, status_code)


def base_url(request: Request) -> str:
    """Where the caller found us: what returned URLs start with."""
    return f"{request.url.scheme}://{request.headers['host']}"


def iso(time: float | None) -> str | None:
    """Unix seconds as fal writes times: `2026-11-24T10:00:00.123456Z`."""
    if time is None:
        return None
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
