"""The emulator's own price table, read from fal's model pages. Integers only: no rounding can hide a cent.

Source: https://fal.ai/models/fal-ai/gpt-image-1-mini/llms.txt (fal-api.md §7.3). fal bills in dollars and says that the
whole request is rounded up to the next cent, so one billable unit here is one cent and the unit price 0.01 USD.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

UNIT_PRICE_USD = Decimal("0.01")
UNIT = "cents"
CURRENCY = "USD"

TOKENS_PER_WORD = 4
"""fal: "1 word is about 4 tokens"."""
MICRO_USD_PER_CENT = 10_000

AUTO_QUALITY = "medium"
"""What `quality: auto` is billed as. fal does not say; this is the emulator's choice."""
AUTO_SIZE = "1024x1024"
"""What `image_size: auto` becomes and is billed as. fal does not say; this is the emulator's choice."""


@dataclass(frozen=True)
class ImagePrices:
    """A per-image price table in millionths of a dollar, plus text input."""

    square: Mapping[str, int]
    """Quality -> price of one 1024x1024 image, in millionths of a dollar."""
    other: Mapping[str, int]
    """Quality -> price of one image of any other size, in millionths of a dollar."""
    text_token: int
    """One text token, in millionths of a dollar."""

    def cents(self, arguments: Mapping[str, Any]) -> int:
        """What one request with these valid arguments costs, in cents, rounded up."""
        quality = arguments.get("quality", "auto")
        size = arguments.get("image_size", "auto")
        table = self.square if size in ("auto", "1024x1024") else self.other
        images = table[AUTO_QUALITY if quality == "auto" else quality] * int(arguments.get("num_images", 1))
        text = len(str(arguments["prompt"]).split()) * TOKENS_PER_WORD * self.text_token
        return -(-(images + text) // MICRO_USD_PER_CENT)


GPT_IMAGE_1_MINI = ImagePrices(
    square={"low": 5_000, "medium": 11_000, "high": 36_000},
    other={"low": 6_000, "medium": 15_000, "high": 52_000},
    text_token=2,
)


def dollars(cents: int) -> str:
    """1234 -> "12.34"."""
    return f"{cents // 100}.{cents % 100:02d}"
