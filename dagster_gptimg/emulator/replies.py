"""JSON answers, and who may ask: the shapes that several services share."""

from __future__ import annotations

import json
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response

REQUEST_ID = "x-fal-request-id"

Handler = Callable[[Request], Awaitable[Response]]


def answer(body: object, status_code: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer. ASCII only, since a prompt may hold a lone surrogate."""
    content = json.dumps(body, separators=(",", ":")).encode()
    return Response(content, status_code, headers, media_type="application/json")


def told(status_code: int, detail: str, error_type: str | None = None, **headers: str) -> Response:
    """A request error: `detail`, `error_type` and its header (fal-api.md §2.1, 2)."""
    body = {"detail": detail, **({"error_type": error_type} if error_type else {})}
    kind = {"X-Fal-Error-Type": error_type} if error_type else {}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return answer(body, status_code, {REQUEST_ID: str(uuid.uuid4()), **kind, **named})


def platform_error(status_code: int, kind: str, message: str) -> Response:
    """An error of the platform API (fal-api.md §2.1, 3)."""
    return answer({"error": {"type": kind, "message": message, "request_id": str(uuid.uuid4())}}, status_code)


def key_problem(request: Request) -> str | None:
    """Why this caller is refused, or None. Every key is good that is not empty and does not start with `bad`."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() not in ("key", "bearer") or not key.strip():
        return "Authentication is required to access this application."
    if key.strip().startswith("bad"):
        return "No user found for Key ID and Secret"
    return None


def with_key(handler: Handler) -> Handler:
    """The handler for callers with a good key; the others get 401."""

    async def guarded(request: Request) -> Response:
        problem = key_problem(request)
        return await handler(request) if problem is None else told(401, problem)

    return guarded


def with_platform_key(handler: Handler) -> Handler:
    """The same in the platform API's words."""

    async def guarded(request: Request) -> Response:
        problem = key_problem(request)
        return await handler(request) if problem is None else platform_error(401, "authorization_error", problem)

    return guarded


def base_url(request: Request) -> str:
    """Where the caller found us: what returned URLs start with."""
    return f"{request.url.scheme}://{request.headers['host']}"


def iso(time: float | None) -> str | None:
    """Unix seconds as fal writes times: `2026-11-24T10:00:00.123456Z`."""
    if time is None:
        return None
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
