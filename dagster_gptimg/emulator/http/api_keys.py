"""Authentication: API keys, ADMIN keys, and the errors for other keys (docs/fal-wire.md#authentication).

Every key is valid that is not empty and does not start with `bad`. A key that starts with `admin` is an ADMIN key; all
others have the scope API, which is what fal's documents tell users to make. So `FAL_KEY=admin-key` is an administrator.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from dagster_gptimg.emulator.account.account import Account
from dagster_gptimg.emulator.http.replies import Handler, answer, platform_error, told


def key_problem(request: Request) -> str | None:
    """Why this caller is refused, or None."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() not in ("key", "bearer") or not key.strip():
        return "Authentication is required to access this application."
    return "No user found for Key ID and Secret" if key.strip().startswith("bad") else None


def is_admin(request: Request) -> bool:
    """Whether this caller has an ADMIN key."""
    return request.headers.get("authorization", "").partition(" ")[2].strip().startswith("admin")


def with_key(account: Account, handler: Handler) -> Handler:
    """The handler for callers with a good key; the others get 401."""

    async def guarded(request: Request) -> Response:
        problem = key_problem(request)
        if problem is None:
            return await handler(request)
        return (
            told(401, problem) if account.settings.unauthorized == "reason" else answer({"detail": "Unauthorized"}, 401)
        )

    return guarded


def with_platform_key(handler: Handler) -> Handler:
    """Guard a handler of the platform API, with the platform's error for an invalid key."""

    async def guarded(request: Request) -> Response:
        problem = key_problem(request)
        return await handler(request) if problem is None else platform_error(401, "authorization_error", problem)

    return guarded


def with_admin_key(handler: Handler) -> Handler:
    """The handler for callers with an ADMIN key; one of the scope API gets 403."""

    async def guarded(request: Request) -> Response:
        if not is_admin(request):
            return platform_error(403, "authorization_error", "This endpoint requires an ADMIN API key")
        return await handler(request)

    return with_platform_key(guarded)
