"""ByteDance's models at fal: Seedream 5 Pro and Lite, each with its endpoint for edits (path `.../edit`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dagster_gptimg.fal.registry import inputs
from dagster_gptimg.fal.registry.model import FalModel, page, sides
from dagster_gptimg.fal.registry.price_formulas import PerImage, Price, images_of, reference_count

if TYPE_CHECKING:
    from dagster_gptimg.fal.types import Json

_READ = date(2026, 11, 30)
_MOST_REFERENCES = 10
"""Maximum reference images of an edit. If there are more, fal silently uses the last ten."""
_MOST_IMAGES = 6
"""Maximum generations of one request."""
_LONGEST_SIDE = 14_142
"""Maximum pixels of a side of any size at fal."""
_LEAST_PIXELS = 1024 * 1024
"""Minimum pixels (width times height) of a custom size of Seedream 5 Pro."""
_MOST_PIXELS = 2048 * 2048
"""Maximum pixels (width times height) of a custom size of Seedream 5 Pro."""
_SMALL_PIXELS = 1536 * 1536
"""Maximum pixels of an image of Seedream 5 Pro at the lower price."""
_WIDEST = 16

_Preset = Literal["square_hd", "square", "portrait_4_3", "portrait_16_9", "landscape_4_3", "landscape_16_9", "auto_2K"]
_LitePreset = Literal[_Preset, "auto_3K", "auto_4K"]


class AnyPixels(BaseModel):
    """A custom image size in pixels. Seedream 5 Lite scales a size that is too small or too large."""

    model_config = ConfigDict(extra="forbid", strict=True)

    width: int = Field(ge=1, le=_LONGEST_SIDE)
    height: int = Field(ge=1, le=_LONGEST_SIDE)


class ProPixels(AnyPixels):
    """A custom image size of Seedream 5 Pro, in pixels."""

    @model_validator(mode="after")
    def _shape(self) -> ProPixels:
        if not _LEAST_PIXELS <= self.width * self.height <= _MOST_PIXELS:
            raise ValueError(f"the size must have {_LEAST_PIXELS:,} to {_MOST_PIXELS:,} pixels")
        if max(self.width, self.height) > _WIDEST * min(self.width, self.height):
            raise ValueError(f"one side is more than {_WIDEST} times the other")
        return self


class _Seedream(inputs.CellReaders, inputs.Inputs):
    """Inputs that the endpoints of Seedream 5 have in common."""

    prompt: str | None = Field(
        None, description="The text prompt used to generate the image", max_length=inputs.MAX_PROMPT
    )
    num_images: int | None = Field(
        None, description="Number of separate model generations to run with the prompt", ge=1, le=inputs.MAX_ROW_IMAGES
    )
    sync_mode: bool | None = Field(None, description="If true, the media is returned as a data URI")
    enable_safety_checker: bool | None = Field(None, description="Whether the safety checker is enabled")


class TextToImagePro(_Seedream):
    """`bytedance/seedream/v5/pro/text-to-image`."""

    image_size: _Preset | ProPixels | None = Field(
        None, description="The size of the generated image: a preset, or width and height"
    )
    output_format: Literal["jpeg", "png"] | None = Field(None, description="The file format of the generated image")


class TextToImageLite(_Seedream):
    """`bytedance/seedream/v5/lite/text-to-image`."""

    image_size: _LitePreset | AnyPixels | None = Field(
        None, description="The size of the generated image: a preset, or width and height"
    )
    max_images: int | None = Field(
        None, description="Maximum number of images that each generation may return", ge=1, le=_MOST_IMAGES
    )


class _References(inputs.References):
    image_urls: list[str] | None = Field(
        None, description="The URLs of the input reference images", min_length=1, max_length=_MOST_REFERENCES
    )


class EditPro(_References, TextToImagePro):
    """`bytedance/seedream/v5/pro/edit`."""


class EditLite(_References, TextToImageLite):
    """`bytedance/seedream/v5/lite/edit`."""


@dataclass(frozen=True)
class ByArea:
    """The price of Seedream 5 Pro: by the pixels of each image, plus each reference image except the first.

    Attributes:
        small: US dollars per image of up to 1536x1536 pixels.
        large: US dollars per larger image.
        reference: US dollars per output image and reference image, except the first reference.
    """

    small: Decimal = Decimal("0.0675")
    large: Decimal = Decimal("0.135")
    reference: Decimal = Decimal("0.0045")
    unit: ClassVar[str] = "image by its pixels"

    def __call__(self, arguments: Mapping[str, Json]) -> Price:
        """Return the price of one request; for a preset, whose pixels fal does not publish, a range."""
        low, high, size = self.small, self.large, sides(arguments.get("image_size"))
        if size is not None:
            low = high = self.small if size[0] * size[1] <= _SMALL_PIXELS else self.large
        count, more = images_of(arguments).low, self.reference * max(reference_count(arguments) - 1, 0)
        return Price((low + more) * count, (high + more) * count)


_DEFAULTS: dict[str, Json] = {
    "image_size": "auto_2K",
    "num_images": 1,
    "sync_mode": False,
    "enable_safety_checker": True,
}
_PRO_DEFAULTS: dict[str, Json] = {**_DEFAULTS, "output_format": "jpeg"}
_LITE_DEFAULTS: dict[str, Json] = {**_DEFAULTS, "max_images": 1}
_PRO_PRESETS = (
    "fal's page calls its price tentative, and does not say how many pixels a preset has: with one, also with the "
    "default `auto_2K`, the price is a range. A recorded `square_hd` was billed as 2 units."
)
_LITE_COUNT = (
    "With `max_images` above 1, fal gives `num_images` to `num_images` x `max_images` images: the price is a range, "
    "and at most that many are kept."
)


SEEDREAM_5_PRO = FalModel(
    name="seedream-5-pro",
    endpoint="bytedance/seedream/v5/pro/text-to-image",
    inputs=TextToImagePro,
    key_defaults=_PRO_DEFAULTS,
    price=ByArea(),
    max_images_per_request=_MOST_IMAGES,
    source=(page("bytedance/seedream/v5/pro/text-to-image"),),
    read=_READ,
    unverified=_PRO_PRESETS,
    edit=FalModel(
        name="seedream-5-pro/edit",
        endpoint="bytedance/seedream/v5/pro/edit",
        inputs=EditPro,
        required=("image_urls",),
        key_defaults=_PRO_DEFAULTS,
        price=ByArea(),
        max_images_per_request=_MOST_IMAGES,
        source=(page("bytedance/seedream/v5/pro/edit"),),
        read=_READ,
        unverified=_PRO_PRESETS,
    ),
)
SEEDREAM_5_LITE = FalModel(
    name="seedream-5-lite",
    endpoint="bytedance/seedream/v5/lite/text-to-image",
    inputs=TextToImageLite,
    key_defaults=_LITE_DEFAULTS,
    price=PerImage(Decimal("0.035")),
    max_images_per_request=_MOST_IMAGES,
    source=(page("bytedance/seedream/v5/lite/text-to-image"),),
    read=_READ,
    unverified=_LITE_COUNT,
    edit=FalModel(
        name="seedream-5-lite/edit",
        endpoint="bytedance/seedream/v5/lite/edit",
        inputs=EditLite,
        required=("image_urls",),
        key_defaults=_LITE_DEFAULTS,
        price=PerImage(Decimal("0.035")),
        max_images_per_request=_MOST_IMAGES,
        source=(page("bytedance/seedream/v5/lite/edit"),),
        read=_READ,
        unverified=_LITE_COUNT,
    ),
)

MODELS = (SEEDREAM_5_PRO, SEEDREAM_5_LITE)
"""ByteDance's models."""
