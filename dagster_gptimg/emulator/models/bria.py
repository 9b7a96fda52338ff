"""Bria's RMBG 2.0, which removes backgrounds, read from fal's page of it: inputs, price, results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from dagster_gptimg.emulator.models.model import Model, Unit
from dagster_gptimg.emulator.models.one_image import IMAGE, source_size
from dagster_gptimg.emulator.models.schema import Field, Schema


@dataclass(frozen=True)
class RequestPrices:
    """Millionths of a dollar per request, whatever the size of its image."""

    request: int = 18_000
    step: int = 1

    def micro_usd(self, _arguments: Mapping[str, Any]) -> int:
        """Return the price of one request."""
        return self.request


_INPUTS: Schema = {**IMAGE, "sync_mode": Field(bool, default=False)}

MODELS: tuple[Model, ...] = (
    Model(
        "fal-ai/bria/background/remove",
        "Bria RMBG 2.0",
        _INPUTS,
        RequestPrices(),
        unit=Unit("generations", Decimal("0.018")),
        size=source_size,
        made="cut out",
    ),
)
"""The endpoint of Bria's background removal."""
