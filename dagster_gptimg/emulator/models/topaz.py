"""Topaz' precise upscaling, read from fal's page of it and one public recording: inputs, price, results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from dagster_gptimg.emulator.models.model import Model, Unit
from dagster_gptimg.emulator.models.one_image import IMAGE, enlarged_size
from dagster_gptimg.emulator.models.schema import Field, Schema


@dataclass(frozen=True)
class BlockPrices:
    """Millionths of a dollar per block of output megapixels that was begun."""

    each: int = 80_000
    megapixels: int = 24
    step: int = 1

    def micro_usd(self, arguments: Mapping[str, Any]) -> int:
        """Return the price of one request."""
        width, height = enlarged_size(arguments)
        return self.each * -(-width * height // (self.megapixels * int(arguments["megapixel"])))


_KINDS = ("Standard V2", "High Fidelity V3", "High Fidelity V2", "Low Resolution V2", "CGI", "Text Refine", "Faces")
_INPUTS: Schema = {
    **IMAGE,
    "model": Field(str, "Standard V2", choices=_KINDS),
    "upscale_factor": Field(float, 2, least=1, most=4),
    "crop_to_fill": Field(bool, default=False),
    "output_format": Field(str, "jpeg", choices=("jpeg", "png")),
    "subject_detection": Field(str, "All", choices=("All", "Foreground", "Background")),
    "face_enhancement": Field(bool, default=True),
    "face_enhancement_creativity": Field(float, 0, least=0, most=1),
    "face_enhancement_strength": Field(float, 0.8, least=0, most=1),
    "sharpen": Field(float, least=0, most=1),
    "denoise": Field(float, least=0, most=1),
    "fix_compression": Field(float, least=0, most=1),
    "strength": Field(float, least=0.01, most=1),
}

MODELS: tuple[Model, ...] = (
    Model(
        "topaz/upscale/image/precision",
        "Topaz Upscale Image, precision",
        _INPUTS,
        BlockPrices(),
        # The recording: 8 units for up to 24 megapixels, which are $0.08.
        unit=Unit("units", Decimal("0.01")),
        left_out=("width", "height"),
        size=enlarged_size,
        made="enlarged",
    ),
)
"""The endpoint of Topaz' models that stay true to their original."""
