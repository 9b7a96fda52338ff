"""Reads of fal's platform API: the request history, the list of models, the price list."""

from __future__ import annotations

import asyncio
import difflib
from typing import TYPE_CHECKING

from dagster_gptimg.errors import ReadError
from dagster_gptimg.fal.http.bodies import DOCUMENT_BYTES, HISTORY_BYTES, amount

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence
    from datetime import datetime
    from decimal import Decimal

    from dagster_gptimg.fal.http.answers import Answers
    from dagster_gptimg.fal.http.connections import Wire
    from dagster_gptimg.fal.types import HistoryItem, HistoryPage, Json

_HISTORY = "/v1/models/requests/by-endpoint"

HISTORY_PAGES = 10_000
"""Pages of one reading of the history at most: a million requests."""

HISTORY_SECONDS = 600.0
"""Seconds that one reading of the history may take."""

MOST_NAMED = 30
"""Endpoints that a message names."""


async def history(
    wire: Wire, answers: Answers, endpoint: str, start: datetime, end: datetime | None
) -> AsyncIterator[HistoryPage]:
    """The history's pages for an endpoint, from a moment to another. Raises `ReadError`, also when they have no end."""
    params = {"endpoint_id": endpoint, "start": start.isoformat(), "expand": "payloads", "limit": "100"}
    if end is not None:
        params["end"] = end.isoformat()
    seen, until = set[str](), asyncio.get_running_loop().time() + HISTORY_SECONDS
    while True:
        page = answers.history(await wire.api(_HISTORY, params, HISTORY_BYTES))
        yield page
        if page.cursor is None:
            return
        if page.cursor in seen or len(seen) >= HISTORY_PAGES or asyncio.get_running_loop().time() > until:
            raise ReadError(f"fal's request history has no end: given up after {len(seen) + 1} pages")
        seen.add(page.cursor)
        params["cursor"] = page.cursor


async def lookup(wire: Wire, answers: Answers, endpoint: str, request_id: str) -> HistoryItem | None:
    """One request's line in the history, or None. Raises `ReadError`."""
    params = {"endpoint_id": endpoint, "request_id": request_id, "expand": "payloads"}
    page = answers.history(await wire.api(_HISTORY, params, HISTORY_BYTES))
    return next((item for item in page.items if item.request_id == request_id), None)


async def unit_price(wire: Wire, endpoint: str) -> Decimal | None:
    """US dollars a billable unit; None where the price list has no such line that is sound. Raises `ReadError`."""
    page = await wire.api("/v1/models/pricing", {"endpoint_id": endpoint}, DOCUMENT_BYTES)
    prices = page.get("prices")
    for price in prices if isinstance(prices, list) else []:
        if isinstance(price, dict) and price.get("endpoint_id") == endpoint and price.get("currency") == "USD":
            return amount(price.get("unit_price"))
    return None


async def models(wire: Wire, endpoints: Sequence[str], **more: str) -> list[dict[str, Json]]:
    """The entries of endpoints in fal's list of models. Raises `ReadError`."""
    page = await wire.api("/v1/models", {"endpoint_id": list(endpoints), **more}, DOCUMENT_BYTES)
    found = page.get("models")
    if not isinstance(found, list):
        raise ReadError("fal's list of models cannot be read")
    return [entry for entry in found if isinstance(entry, dict)]


def others(api: str, endpoint: str, known: Iterable[str]) -> str:
    """What to say of the endpoints that an emulator knows, to somebody who has asked for another one."""
    names = sorted(known)
    near = difflib.get_close_matches(endpoint, names, 1)
    meant = f" Did you mean {near[0]}?" if near else ""
    more = f", and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"{meant} {api} knows {', '.join(names[:MOST_NAMED])}{more}" if names else ""
