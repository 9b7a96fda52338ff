"""The Clarity Upscaler at fal: enlarges one image, and makes up detail. It needs no prompt, and may have one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, field_validator

from dagster_gptimg.fal.registry import inputs
from dagster_gptimg.fal.registry.model import FalModel, page
from dagster_gptimg.fal.registry.price_formulas import (
    MEGAPIXEL,
    MICRO,
    SMALL_MEGAPIXEL,
    UNKNOWN,
    Price,
    PricedBySize,
    Size,
)

if TYPE_CHECKING:
    from dagster_gptimg.fal.types import Json


class Upscale(inputs.CellReaders, inputs.Inputs):
    """`fal-ai/clarity-upscaler`."""

    image_url: str | None = Field(None, description="The URL of the image to upscale")
    prompt: str | None = Field(
        None, description="The prompt to use for generating the image", max_length=inputs.MAX_PROMPT
    )
    upscale_factor: float | None = Field(None, description="The upscale factor", ge=1, le=4)
    negative_prompt: str | None = Field(None, description="Details that you do not want in the image")
    creativity: float | None = Field(
        None, description="How far the image may deviate from the prompt (denoise strength)", ge=0, le=1
    )
    resemblance: float | None = Field(
        None, description="How close the image stays to the original (strength of the ControlNet)", ge=0, le=1
    )
    guidance_scale: float | None = Field(None, description="How close the model sticks to the prompt", ge=0, le=20)
    num_inference_steps: int | None = Field(None, description="The number of inference steps to perform", ge=4, le=50)
    seed: int | None = Field(None, description="The seed to use for the generation", ge=0)
    enable_safety_checker: bool | None = Field(None, description="Whether the safety checker is enabled")

    @field_validator("upscale_factor", "creativity", "resemblance", mode="before")
    @classmethod
    def _decimal(cls, value: object) -> object:
        return inputs.number(value)


@dataclass(frozen=True)
class ByUpscaledMegapixel(PricedBySize):
    """A price per megapixel, where fal does not say of what: at least those of the input, at most those of the output.

    Nor does fal say whether a megapixel has 1,000,000 pixels or 1024x1024, or whether it rounds up: the lower end takes
    the larger one and does not round, the upper end takes the smaller one and does.

    Attributes:
        each: US dollars per megapixel.
        factor: the endpoint's default of `upscale_factor`.
    """

    each: Decimal = Decimal("0.03")
    factor: float = 2
    unit: ClassVar[str] = "megapixel of input or output"

    def of_size(self, arguments: Mapping[str, Json], size: Size | None) -> Price:
        """Return the price of one request; without the size of its image, it is unknown."""
        if size is None:
            return UNKNOWN
        pixels, factor = Decimal(size[0] * size[1]), Decimal(str(arguments.get("upscale_factor", self.factor)))
        most = (pixels * factor**2 / SMALL_MEGAPIXEL).to_integral_value(ROUND_CEILING)
        return Price((self.each * pixels / MEGAPIXEL).quantize(MICRO), self.each * most)


CLARITY_UPSCALER = FalModel(
    name="clarity-upscaler",
    endpoint="fal-ai/clarity-upscaler",
    inputs=Upscale,
    required=("image_url",),
    needs_prompt=False,
    key_defaults={
        "prompt": "masterpiece, best quality, highres",
        "upscale_factor": 2,
        "negative_prompt": "(worst quality, low quality, normal quality:2)",
        "creativity": 0.35,
        "resemblance": 0.6,
        "guidance_scale": 4,
        "num_inference_steps": 18,
        "enable_safety_checker": True,
    },
    price=ByUpscaledMegapixel(),
    max_images_per_request=1,
    source=(page("fal-ai/clarity-upscaler"),),
    read=date(2026, 11, 30),
    unverified=(
        "fal's page says $0.03 a megapixel, and not whether of the input or of the output (others who resell it count "
        "the output): the price is a range from the one to the other. Of an image whose size is not known (a URL that "
        "fal fetches) it is unknown."
    ),
)

MODELS = (CLARITY_UPSCALER,)
"""The Clarity Upscaler's endpoints."""
