"""fal's platform API, `https://api.fal.ai/v1`: request history, payloads, billing events.

docs/fal-wire.md#history and docs/fal-wire.md#platform-api.

fal does not say by which time `start` and `end` filter the history: a setting. Requests that never started are not
listed, unless a setting says so, since fal's `started_at` is required.
"""

from __future__ import annotations

import re
from typing import Any

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dagster_gptimg.emulator.account.account import Account
from dagster_gptimg.emulator.account.records import Outcome, State
from dagster_gptimg.emulator.account.storage import Storage
from dagster_gptimg.emulator.faults import Phase
from dagster_gptimg.emulator.http import history_pages
from dagster_gptimg.emulator.http.api_keys import with_admin_key, with_platform_key
from dagster_gptimg.emulator.http.history_pages import Page, Query
from dagster_gptimg.emulator.http.queries import BadQueryError, checked, choice, ids, limit, many, time
from dagster_gptimg.emulator.http.replies import answer, base_url, platform_error
from dagster_gptimg.emulator.http.results import ending, file_urls

VERSION = 1
"""Version of the emulator's own part of `/v1/meta`."""
DAY = 86400.0
WIDEST_DAYS = 90
HISTORY_PAGE = 100
"""Maximum entries of a page of the request history."""
BILLING_PAGE = 10_000
"""Maximum entries of a page of billing events."""
WEBHOOK_RANGES = ["127.0.0.1/32"]
_TAG = re.compile(r"([a-z0-9._-]+)=(.+)")


class PlatformRoutes:
    """The handlers of the platform API."""

    def __init__(self, account: Account, storage: Storage) -> None:
        self._account, self._storage = account, storage

    def routes(self) -> list[Route]:
        """All endpoints of the platform API that are served, but for those on models."""
        requests, payloads = "/v1/models/requests/by-endpoint", "/v1/models/requests/{request_id}/payloads"
        return [
            Route("/v1/meta", self.meta, methods=["GET"]),
            Route(requests, with_platform_key(checked(self.requests)), methods=["GET"]),
            Route(payloads, with_admin_key(self.delete_payloads), methods=["DELETE"]),
            Route("/v1/models/billing-events", with_admin_key(checked(self.billing_events)), methods=["GET"]),
        ]

    async def meta(self, _: Request) -> Response:
        """Answer fal's metadata, and the id of this emulator."""
        emulator = {"id": self._account.database.id, "version": VERSION}
        return answer({"webhook_ip_ranges": WEBHOOK_RANGES, "emulator": emulator})

    async def requests(self, request: Request) -> Response:
        """The request history."""
        if self._account.dice.strike(Phase.HISTORY, "history", "") is not None:
            return platform_error(500, "server_error", "An unexpected error occurred")
        params, base = request.query_params, base_url(request)
        query = _query(params, self._account.now(), most=HISTORY_PAGE)
        page = history_pages.requests(self._account, query)
        items = [history_pages.item(self._account, record) for record in page.records]
        if "payloads" in many(params, "expand"):
            payloads = history_pages.Payloads(self._account, self._storage, base)
            items = [item | payloads.of(record) for item, record in zip(items, page.records, strict=True)]
        return answer({"items": items, **_paging(page)})

    async def delete_payloads(self, request: Request) -> Response:
        """Delete a request's inputs, outputs and output files, for good. Doing it again changes nothing."""
        self._account.now()
        record = self._account.database.by_id(request.path_params["request_id"])
        if record is None or record.state is not State.COMPLETED:
            return platform_error(404, "not_found", "Request not found")
        links = []
        if record.outcome is Outcome.OK:
            links = file_urls(ending(record, base_url(request), self._account.settings).body)
        self._account.erase(record)
        return answer({"cdn_delete_results": [{"link": link, "exception": None} for link in links]})

    async def billing_events(self, request: Request) -> Response:
        """Answer the billed requests; `source=tagged-billed` includes their tags, and filters by them."""
        params = request.query_params
        tagged = choice(params, "source", "billed", "tagged-billed") == "tagged-billed"
        if tagged and not self._account.settings.tagged_billing:
            return platform_error(403, "authorization_error", "Tagged reporting is not enabled for this account")
        tags = _tags(params)
        if tags and not tagged:
            raise BadQueryError("tag: needs source=tagged-billed")
        page = history_pages.billed(self._account, _query(params, self._account.now(), most=BILLING_PAGE), tags)
        events = [history_pages.event(record, tagged=tagged) for record in page.records]
        return answer({"billing_events": events, **_paging(page)})


def _tags(params: QueryParams) -> dict[str, list[str]]:
    """`tag=key=value`, repeated: the wanted values of each key."""
    wanted: dict[str, list[str]] = {}
    for text in params.getlist("tag"):
        found = _TAG.fullmatch(text)
        if found is None:
            raise BadQueryError("tag: expected key=value")
        wanted.setdefault(found[1], []).append(found[2])
    return wanted


def _paging(page: Page) -> dict[str, Any]:
    return {"next_cursor": page.next_cursor, "has_more": page.next_cursor is not None}


def _query(params: QueryParams, now: float, *, most: int) -> Query:
    """The filters that history and billing events have in common."""
    request_ids = ids(params, "request_id", required=False)
    start, end = time(params, "start"), time(params, "end")
    # fal: the last 24 hours, widened to 90 days when a request is asked for by its id.
    widest = WIDEST_DAYS * DAY if request_ids else DAY
    return Query(
        endpoint_ids=ids(params, "endpoint_id", required=most == HISTORY_PAGE),
        request_ids=request_ids,
        start=(now if end is None else end) - widest if start is None else start,
        end=end,
        status=choice(params, "status", "success", "error", "user_error"),
        by_duration=choice(params, "sort_by", "ended_at", "duration") == "duration",
        limit=limit(params, most),
        cursor=params.get("cursor"),
    )
