"""Topaz Labs' model at fal: Precision enlarges one image and stays true to it. It takes no prompt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, field_validator

from dagster_gptimg.fal.registry import inputs
from dagster_gptimg.fal.registry.model import FalModel, page
from dagster_gptimg.fal.registry.price_formulas import MEGAPIXEL, SMALL_MEGAPIXEL, Price, PricedBySize, Size

if TYPE_CHECKING:
    from dagster_gptimg.fal.types import Json


class Upscale(inputs.Inputs):
    """`topaz/upscale/image/precision`."""

    image_url: str | None = Field(None, description="The URL of the image to upscale")
    model: (
        Literal[
            "Standard V2", "High Fidelity V3", "High Fidelity V2", "Low Resolution V2", "CGI", "Text Refine", "Faces"
        ]
        | None
    ) = Field(None, description="The model to use: each is made for one kind of image")
    upscale_factor: float | None = Field(None, description="The factor of width and of height", ge=1, le=4)
    crop_to_fill: bool | None = Field(None, description="Whether the result is cropped to fill its size")
    output_format: Literal["jpeg", "png"] | None = Field(None, description="The format of the output image")
    subject_detection: Literal["All", "Foreground", "Background"] | None = Field(
        None, description="The part of the image that is enhanced"
    )
    face_enhancement: bool | None = Field(None, description="Whether faces are enhanced")
    face_enhancement_creativity: float | None = Field(
        None, description="The creativity of the enhancement of faces", ge=0, le=1
    )
    face_enhancement_strength: float | None = Field(
        None, description="The strength of the enhancement of faces", ge=0, le=1
    )
    sharpen: float | None = Field(None, description="Sharpening; the model decides without one", ge=0, le=1)
    denoise: float | None = Field(None, description="Reduction of noise; the model decides without one", ge=0, le=1)
    fix_compression: float | None = Field(
        None, description="Removal of the traces of compression; the model decides without one", ge=0, le=1
    )
    strength: float | None = Field(None, description="Strength of `Text Refine`, for this model only", ge=0.01, le=1)

    @field_validator(
        "upscale_factor",
        "face_enhancement_creativity",
        "face_enhancement_strength",
        "sharpen",
        "denoise",
        "fix_compression",
        "strength",
        mode="before",
    )
    @classmethod
    def _decimal(cls, value: object) -> object:
        return inputs.number(value)


@dataclass(frozen=True)
class ByOutputBlock(PricedBySize):
    """A price for each block of megapixels of the output that is begun.

    fal does not say whether a megapixel has 1,000,000 pixels or 1024x1024: between the two the price is a range.

    Attributes:
        each: US dollars per block.
        megapixels: of a block.
        factor: the endpoint's default of `upscale_factor`.
    """

    each: Decimal = Decimal("0.08")
    megapixels: int = 24
    factor: float = 2
    unit: ClassVar[str] = "24 megapixels of output, begun"

    def of_size(self, arguments: Mapping[str, Json], size: Size | None) -> Price:
        """Return the price of one request; without the size of its image, it has no upper end."""
        if size is None:
            return Price(self.each, Decimal("Infinity"))
        factor = Decimal(str(arguments.get("upscale_factor", self.factor)))
        pixels = size[0] * size[1] * factor**2
        units = (MEGAPIXEL, SMALL_MEGAPIXEL)
        low, high = ((pixels / (self.megapixels * unit)).to_integral_value(ROUND_CEILING) for unit in units)
        return Price(self.each * low, self.each * high)


PRECISION = FalModel(
    name="topaz-precision",
    endpoint="topaz/upscale/image/precision",
    inputs=Upscale,
    required=("image_url",),
    needs_prompt=False,
    key_defaults={
        "model": "Standard V2",
        "upscale_factor": 2,
        "crop_to_fill": False,
        "output_format": "jpeg",
        "subject_detection": "All",
        "face_enhancement": True,
        "face_enhancement_creativity": 0,
        "face_enhancement_strength": 0.8,
    },
    price=ByOutputBlock(),
    max_images_per_request=1,
    source=(page("topaz/upscale/image/precision"),),
    read=date(2026, 11, 30),
    unverified=(
        "fal's page says $0.08 for each 24 megapixels of output that are begun, and not how many pixels a megapixel "
        "has. Of an image whose size is not known (a URL that fal fetches) the price has no upper end."
    ),
)

MODELS = (PRECISION,)
"""Topaz Labs' endpoints."""
