"""Query parameters of the platform API, and the errors for invalid ones."""

from __future__ import annotations

from datetime import UTC, datetime

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from dagster_gptimg.emulator.http.replies import Handler, platform_error

MOST_IDS = 50


class BadQueryError(ValueError):
    """A query or body that the platform API refuses."""


def checked(handler: Handler) -> Handler:
    """Answers a malformed query with 400 in the platform API's shape."""

    async def guarded(request: Request) -> Response:
        try:
            return await handler(request)
        except BadQueryError as error:
            return platform_error(400, "validation_error", str(error))

    return guarded


def many(params: QueryParams, name: str) -> list[str]:
    """A parameter that may be repeated, or hold several values with commas between."""
    return [part.strip() for value in params.getlist(name) for part in value.split(",") if part.strip()]


def ids(params: QueryParams, name: str, *, required: bool = True) -> list[str]:
    """1 to 50 ids; none at all if they are not required."""
    found = many(params, name)
    if len(found) > MOST_IDS or (required and not found):
        raise BadQueryError(f"{name}: expected 1 to {MOST_IDS} values")
    return found


def limit(params: QueryParams, most: int) -> int:
    """Return the length of a page, by default 50."""
    text = params.get("limit", "50")
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise BadQueryError(f"limit: expected a whole number from 1 to {most}")
    return int(text)


def time(params: QueryParams, name: str) -> float | None:
    """ISO 8601, date or date and time; UTC unless it says otherwise. Unix seconds."""
    text = params.get(name)
    if text is None:
        return None
    try:
        # In a query an unquoted plus sign of an offset arrives as a blank.
        moment = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
    except ValueError:
        raise BadQueryError(f"{name}: expected an ISO 8601 date or time") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def choice(params: QueryParams, name: str, *known: str) -> str | None:
    """One of the known words, or nothing."""
    word = params.get(name)
    if word is not None and word not in known:
        raise BadQueryError(f"{name}: expected {', '.join(known)}")
    return word
