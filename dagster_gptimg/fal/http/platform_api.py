"""fal's platform API: request history, lists of models and prices, and the deletion of a request's payloads."""

from __future__ import annotations

import asyncio
import difflib
from typing import TYPE_CHECKING

import httpx

from dagster_gptimg.base.masking import harmless
from dagster_gptimg.base.money import CURRENCY
from dagster_gptimg.base.plain_text import words_of
from dagster_gptimg.errors import ReadError
from dagster_gptimg.fal.http.answers import Answers
from dagster_gptimg.fal.http.bodies import DOCUMENT_BYTES, HISTORY_BYTES, amount
from dagster_gptimg.fal.http.texts import Texts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence
    from datetime import datetime
    from decimal import Decimal

    from dagster_gptimg.fal.http.connections import Wire
    from dagster_gptimg.fal.settings import FalSettings
    from dagster_gptimg.fal.types import HistoryItem, HistoryPage, Json

_HISTORY = "/v1/models/requests/by-endpoint"

HISTORY_PAGES = 10_000
"""Maximum pages of one read of the history: a million requests."""

HISTORY_SECONDS = 600.0
"""Maximum seconds of one read of the history."""

MOST_NAMED = 30
"""Endpoints that a message names."""


class PlatformApi:
    """fal's platform API, with one key: reads, which are retried, and the deletion of a request's payloads."""

    def __init__(self, settings: FalSettings, wire: Wire) -> None:
        self.settings = settings
        self.urls = settings.urls
        self._wire = wire
        self._texts = Texts(settings.key)
        self._answers = Answers(self._texts)

    async def history(self, endpoint: str, start: datetime, end: datetime | None = None) -> AsyncIterator[HistoryPage]:
        """What fal's request history shows for an endpoint since a moment (and before another), inputs and outputs too.

        Ended requests are shown, perhaps not at once; whether running ones are, fal does not say. Nothing found is
        never a proof.

        Args:
            endpoint: fal's full id of a model.
            start: the moment since which requests were sent.
            end: the moment before which they were sent; none by default.

        Raises:
            ReadError: it cannot be read to its end, or has none.
        """
        params = {"endpoint_id": endpoint, "start": start.isoformat(), "expand": "payloads", "limit": "100"}
        if end is not None:
            params["end"] = end.isoformat()
        seen, until = set[str](), asyncio.get_running_loop().time() + HISTORY_SECONDS
        while True:
            page = self._answers.history(await self._wire.api(_HISTORY, params, HISTORY_BYTES))
            yield page
            if page.cursor is None:
                return
            if page.cursor in seen or len(seen) >= HISTORY_PAGES or asyncio.get_running_loop().time() > until:
                raise ReadError(f"fal's request history was given up after {len(seen) + 1} pages: it has no last page")
            seen.add(page.cursor)
            params["cursor"] = page.cursor

    async def lookup(self, endpoint: str, request_id: str) -> HistoryItem | None:
        """One request's line in the history, or None. By id fal looks 90 days back.

        Args:
            endpoint: fal's full id of a model.
            request_id: fal's id of the request.

        Raises:
            ReadError: fal does not tell now.
        """
        params = {"endpoint_id": endpoint, "request_id": request_id, "expand": "payloads"}
        page = self._answers.history(await self._wire.api(_HISTORY, params, HISTORY_BYTES))
        return next((item for item in page.items if item.request_id == request_id), None)

    async def unit_price(self, endpoint: str) -> Decimal | None:
        """US dollars for a billable unit by fal's price list of today; None if it has no valid price in US dollars.

        Args:
            endpoint: fal's full id of a model.

        Raises:
            ReadError: fal does not tell.
        """
        page = await self._wire.api("/v1/models/pricing", {"endpoint_id": endpoint}, DOCUMENT_BYTES)
        prices = page.get("prices")
        for price in prices if isinstance(prices, list) else []:
            if isinstance(price, dict) and price.get("endpoint_id") == endpoint and price.get("currency") == CURRENCY:
                return amount(price.get("unit_price"))
        return None

    async def statuses(self, endpoints: Sequence[str]) -> dict[str, str]:
        """What fal says of endpoints: `active` or `deprecated`; those that it says nothing of are left out.

        Args:
            endpoints: fal's full ids of models.

        Returns:
            by endpoint, what fal says.

        Raises:
            ReadError: fal does not tell.
        """
        entries = await self._models(endpoints)
        said = {str(entry.get("endpoint_id")): entry.get("metadata") for entry in entries}
        statuses = {name: about.get("status") for name, about in said.items() if isinstance(about, dict)}
        return {name: self._texts.clean(status, 40) for name, status in statuses.items() if isinstance(status, str)}

    async def is_gone(self, endpoint: str) -> bool:
        """Whether fal's own list of models does not have an endpoint (any more).

        Args:
            endpoint: fal's full id of a model.

        Raises:
            ReadError: fal does not tell.
        """
        return not any(entry.get("endpoint_id") == endpoint for entry in await self._models([endpoint]))

    async def openapi(self, endpoint: str) -> dict[str, Json]:
        """Fal's OpenAPI document of an endpoint, for `FalModel.from_openapi`.

        Args:
            endpoint: fal's full id of a model.

        Raises:
            ReadError: fal has none.
        """
        for entry in await self._models([endpoint], expand="openapi-3.0"):
            found = entry.get("openapi")
            if isinstance(found, dict) and "paths" in found:
                return found
        raise ReadError(
            f"fal has no OpenAPI document for {endpoint}: check the endpoint's id.{await self._known(endpoint)}"
        )

    async def delete_payloads(self, request_id: str) -> None:
        """Have fal delete a request's inputs, outputs and output files. Needs an ADMIN key; cannot be undone.

        Args:
            request_id: fal's id of the request.

        Raises:
            ReadError: fal did not do it.
        """
        url = f"{self.urls.api}/v1/models/requests/{request_id}/payloads"
        try:
            response = await self._wire.call(
                "DELETE", url, headers={"Idempotency-Key": request_id}, seconds=self.settings.read_timeout
            )
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise ReadError(f"fal did not answer: {words_of(error)}") from harmless(error)
        if response.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
            raise ReadError("fal deletes payloads only for an ADMIN key", status_code=response.status_code)
        if not response.is_success and response.status_code != httpx.codes.NOT_FOUND:
            raise ReadError(f"fal answered HTTP {response.status_code}", status_code=response.status_code)

    async def _known(self, endpoint: str) -> str:
        """The endpoints that there are, for whoever has asked for another one; empty for fal's own: it has hundreds."""
        if self.urls.is_fal:
            return ""
        try:
            entries = await self._models(())
        except ReadError:  # the first answer is what counts
            return ""
        names = (self._texts.clean(one.get("endpoint_id"), 200) for one in entries)
        return _others(self.urls.api, endpoint, filter(None, names))

    async def _models(self, endpoints: Sequence[str], **more: str) -> list[dict[str, Json]]:
        """The entries of endpoints in fal's list of models. Raises `ReadError`."""
        page = await self._wire.api("/v1/models", {"endpoint_id": list(endpoints), **more}, DOCUMENT_BYTES)
        found = page.get("models")
        if not isinstance(found, list):
            raise ReadError("fal's list of models cannot be read")
        return [entry for entry in found if isinstance(entry, dict)]


def _others(api: str, endpoint: str, known: Iterable[str]) -> str:
    """What to say of the endpoints that an emulator knows, to somebody who has asked for another one."""
    names = sorted(known)
    near = difflib.get_close_matches(endpoint, names, 1)
    meant = f" Did you mean {near[0]}?" if near else ""
    more = f", and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"{meant} {api} knows {', '.join(names[:MOST_NAMED])}{more}" if names else ""
