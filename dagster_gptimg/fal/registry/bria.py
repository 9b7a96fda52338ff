"""BRIA's model at fal: RMBG 2.0 removes the background of one image. It takes no prompt."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from pydantic import Field

from dagster_gptimg.fal.registry import inputs
from dagster_gptimg.fal.registry.model import FalModel, page
from dagster_gptimg.fal.registry.price_formulas import PerImage


class RemoveBackground(inputs.Inputs):
    """`fal-ai/bria/background/remove`."""

    image_url: str | None = Field(None, description="Input image to erase from")
    sync_mode: bool | None = Field(None, description="If true, the media is returned as a data URI")


BACKGROUND_REMOVE = FalModel(
    name="bria-background-remove",
    endpoint="fal-ai/bria/background/remove",
    inputs=RemoveBackground,
    required=("image_url",),
    needs_prompt=False,
    key_defaults={"sync_mode": False},
    price=PerImage(Decimal("0.018")),
    max_images_per_request=1,
    source=(page("fal-ai/bria/background/remove"),),
    read=date(2026, 11, 30),
)

MODELS = (BACKGROUND_REMOVE,)
"""BRIA's endpoints."""
