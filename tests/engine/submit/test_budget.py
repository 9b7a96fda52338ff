"""A budget is reserved at worst case and refunded by what was billed; it never lets a POST pass the limit."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from dagster_gptimg.engine.submit.budget import Budget
from dagster_gptimg.fal.registry.price_formulas import UNKNOWN, Price

CENT = Decimal("0.01")
WIDE = Price(CENT, CENT * 6)


async def test_without_a_limit_everything_fits() -> None:
    budget = Budget(None)
    assert await budget.reserve(Price(CENT, Decimal(10**9)))


async def test_it_waits_for_a_refund_before_it_refuses() -> None:
    budget = Budget(CENT * 10)
    assert await budget.reserve(WIDE)
    waiting = asyncio.create_task(budget.reserve(WIDE))
    await asyncio.sleep(0)
    assert not waiting.done()
    await budget.release(WIDE, CENT * 2)
    assert await waiting
    assert (budget.spent, budget.reserved) == (CENT * 2, CENT * 6)


async def test_it_refuses_when_no_refund_could_be_enough() -> None:
    budget = Budget(CENT * 10)
    assert await budget.reserve(WIDE)
    await budget.release(WIDE, None)  # nobody knows what it cost: the worst case is spent
    assert budget.spent == CENT * 6
    assert not await budget.reserve(WIDE)
    assert await budget.reserve(Price(CENT, CENT * 4))


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), max_size=40), st.integers(0, 60))
def test_what_is_open_and_spent_never_passes_the_limit(requests: list[tuple[int, int]], limit: int) -> None:
    async def run() -> None:
        budget = Budget(CENT * limit)
        for high, billed in requests:
            price = Price(CENT * 0, CENT * high)
            if await budget.reserve(price):
                assert budget.spent + budget.reserved <= CENT * limit
                await budget.release(price, CENT * min(high, billed))
            else:
                assert budget.spent + price.high > CENT * limit

    asyncio.run(run())


async def test_a_price_that_nobody_knows_fits_no_limit_and_breaks_no_sum() -> None:
    limited = Budget(Decimal(10**9))
    assert not await limited.reserve(UNKNOWN)
    assert limited.spent + limited.reserved == Decimal(0)
    free = Budget(None)
    for cost in (None, CENT, None):
        assert await free.reserve(UNKNOWN)
        await free.release(UNKNOWN, cost)
    assert free.spent == CENT
