"""Google's models at fal: Nano Banana 2 and Nano Banana Pro, each with its endpoint for edits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from dagster_gptimg.fal.registry import inputs
from dagster_gptimg.fal.registry.model import FalModel, page
from dagster_gptimg.fal.registry.price_formulas import Price, images_of

if TYPE_CHECKING:
    from dagster_gptimg.fal.types import Json

_READ = date(2026, 11, 30)
_LEAST_PROMPT = 3
"""Minimum characters of a prompt, from fal's OpenAPI documents."""
_MOST_PROMPT = 50_000
"""Maximum characters of a prompt, from fal's OpenAPI documents."""
_MOST_REFERENCES = 14
"""Maximum reference images of an edit: Google's own limit. fal documents none."""
MOST_IMAGES = 4
"""Maximum images of one request."""
_SAME_BY_SEED = (
    "with one seed it makes the same image each time, and each is billed (github.com/fal-ai/fal-js/issues/213)"
)
_ANY_COUNT = (
    "With `limit_generations: false` the model follows a prompt that asks for several images. How many it may give is "
    "not published: the upper end of the price is that of 4 images, the most that one request may ask for, and what "
    "comes beyond `num_images` is reported and not fetched."
)

_Tolerance = Literal["1", "2", "3", "4", "5", "6"]
_Ratio = Literal["auto", "21:9", "16:9", "3:2", "4:3", "5:4", "1:1", "4:5", "3:4", "2:3", "9:16"]
_AnyRatio = Literal[_Ratio, "4:1", "1:4", "8:1", "1:8"]


class _NanoBanana(inputs.CellReaders, inputs.ImageInputs):
    """Inputs that the endpoints of Nano Banana have in common."""

    prompt: str | None = Field(
        None,
        description="The text prompt to generate an image from",
        min_length=_LEAST_PROMPT,
        max_length=_MOST_PROMPT,
    )
    seed: int | None = Field(None, description="The seed for the random number generator")
    safety_tolerance: _Tolerance | None = Field(
        None, description="The safety tolerance level for content moderation: 1 is the most strict"
    )
    limit_generations: bool | None = Field(
        None, description="Disregard instructions in the prompt regarding the number of images to generate"
    )
    enable_web_search: bool | None = Field(None, description="Let the model use the latest information from the web")


class TextToImagePro(_NanoBanana):
    """`fal-ai/nano-banana-pro`."""

    aspect_ratio: _Ratio | None = Field(None, description="The aspect ratio of the generated image")
    resolution: Literal["1K", "2K", "4K"] | None = Field(None, description="The resolution of the image to generate")


class TextToImage2(_NanoBanana):
    """`fal-ai/nano-banana-2`."""

    aspect_ratio: _AnyRatio | None = Field(None, description="The aspect ratio of the generated image")
    resolution: Literal["0.5K", "1K", "2K", "4K"] | None = Field(
        None, description="The resolution of the image to generate"
    )
    thinking_level: Literal["minimal", "high"] | None = Field(
        None, description="Let the model think at this level before it draws"
    )


class _References(inputs.References):
    image_urls: list[str] | None = Field(
        None,
        description="The URLs of the images to use for image-to-image generation or image editing",
        min_length=1,
        max_length=_MOST_REFERENCES,
    )


class EditPro(_References, TextToImagePro):
    """`fal-ai/nano-banana-pro/edit`."""


class Edit2(_References, TextToImage2):
    """`fal-ai/nano-banana-2/edit`."""


@dataclass(frozen=True)
class ByResolution:
    """A price per image by its resolution, and surcharges.

    Attributes:
        images: US dollars per image, by resolution.
        is_limited: the endpoint's default of `limit_generations`.
        search: US dollars for a web search; one that is allowed need not take place. fal calls it "additional", and
            does not document whether it is per request or per image.
        thinking: US dollars for thinking at level `high`; per request or per image is not documented either.
    """

    images: Mapping[str, Decimal]
    is_limited: bool
    search: Decimal = Decimal("0.015")
    thinking: Decimal = Decimal("0.002")
    unit: ClassVar[str] = "image by resolution"

    def __call__(self, arguments: Mapping[str, Json]) -> Price:
        """Return the price of one request."""
        each, count = self.images[str(arguments.get("resolution", "1K"))], images_of(arguments).low
        most = count if arguments.get("limit_generations", self.is_limited) else max(count, MOST_IMAGES)
        low, high = each * count, each * most
        if arguments.get("enable_web_search"):
            high += self.search * most
        if arguments.get("thinking_level") == "high":
            low += self.thinking
            high += self.thinking * most
        return Price(low, high)


def _defaults(ratio: str, *, is_limited: bool) -> dict[str, Json]:
    return {
        "num_images": 1,
        "aspect_ratio": ratio,
        "output_format": "png",
        "safety_tolerance": "4",
        "sync_mode": False,
        "resolution": "1K",
        "limit_generations": is_limited,
        "enable_web_search": False,
    }


_PRICE_2 = ByResolution(
    {"0.5K": Decimal("0.06"), "1K": Decimal("0.08"), "2K": Decimal("0.12"), "4K": Decimal("0.16")}, is_limited=True
)
NANO_BANANA_2 = FalModel(
    name="nano-banana-2",
    endpoint="fal-ai/nano-banana-2",
    inputs=TextToImage2,
    key_defaults=_defaults("auto", is_limited=True),
    price=_PRICE_2,
    max_images_per_request=MOST_IMAGES,
    source=(page("fal-ai/nano-banana-2"),),
    read=_READ,
    unverified=_ANY_COUNT,
    same_by_seed=_SAME_BY_SEED,
    edit=FalModel(
        name="nano-banana-2/edit",
        endpoint="fal-ai/nano-banana-2/edit",
        inputs=Edit2,
        required=("image_urls",),
        key_defaults=_defaults("auto", is_limited=True),
        price=_PRICE_2,
        max_images_per_request=MOST_IMAGES,
        source=(page("fal-ai/nano-banana-2/edit"),),
        read=_READ,
        unverified=_ANY_COUNT,
        same_by_seed=_SAME_BY_SEED,
    ),
)

_PRICE_PRO = ByResolution({"1K": Decimal("0.15"), "2K": Decimal("0.15"), "4K": Decimal("0.30")}, is_limited=False)
NANO_BANANA_PRO = FalModel(
    name="nano-banana-pro",
    endpoint="fal-ai/nano-banana-pro",
    inputs=TextToImagePro,
    key_defaults=_defaults("1:1", is_limited=False),
    price=_PRICE_PRO,
    max_images_per_request=MOST_IMAGES,
    source=(page("fal-ai/nano-banana-pro"),),
    read=_READ,
    unverified=_ANY_COUNT,
    same_by_seed=_SAME_BY_SEED,
    edit=FalModel(
        name="nano-banana-pro/edit",
        endpoint="fal-ai/nano-banana-pro/edit",
        inputs=EditPro,
        required=("image_urls",),
        key_defaults=_defaults("auto", is_limited=False),
        price=_PRICE_PRO,
        max_images_per_request=MOST_IMAGES,
        source=(page("fal-ai/nano-banana-pro/edit"),),
        read=_READ,
        unverified=_ANY_COUNT,
        same_by_seed=_SAME_BY_SEED,
    ),
)

MODELS = (NANO_BANANA_2, NANO_BANANA_PRO)
"""Google's models, in the order of their release."""
