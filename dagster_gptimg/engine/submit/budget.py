"""The budget of one run: reserved at worst case before a POST, corrected by what was billed."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dagster_gptimg.fal.registry.price_formulas import Price

ZERO = Decimal(0)


class Budget:
    """A limit on the US dollars that this run may spend.

    Attributes:
        spent: cost of ended requests, at worst case if not known.
        reserved: worst case of open requests.
    """

    def __init__(self, limit: Decimal | None) -> None:
        """`limit`: US dollars; None for no limit."""
        self.limit = limit
        self.spent = ZERO
        self.reserved = ZERO
        self._changed = asyncio.Condition()

    async def reserve(self, price: Price) -> bool:
        """Reserve the worst case; False if it could exceed the limit even if all open requests turn out free.

        Waits as long as the refunds of open requests may suffice.
        """
        if self.limit is None:
            return True
        async with self._changed:
            while self.spent + self.reserved + price.high > self.limit:
                if not self.reserved or self.spent + price.high > self.limit:
                    return False
                await self._changed.wait()
            self.reserved += price.high
            return True

    async def release(self, price: Price, cost: Decimal | None) -> None:
        """Release a reservation. `cost`: what was billed; None: not known, so the worst case counts as spent."""
        async with self._changed:
            if self.limit is not None:
                self.reserved -= price.high
            self._spend(price.high if cost is None else cost)

    async def add(self, price: Price, cost: Decimal | None) -> None:
        """Count a request without a reservation. `cost`: what was billed; None: not known, the worst case counts."""
        async with self._changed:
            self._spend(price.high if cost is None else cost)

    def _spend(self, cost: Decimal) -> None:
        self.spent += cost if cost.is_finite() else ZERO  # an unknown price: what is spent is not known either
        self._changed.notify_all()
