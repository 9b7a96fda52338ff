"""fal's platform API, `https://api.fal.ai/v1`: models, prices, request history, billing events (fal-api.md §3, PAPI).

fal does not say by which time `start` and `end` filter the history. Here: by the end of a request, or by its start
while it is in progress. Requests that never started are not listed, since fal's `started_at` is required.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from . import history
from .account import Account
from .faults import Phase
from .history import BadQueryError, Page, Query
from .models import MODELS, Model
from .prices import CURRENCY, UNIT, UNIT_PRICE_USD
from .replies import Handler, answer, base_url, platform_error, with_platform_key

VERSION = 1
"""Version of the emulator's own part of `/v1/meta`."""
DAY = 86400.0
WIDEST_DAYS = 90
MOST_IDS = 50
HISTORY_PAGE, BILLING_PAGE = 100, 10_000
"""The longest page of each listing."""
WEBHOOK_RANGES = ["127.0.0.1/32"]
_EPOCH = "2025-10-06T00:00:00Z"


class PlatformRoutes:
    """The handlers of the platform API."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def routes(self) -> list[Route]:
        """All endpoints of the platform API that are served."""
        return [
            Route("/v1/meta", self.meta, methods=["GET"]),
            Route("/v1/models", _checked(self.models), methods=["GET"]),
            Route("/v1/models/pricing", with_platform_key(_checked(self.pricing)), methods=["GET"]),
            Route("/v1/models/requests/by-endpoint", with_platform_key(_checked(self.requests)), methods=["GET"]),
            Route("/v1/models/billing-events", with_platform_key(_checked(self.billing_events)), methods=["GET"]),
        ]

    async def meta(self, _: Request) -> Response:
        """What fal says here, and who this emulator is."""
        emulator = {"id": self._account.ledger.id, "version": VERSION}
        return answer({"webhook_ip_ranges": WEBHOOK_RANGES, "emulator": emulator})

    async def models(self, request: Request) -> Response:
        """The models, all or some; `metadata.status` tells a model that is about to go."""
        ids = _ids(request.query_params, "endpoint_id", required=False)
        chosen = [model for name, model in MODELS.items() if not ids or name in ids]
        kept = [model for model in chosen if _matches(model, request.query_params)]
        models = [_described(model, base_url(request)) for model in kept]
        return answer({"models": models, "next_cursor": None, "has_more": False})

    async def pricing(self, request: Request) -> Response:
        """One flat price a unit: here a unit is a cent."""
        ids = _ids(request.query_params, "endpoint_id")
        unknown = [name for name in ids if name not in MODELS]
        if unknown:
            return platform_error(404, "not_found", f"Unknown endpoint: {', '.join(unknown)}")
        unit = {"unit_price": float(UNIT_PRICE_USD), "unit": UNIT, "currency": CURRENCY}
        prices = [{"endpoint_id": name, **unit} for name in ids]
        return answer({"prices": prices, "next_cursor": None, "has_more": False})

    async def requests(self, request: Request) -> Response:
        """The request history."""
        if self._account.dice.strike(Phase.HISTORY, "history", "") is not None:
            return platform_error(500, "server_error", "An unexpected error occurred")
        query = _query(request.query_params, self._account.now(), most=HISTORY_PAGE)
        page = history.requests(self._account, query)
        payloads = "payloads" in _list(request.query_params, "expand")
        items = [history.item(self._account, record, base_url(request), payloads=payloads) for record in page.records]
        return answer({"items": items, **_paging(page)})

    async def billing_events(self, request: Request) -> Response:
        """What was billed, request by request."""
        query = _query(request.query_params, self._account.now(), most=BILLING_PAGE)
        page = history.billed(self._account, query)
        events = [history.event(record) for record in page.records]
        return answer({"billing_events": events, **_paging(page)})


def _checked(handler: Handler) -> Handler:
    """Answers a malformed query with 400 in the platform API's shape."""

    async def guarded(request: Request) -> Response:
        try:
            return await handler(request)
        except BadQueryError as error:
            return platform_error(400, "validation_error", str(error))

    return guarded


def _paging(page: Page) -> dict[str, Any]:
    return {"next_cursor": page.next_cursor, "has_more": page.next_cursor is not None}


def _list(params: QueryParams, name: str) -> list[str]:
    """A parameter that may be repeated, or hold several values with commas between."""
    return [part.strip() for value in params.getlist(name) for part in value.split(",") if part.strip()]


def _ids(params: QueryParams, name: str, *, required: bool = True) -> list[str]:
    ids = _list(params, name)
    if len(ids) > MOST_IDS or (required and not ids):
        raise BadQueryError(f"{name}: expected 1 to {MOST_IDS} values")
    return ids


def _query(params: QueryParams, now: float, *, most: int) -> Query:
    """The filters that history and billing events have in common."""
    request_ids = _ids(params, "request_id", required=False)
    start, end = _time(params, "start"), _time(params, "end")
    status = params.get("status")
    if status not in (None, "success", "error", "user_error") or params.get("sort_by") not in (
        None,
        "ended_at",
        "duration",
    ):
        raise BadQueryError("status: success, error or user_error; sort_by: ended_at or duration")
    # fal: the last 24 hours, widened to 90 days when a request is asked for by its id.
    widest = WIDEST_DAYS * DAY if request_ids else DAY
    return Query(
        endpoint_ids=_ids(params, "endpoint_id", required=most == HISTORY_PAGE),
        request_ids=request_ids,
        start=(now if end is None else end) - widest if start is None else start,
        end=end,
        status=status,
        by_duration=params.get("sort_by") == "duration",
        limit=_limit(params, most),
        cursor=params.get("cursor"),
    )


def _limit(params: QueryParams, most: int) -> int:
    text = params.get("limit", "50")
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise BadQueryError(f"limit: expected a whole number from 1 to {most}")
    return int(text)


def _time(params: QueryParams, name: str) -> float | None:
    """ISO 8601, date or date and time; UTC unless it says otherwise."""
    text = params.get(name)
    if text is None:
        return None
    try:
        # In a query an unquoted plus sign of an offset arrives as a blank.
        moment = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
    except ValueError:
        raise BadQueryError(f"{name}: expected an ISO 8601 date or time") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _matches(model: Model, params: QueryParams) -> bool:
    words = f"{model.endpoint_id} {model.display_name} {model.category} {model.description}".lower()
    return (
        params.get("q", "").lower() in words
        and params.get("category") in (None, model.category)
        and params.get("status") in (None, model.status)
    )


def _described(model: Model, base: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "display_name": model.display_name,
        "category": model.category,
        "description": model.description,
        "status": model.status,
        "tags": [],
        "updated_at": _EPOCH,
        "is_favorited": None,
        "thumbnail_url": "",
        "model_url": f"{base}/{model.endpoint_id}",
        "date": _EPOCH,
        "highlighted": False,
        "pinned": False,
    }
    return {"endpoint_id": model.endpoint_id, "metadata": metadata}
