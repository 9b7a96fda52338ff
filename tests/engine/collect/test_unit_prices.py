"""What fal billed: units at the price of one, which is read once, also when it is nothing."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dagster_gptimg.engine.collect.unit_prices import UnitPrices


class PriceList:
    def __init__(self, price: Decimal) -> None:
        self.price, self.reads = price, 0

    async def unit_price(self, _endpoint: str) -> Decimal:
        self.reads += 1
        return self.price


@pytest.mark.parametrize("price", ["0", "0.01"])
def test_a_price_is_read_once_and_every_request_is_billed_by_it(price: str) -> None:
    fal = PriceList(Decimal(price))
    runtime = SimpleNamespace(clock=SimpleNamespace(monotonic=lambda: 1.0))
    prices = UnitPrices(cast("Any", SimpleNamespace(fal=fal, runtime=runtime)))

    async def billed() -> list[Decimal | None]:
        return [await prices.billed("fal-ai/free", Decimal(units)) for units in (1, 2)]

    assert asyncio.run(billed()) == [Decimal(price), 2 * Decimal(price)]
    assert fal.reads == 1
