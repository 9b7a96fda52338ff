"""Money of one run: reserved at worst case before a POST, refunded by what was billed."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dagster_gptimg.fal.registry.prices import Price

ZERO = Decimal(0)


class Budget:
    """A bound on what this run may spend, in US dollars.

    Attributes:
        spent: what ended requests cost, at worst case where nobody knows.
        reserved: the worst case of those that have not ended.
    """

    def __init__(self, limit: Decimal | None) -> None:
        """`limit`: US dollars; None for no bound."""
        self.limit = limit
        self.spent = ZERO
        self.reserved = ZERO
        self._changed = asyncio.Condition()

    async def reserve(self, price: Price) -> bool:
        """Set the worst case aside; False when that could pass the limit even if all that is open turns out free.

        While open requests might still be refunded enough, it waits for them.
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
        """Give a reservation back for what was billed. `cost` None: nobody knows, so the worst case stays spent."""
        async with self._changed:
            if self.limit is not None:
                self.reserved -= price.high
            self._spend(price.high if cost is None else cost)

    async def add(self, price: Price, cost: Decimal | None) -> None:
        """Count a request that nothing was reserved for; as `settle` does."""
        async with self._changed:
            self._spend(price.high if cost is None else cost)

    def _spend(self, cost: Decimal) -> None:
        self.spent += cost if cost.is_finite() else ZERO  # an unknown price: what is spent is not known either
        self._changed.notify_all()
