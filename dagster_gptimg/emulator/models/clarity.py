"""Clarity Upscaler, read from fal's page of it: inputs, price, results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from dagster_gptimg.emulator.models.model import Model, Unit
from dagster_gptimg.emulator.models.one_image import IMAGE, enlarged_size
from dagster_gptimg.emulator.models.schema import Field, Schema


@dataclass(frozen=True)
class OutputPrices:
    """Millionths of a dollar per megapixel of output."""

    each: int = 30_000
    step: int = 1

    def micro_usd(self, arguments: Mapping[str, Any]) -> int:
        """Return the price of one request."""
        width, height = enlarged_size(arguments)
        megapixel = int(arguments["megapixel"])
        if arguments["megapixels_rounded"]:
            return self.each * -(-width * height // megapixel)
        return -(-self.each * width * height // megapixel)


def seeded(inputs: Mapping[str, Any], seed: int, _images: int) -> dict[str, Any]:
    """Return what the result has besides its image: the seed that was used, and timings."""
    given = inputs.get("seed")
    return {"seed": seed if given is None else given, "timings": {"inference": 1.0}}


_INPUTS: Schema = {
    **IMAGE,
    "prompt": Field(str, "masterpiece, best quality, highres"),
    "upscale_factor": Field(float, 2, least=1, most=4),
    "negative_prompt": Field(str, "(worst quality, low quality, normal quality:2)"),
    "creativity": Field(float, 0.35, least=0, most=1),
    "resemblance": Field(float, 0.6, least=0, most=1),
    "guidance_scale": Field(float, 4, least=0, most=20),
    "num_inference_steps": Field(int, 18, least=4, most=50),
    "seed": Field(int, least=0),
    "enable_safety_checker": Field(bool, default=True),
}

MODELS: tuple[Model, ...] = (
    Model(
        "fal-ai/clarity-upscaler",
        "Clarity Upscaler",
        _INPUTS,
        OutputPrices(),
        unit=Unit("megapixels", Decimal("0.03")),
        size=enlarged_size,
        more=seeded,
        made="enlarged",
    ),
)
"""The endpoint of the Clarity Upscaler."""
