"""BiRefNet, which removes backgrounds, read from fal's page of it: inputs, price, results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from dagster_gptimg.emulator.models.model import COMPUTE_SECONDS, Model, Unit
from dagster_gptimg.emulator.models.one_image import IMAGE, source_size
from dagster_gptimg.emulator.models.schema import Field, Schema

_WEIGHTS = (
    "General Use (Light)",
    "General Use (Light 2K)",
    "General Use (Heavy)",
    "Matting",
    "Portrait",
    "General Use (Dynamic)",
)


@dataclass(frozen=True)
class ComputePrices:
    """Millionths of a dollar per request: what one image was billed (docs/fal-wire.md#prices-and-units).

    fal's page has compute seconds, whose number no caller knows before.
    """

    request: int = 2_960
    step: int = 1

    def micro_usd(self, arguments: Mapping[str, Any]) -> int:
        """Return the price of one request."""
        return self.request if arguments["compute_seconds_billed"] else 0


_INPUTS: Schema = {
    "model": Field(str, "General Use (Light)", choices=_WEIGHTS),
    "operating_resolution": Field(str, "1024x1024", choices=("1024x1024", "2048x2048", "2304x2304")),
    "output_mask": Field(bool, default=False),
    "refine_foreground": Field(bool, default=True),
    "sync_mode": Field(bool, default=False),
    **IMAGE,
    "output_format": Field(str, "png", choices=("webp", "png", "gif")),
    "mask_only": Field(bool, default=False),
}

MODELS: tuple[Model, ...] = (
    Model(
        "fal-ai/birefnet/v2",
        "BiRefNet, background removal",
        _INPUTS,
        ComputePrices(),
        unit=Unit(COMPUTE_SECONDS, Decimal("0.00111")),
        size=source_size,
        made="cut out",
    ),
)
"""The endpoint of BiRefNet for images."""
