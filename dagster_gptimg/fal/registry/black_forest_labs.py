"""Black Forest Labs' models at fal: FLUX.2 [dev] and FLUX.2 [pro], each with its endpoint for edits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from dagster_gptimg.fal.registry import inputs
from dagster_gptimg.fal.registry.model import FalModel, page, sides
from dagster_gptimg.fal.registry.price_formulas import (
    MEGAPIXEL,
    MICRO,
    SMALL_MEGAPIXEL,
    Price,
    images_of,
    reference_count,
)

if TYPE_CHECKING:
    from dagster_gptimg.fal.types import Json

_READ = date(2026, 11, 30)
_MOST_PRO_REFERENCES = 9
"""Maximum reference images of an edit with [pro]: the maker's own limit. fal documents none."""
_PRESETS = {
    "square_hd": (1024, 1024),
    "square": (512, 512),
    "portrait_4_3": (768, 1024),
    "portrait_16_9": (576, 1024),
    "landscape_4_3": (1024, 768),
    "landscape_16_9": (1024, 576),
}
"""The presets of fal's toolkit, in pixels (https://docs.fal.ai/documentation/model-apis/model-arguments)."""

_Preset = Literal["square_hd", "square", "portrait_4_3", "portrait_16_9", "landscape_4_3", "landscape_16_9"]


class DevPixels(BaseModel):
    """A custom image size of FLUX.2 [dev], in pixels."""

    model_config = ConfigDict(extra="forbid", strict=True)

    width: int = Field(ge=512, le=2048)
    height: int = Field(ge=512, le=2048)


class ProPixels(BaseModel):
    """A custom image size of FLUX.2 [pro], in pixels: the maker's bounds, as fal documents none."""

    model_config = ConfigDict(extra="forbid", strict=True)

    width: int = Field(ge=64, le=2048)
    height: int = Field(ge=64, le=2048)


class _Flux(inputs.CellReaders, inputs.Inputs):
    """Inputs that the endpoints of FLUX.2 have in common."""

    prompt: str | None = Field(None, description="The prompt to generate an image from", max_length=inputs.MAX_PROMPT)
    seed: int | None = Field(None, description="The seed to use for the generation")
    sync_mode: bool | None = Field(None, description="If true, the media is returned as a data URI")
    enable_safety_checker: bool | None = Field(None, description="Whether the safety checker is enabled")


class TextToImage(_Flux):
    """`fal-ai/flux-2`."""

    guidance_scale: float | None = Field(None, description="How close the model sticks to the prompt", ge=0, le=20)
    num_inference_steps: int | None = Field(None, description="The number of inference steps to perform", ge=4, le=50)
    image_size: _Preset | DevPixels | None = Field(
        None, description="The size of the image to generate: a preset, or width and height"
    )
    num_images: int | None = Field(None, description="The number of images to generate", ge=1, le=inputs.MAX_ROW_IMAGES)
    acceleration: Literal["none", "regular", "high"] | None = Field(
        None, description="The acceleration level to use for the image generation"
    )
    enable_prompt_expansion: bool | None = Field(None, description="Whether the prompt is expanded for better results")
    output_format: Literal["jpeg", "png", "webp"] | None = Field(None, description="The format of the generated image")


class Edit(inputs.References, TextToImage):
    """`fal-ai/flux-2/edit`."""

    image_urls: list[str] | None = Field(
        None, description="The URLs of the images for editing", min_length=1, max_length=4
    )


class TextToImagePro(_Flux):
    """`fal-ai/flux-2-pro`: one image per request."""

    image_size: _Preset | ProPixels | None = Field(
        None, description="The size of the generated image: a preset, or width and height"
    )
    safety_tolerance: Literal["1", "2", "3", "4", "5"] | None = Field(
        None, description="The safety tolerance level for the generated image: 1 is the most strict"
    )
    output_format: Literal["jpeg", "png"] | None = Field(None, description="The format of the generated image")


class EditPro(inputs.References, TextToImagePro):
    """`fal-ai/flux-2-pro/edit`."""

    image_size: Literal[_Preset, "auto"] | ProPixels | None = Field(  # type: ignore[assignment]
        None, description="The size of the generated image: a preset, `auto`, or width and height"
    )
    image_urls: list[str] | None = Field(
        None, description="The URLs of the input images for editing", min_length=1, max_length=_MOST_PRO_REFERENCES
    )


class _Megapixels(NamedTuple):
    """Megapixels of one image, at least and at most."""

    low: Decimal
    high: Decimal


