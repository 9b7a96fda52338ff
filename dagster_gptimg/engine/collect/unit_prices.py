"""What fal billed: a request's billable units, at today's price a unit, which is asked for once."""

from __future__ import annotations

import asyncio
from decimal import Decimal, localcontext
from typing import TYPE_CHECKING

from dagster_gptimg.base.retry_policies import UNIT_PRICE
from dagster_gptimg.errors import ReadError
from dagster_gptimg.fal.http.bodies import amount

if TYPE_CHECKING:
    from dagster_gptimg.engine.job import Job

PRICE_SECONDS = 15.0
"""Seconds to wait for a price, with all outcomes that need it."""

DIGITS = 60
"""Digits for the product of units and unit price: exact for every amount that is accepted."""


class UnitPrices:
    """The prices a unit of the endpoints of one run."""

    def __init__(self, job: Job) -> None:
        """`job`: the run's."""
        self._fal, self._clock = job.fal, job.runtime.clock
        self._prices: dict[str, Decimal] = {}
        self._asked_at: dict[str, float] = {}
        self._asking = asyncio.Lock()

    async def billed(self, endpoint: str, units: Decimal | None) -> Decimal | None:
        """Return what fal billed, in exact US dollars: units times today's unit price; None if either is unknown."""
        if units is None or not units:
            return units
        async with self._asking:
            price = self._prices[endpoint] if endpoint in self._prices else await self._ask(endpoint)
        if price is None:
            return None
        with localcontext(prec=2 * DIGITS):
            return amount(f"{units * price:f}")

    async def _ask(self, endpoint: str) -> Decimal | None:
        """Return today's unit price, read once; after a failed read it is read again, but not for every image."""
        now = self._clock.monotonic()
        if now < self._asked_at.get(endpoint, float("-inf")) + UNIT_PRICE.first_pause:
            return None
        try:
            async with asyncio.timeout(PRICE_SECONDS):
                price = await self._fal.unit_price(endpoint)
        except (ReadError, TimeoutError):
            return None
        finally:
            self._asked_at[endpoint] = self._clock.monotonic()
        if price is not None:
            self._prices[endpoint] = price
        return price
