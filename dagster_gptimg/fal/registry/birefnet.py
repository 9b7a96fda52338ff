"""BiRefNet at fal: removes the background of one image. It takes no prompt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator

from dagster_gptimg.fal.registry import inputs
from dagster_gptimg.fal.registry.model import FalModel, page
from dagster_gptimg.fal.registry.price_formulas import Price

if TYPE_CHECKING:
    from dagster_gptimg.fal.types import Json

_READ = date(2026, 11, 30)
_DYNAMIC = "General Use (Dynamic)"
_LARGEST = "2304x2304"


class RemoveBackground(inputs.Inputs):
    """`fal-ai/birefnet/v2`, without `output_mask`: a second file of the result, which would be dropped."""

    image_url: str | None = Field(None, description="URL of the image to remove the background from")
    model: (
        Literal[
            "General Use (Light)",
            "General Use (Light 2K)",
            "General Use (Heavy)",
            "Matting",
            "Portrait",
            "General Use (Dynamic)",
        ]
        | None
    ) = Field(None, description="Model to use for background removal")
    operating_resolution: Literal["1024x1024", "2048x2048", "2304x2304"] | None = Field(
        None, description="The resolution to operate on: a higher one is more accurate for large images"
    )
    mask_only: bool | None = Field(None, description="Whether the image is the mask, and not the foreground")
    refine_foreground: bool | None = Field(
        None, description="Whether to refine the foreground using the estimated mask"
    )
    output_format: Literal["webp", "png", "gif"] | None = Field(None, description="The format of the output image")
    sync_mode: bool | None = Field(None, description="If true, the media is returned as a data URI")

    @model_validator(mode="after")
    def _fits(self) -> RemoveBackground:
        if self.operating_resolution == _LARGEST and self.model != _DYNAMIC:
            raise ValueError(f"operating_resolution: {_LARGEST} is for the model {_DYNAMIC!r} only")
        return self


@dataclass(frozen=True)
class ByComputeSecond:
    """A price per second of computing, of which fal tells neither the number before nor, for certain, the price.

    Attributes:
        low: US dollars per second, at least.
        high: US dollars per second, at most.
        seconds: seconds that a request takes at most. fal documents none; this bound is ours, and generous.
    """

    low: Decimal = Decimal(0)
    high: Decimal = Decimal("0.00111")
    seconds: int = 60
    unit: ClassVar[str] = "compute second"

    def __call__(self, _arguments: Mapping[str, Json]) -> Price:
        """Return the price of one request."""
        return Price(self.low * self.seconds, self.high * self.seconds)


BIREFNET_2 = FalModel(
    name="birefnet-v2",
    endpoint="fal-ai/birefnet/v2",
    inputs=RemoveBackground,
    required=("image_url",),
    needs_prompt=False,
    key_defaults={
        "model": "General Use (Light)",
        "operating_resolution": "1024x1024",
        "refine_foreground": True,
        "output_format": "png",
        "sync_mode": False,
    },
    price=ByComputeSecond(),
    max_images_per_request=1,
    source=(page("fal-ai/birefnet/v2"),),
    read=_READ,
    unverified=(
        "fal's page says $0 a compute second in one copy and $0.00111 in another, and not how many seconds a request "
        "takes; users report 2 to 4. The upper end of the price is 60 seconds at $0.00111."
    ),
)

MODELS = (BIREFNET_2,)
"""BiRefNet's endpoints."""