@dataclass(frozen=True)
class ByMegapixels:
    """The price of FLUX.2 [dev]: by megapixels of output, plus one megapixel for each reference image.

    fal's page does not say whether megapixels are rounded up; the pages of other FLUX.2 models say so. The price is a
    range: at least the exact megapixels of an image, at most these rounded up.

    Attributes:
        each: US dollars per megapixel.
        image_size: the endpoint's default; None if it is not known: the price then covers every size.
    """

    each: Decimal = Decimal("0.012")
    image_size: str | None = "landscape_4_3"
    unit: ClassVar[str] = "megapixel"

    def __call__(self, arguments: Mapping[str, Json]) -> Price:
        """Return the price of one request."""
        low, high = self._output(arguments.get("image_size", self.image_size))
        count, references = images_of(arguments).low, reference_count(arguments)
        least, most = (self.each * (end * count + references * known) for end, known in ((low, 0), (high, 1)))
        return Price(least.quantize(MICRO, ROUND_CEILING), most.quantize(MICRO, ROUND_CEILING))

    @staticmethod
    def _output(size: Json) -> _Megapixels:
        if size is None:
            return _Megapixels(512 * 512 / MEGAPIXEL, Decimal(4))
        pixels = _pixels(size)
        # A megapixel of a million pixels, not rounded up, is the most where an image has just one.
        return _Megapixels(pixels / MEGAPIXEL, max(_up(pixels), pixels / SMALL_MEGAPIXEL))


@dataclass(frozen=True)
class ByFirstMegapixel:
    """The price of FLUX.2 [pro]: the first megapixel of output, and each further one of input or output.

    Attributes:
        first: US dollars for the first megapixel; each image is rounded up to whole megapixels.
        further: US dollars for each further megapixel.
        image_size: the endpoint's default.
    """

    first: Decimal = Decimal("0.03")
    further: Decimal = Decimal("0.015")
    image_size: str = "landscape_4_3"
    unit: ClassVar[str] = "first and further megapixels"

    def __call__(self, arguments: Mapping[str, Json]) -> Price:
        """Return the price of one request. A reference image counts 1 to 4 megapixels: fal shrinks a larger one."""
        size = arguments.get("image_size", self.image_size)
        least, most = (Decimal(1), Decimal(4)) if size == "auto" else (_up(_pixels(size)),) * 2
        references = reference_count(arguments)
        return Price(
            self.first + self.further * (least - 1 + references),
            self.first + self.further * (most - 1 + 4 * references),
        )


def _pixels(size: Json) -> Decimal:
    width, height = sides(size) or _PRESETS[str(size)]
    return Decimal(width * height)


def _up(pixels: Decimal) -> Decimal:
    """Return pixels as megapixels, rounded up: fal's pages count 1024x1024 as one, and 1920x1080 as two."""
    return (pixels / MEGAPIXEL).to_integral_value(ROUND_CEILING)


_DEV_EDIT_DEFAULTS: dict[str, Json] = {
    "guidance_scale": 2.5,
    "num_inference_steps": 28,
    "num_images": 1,
    "enable_prompt_expansion": False,
    "sync_mode": False,
    "enable_safety_checker": True,
}
"""Defaults of edits with [dev]: only those on which all copies of fal's page agree."""
_PRO_DEFAULTS: dict[str, Json] = {
    "image_size": "landscape_4_3",
    "safety_tolerance": "2",
    "enable_safety_checker": True,
    "output_format": "jpeg",
    "sync_mode": False,
}
_BY_SECOND = (
    "fal's page says $0.012 a megapixel, and not whether it rounds up: the price is a range. Its price list is "
    "reported to bill this endpoint by compute seconds ($0.00167 each): what was billed is read from fal's answers."
)
_ROUNDED_APART = (
    "fal does not say whether it rounds up the megapixels of each image or their sum, nor how large a reference image "
    "may be: each counts 1 to 4 megapixels, so an edit's price is a range."
)

FLUX_2 = FalModel(
    name="flux-2",
    endpoint="fal-ai/flux-2",
    inputs=TextToImage,
    key_defaults={
        **_DEV_EDIT_DEFAULTS,
        "image_size": "landscape_4_3",
        "acceleration": "regular",
        "output_format": "png",
    },
    price=ByMegapixels(),
    source=(page("fal-ai/flux-2"),),
    read=_READ,
    unverified=_BY_SECOND,
    edit=FalModel(
        name="flux-2/edit",
        endpoint="fal-ai/flux-2/edit",
        inputs=Edit,
        required=("image_urls",),
        key_defaults=_DEV_EDIT_DEFAULTS,
        price=ByMegapixels(image_size=None),
        source=(page("fal-ai/flux-2/edit"), page("fal-ai/flux-2/flash/edit")),
        read=_READ,
        unverified=f"{_BY_SECOND} Its default size is not known for certain: without one, 512x512 to 2048x2048 pixels.",
    ),
)
FLUX_2_PRO = FalModel(
    name="flux-2-pro",
    endpoint="fal-ai/flux-2-pro",
    inputs=TextToImagePro,
    key_defaults=_PRO_DEFAULTS,
    price=ByFirstMegapixel(),
    max_images_per_request=1,
    source=(page("fal-ai/flux-2-pro"),),
    read=_READ,
    edit=FalModel(
        name="flux-2-pro/edit",
        endpoint="fal-ai/flux-2-pro/edit",
        inputs=EditPro,
        required=("image_urls",),
        key_defaults={**_PRO_DEFAULTS, "image_size": "auto"},
        price=ByFirstMegapixel(image_size="auto"),
        max_images_per_request=1,
        source=(page("fal-ai/flux-2-pro/edit"),),
        read=_READ,
        unverified=_ROUNDED_APART,
    ),
)

MODELS = (FLUX_2, FLUX_2_PRO)
"""Black Forest Labs' models."""
