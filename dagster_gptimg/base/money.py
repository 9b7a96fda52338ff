"""Amounts of money: how they are rounded, and the one currency, US dollars, that the names of columns say, too.

Receipts have amounts exact; index and image table do not.
"""

from __future__ import annotations

from decimal import ROUND_UP, Decimal, InvalidOperation, localcontext
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterable

CURRENCY = "USD"
"""The currency of fal's prices: a price in another one is not known."""

MONEY = pa.decimal128(18, 6)
"""The Arrow type of US dollars and of billable units in index and image table."""

_STEP = Decimal("0.000001")
_LARGEST = Decimal(10) ** 12
_PRECISION = 200


def rounded(amount: Decimal | None) -> Decimal | None:
    """Return an amount rounded for a column of `MONEY`; None if it is not known, or not plausible."""
    if amount is None or not amount.is_finite() or abs(amount) >= _LARGEST:
        return None
    try:
        with localcontext(prec=_PRECISION):
            return amount.quantize(_STEP, rounding=ROUND_UP)
    except InvalidOperation:  # more digits than anybody bills
        return None


def exact_sum(amounts: Iterable[Decimal | None]) -> Decimal:
    """Return the exact sum of the amounts that are known and plausible."""
    found = Decimal(0)
    with localcontext(prec=_PRECISION):
        for amount in amounts:
            if amount is not None and amount.is_finite() and abs(amount) < _LARGEST:
                found += amount
    return found


def total(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """Return the exact sum of several amounts; None if one of them is not known, or not plausible."""
    found = Decimal(0)
    with localcontext(prec=_PRECISION):
        for amount in amounts:
            if amount is None or not amount.is_finite() or abs(amount) >= _LARGEST:
                return None
            found += amount
    return found
