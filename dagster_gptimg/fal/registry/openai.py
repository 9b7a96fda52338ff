"""OpenAI's models at fal: the GPT Image families, each with its endpoint for edits."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from dagster_gptimg.fal.registry.inputs import ImageInputs, References, pixels, whole
from dagster_gptimg.fal.registry.model import FalModel, page
from dagster_gptimg.fal.registry.price_formulas import TEN_THOUSANDTH, ByTable, ByTokens

if TYPE_CHECKING:
    from dagster_gptimg.fal.types import Json

_MILLI = Decimal("0.001")
_DEPRECATIONS = "https://developers.openai.com/api/docs/deprecations"
_SUCCESSOR = "gpt-image-2.5-flare"
_READ = date(2026, 11, 23)
_READ_25 = date(2026, 10, 8)
_IMAGES = ("image_urls",)
_DEFAULTS: dict[str, Json] = {
    "image_size": "auto",
    "background": "auto",
    "quality": "auto",
    "num_images": 1,
    "output_format": "png",
    "sync_mode": False,
}


class TextToImage(ImageInputs):
    """`fal-ai/gpt-image-1-mini` and `fal-ai/gpt-image-1/text-to-image`."""

    image_size: Literal["auto", "1024x1024", "1536x1024", "1024x1536"] | None = Field(
        None, description="Aspect ratio for the generated image"
    )
    background: Literal["auto", "transparent", "opaque"] | None = Field(
        None, description="Background for the generated image"
    )
    quality: Literal["auto", "low", "medium", "high"] | None = Field(
        None, description="Quality for the generated image"
    )


class Edit(References, TextToImage):
    """`fal-ai/gpt-image-1-mini/edit`."""


class Edit1(Edit):
    """`fal-ai/gpt-image-1/edit-image`."""

    input_fidelity: Literal["low", "high"] | None = Field(None, description="Input fidelity for the generated image")


class TextToImage15(ImageInputs):
    """`fal-ai/gpt-image-1.5`."""

    image_size: Literal["1024x1024", "1536x1024", "1024x1536"] | None = Field(
        None, description="Aspect ratio for the generated image"
    )
    background: Literal["auto", "transparent", "opaque"] | None = Field(
        None, description="Background for the generated image"
    )
    quality: Literal["low", "medium", "high"] | None = Field(None, description="Quality for the generated image")


class Edit15(References, TextToImage15):
    """`fal-ai/gpt-image-1.5/edit`."""

    image_size: Literal["auto", "1024x1024", "1536x1024", "1024x1536"] | None = Field(  # type: ignore[assignment]
        None, description="Aspect ratio for the generated image"
    )
    input_fidelity: Literal["low", "high"] | None = Field(None, description="Input fidelity for the generated image")
    mask_image_url: str | None = Field(None, description="The URL of the mask image: which part of it to edit")


class Pixels(BaseModel):
    """A custom image size in pixels (the rules are from the page of `openai/gpt-image-2`)."""

    model_config = ConfigDict(extra="forbid", strict=True)

    width: int = Field(description="A multiple of 16, 3840 at most", multiple_of=16, ge=16, le=3840)
    height: int = Field(description="A multiple of 16, 3840 at most", multiple_of=16, ge=16, le=3840)

    @model_validator(mode="after")
    def _shape(self) -> Pixels:
        if max(self.width, self.height) > 3 * min(self.width, self.height):
            raise ValueError("one side is more than three times the other")
        if not LEAST_PIXELS <= self.width * self.height <= MOST_PIXELS:
            raise ValueError(f"the size must have {LEAST_PIXELS:,} to {MOST_PIXELS:,} pixels")
        return self


LEAST_PIXELS = 655_360
"""Minimum pixels (width times height) of a custom size, from the page of `openai/gpt-image-2`."""
MOST_PIXELS = 8_294_400
"""Maximum pixels (width times height) of a custom size, from the page of `openai/gpt-image-2`."""
Preset = Literal["square_hd", "square", "portrait_4_3", "portrait_16_9", "landscape_4_3", "landscape_16_9", "auto"]


class TextToImage2(ImageInputs):
    """`openai/gpt-image-2`: presets, or any width and height; no transparent background."""

    image_size: Preset | Pixels | None = Field(None, description="The size of the image: a preset, or width and height")
    quality: Literal["auto", "low", "medium", "high"] | None = Field(
        None, description="Quality for the generated image"
    )

    @field_validator("image_size", mode="before")
    @classmethod
    def _pixels(cls, value: object) -> object:
        """Accept `1024x1536`, the notation of the older models, as width and height."""
        return pixels(value)


class Edit2(References, TextToImage2):
    """`openai/gpt-image-2/edit`."""

    mask_url: str | None = Field(None, description="The URL of the mask image: which part of it to edit")


class TextToImage25(TextToImage2):
    """`openai/gpt-image-2.5/flare/text-to-image` and `openai/gpt-image-2.5/sunburst/text-to-image`."""

    background: Literal["auto", "transparent", "opaque"] | None = Field(
        None, description="Background for the generated image"
    )
    quality: Literal["auto", "low", "medium", "high", "xhigh", "max"] | None = Field(  # type: ignore[assignment]
        None, description="Quality for the generated image"
    )
    output_compression: int | None = Field(
        None, description="Compression level from 0 to 100, for jpeg and webp only", ge=0, le=100
    )

    @field_validator("output_compression", mode="before")
    @classmethod
    def _level(cls, value: object) -> object:
        return whole(value)


class Edit25(References, TextToImage25):
    """`openai/gpt-image-2.5/flare/edit` and `openai/gpt-image-2.5/sunburst/edit`."""

    mask_url: str | None = Field(None, description="The URL of the mask image: which part of it to edit")


# -- the models

_MINI = ByTable(
    images={
        "low": ("0.005", "0.006", "0.006"),
        "medium": ("0.011", "0.015", "0.015"),
        "high": ("0.036", "0.052", "0.052"),
    },
    text=Decimal("0.002") * _MILLI,
    reference=Decimal("0.0025") * _MILLI,
)
GPT_IMAGE_1_MINI = FalModel(
    name="gpt-image-1-mini",
    endpoint="fal-ai/gpt-image-1-mini",
    inputs=TextToImage,
    key_defaults=_DEFAULTS,
    price=_MINI,
    sunset=date(2026, 12, 1),
    successor=_SUCCESSOR,
    source=(page("fal-ai/gpt-image-1-mini"), _DEPRECATIONS),
    read=_READ,
    edit=FalModel(
        name="gpt-image-1-mini/edit",
        endpoint="fal-ai/gpt-image-1-mini/edit",
        inputs=Edit,
        required=_IMAGES,
        key_defaults=_DEFAULTS,
        price=_MINI,
        sunset=date(2026, 12, 1),
        successor=f"{_SUCCESSOR}/edit",
        source=(page("fal-ai/gpt-image-1-mini/edit"), _DEPRECATIONS),
        read=_READ,
    ),
)

_GPT_IMAGE_1 = ByTable(
    images={
        "low": ("0.011", "0.016", "0.016"),
        "medium": ("0.042", "0.063", "0.063"),
        "high": ("0.167", "0.25", "0.25"),
    },
    text=Decimal("0.002") * _MILLI,
    reference=Decimal("0.005") * _MILLI,
)
GPT_IMAGE_1 = FalModel(
    name="gpt-image-1",
    endpoint="fal-ai/gpt-image-1/text-to-image",
    inputs=TextToImage,
    key_defaults=_DEFAULTS,
    price=_GPT_IMAGE_1,
    sunset=date(2026, 10, 23),
    successor=_SUCCESSOR,
    source=(page("fal-ai/gpt-image-1/text-to-image"), _DEPRECATIONS),
    read=_READ,
    edit=FalModel(
        name="gpt-image-1/edit",
        endpoint="fal-ai/gpt-image-1/edit-image",
        inputs=Edit1,
        required=_IMAGES,
        key_defaults={**_DEFAULTS, "input_fidelity": "high"},
        price=replace(_GPT_IMAGE_1, fidelity="high"),
        sunset=date(2026, 10, 23),
        successor=f"{_SUCCESSOR}/edit",
        source=(page("fal-ai/gpt-image-1/edit-image"), _DEPRECATIONS),
        read=_READ,
    ),
)

_GPT_IMAGE_15 = ByTable(
    images={
        "low": ("0.009", "0.013", "0.013"),
        "medium": ("0.034", "0.051", "0.050"),
        "high": ("0.133", "0.200", "0.199"),
    },
    text=Decimal("0.005") * _MILLI,
    reference=Decimal("0.008") * _MILLI,
    reasoning=Decimal("0.010") * _MILLI,
    quality="high",
    image_size="1024x1024",
    rounded=False,
)
_DEFAULTS_15: dict[str, Json] = {**_DEFAULTS, "image_size": "1024x1024", "quality": "high"}
GPT_IMAGE_15 = FalModel(
    name="gpt-image-1.5",
    endpoint="fal-ai/gpt-image-1.5",
    inputs=TextToImage15,
    key_defaults=_DEFAULTS_15,
    price=_GPT_IMAGE_15,
    sunset=date(2026, 12, 1),
    successor=_SUCCESSOR,
    source=(page("fal-ai/gpt-image-1.5"), _DEPRECATIONS),
    read=_READ,
    edit=FalModel(
        name="gpt-image-1.5/edit",
        endpoint="fal-ai/gpt-image-1.5/edit",
        inputs=Edit15,
        required=_IMAGES,
        key_defaults={**_DEFAULTS_15, "image_size": "auto", "input_fidelity": "high"},
        price=replace(_GPT_IMAGE_15, image_size="auto", fidelity="high"),
        sunset=date(2026, 12, 1),
        successor=f"{_SUCCESSOR}/edit",
        source=(page("fal-ai/gpt-image-1.5/edit"), _DEPRECATIONS),
        read=_READ,
    ),
)

_DEFAULTS_2: dict[str, Json] = {
    "image_size": "landscape_4_3",
    "quality": "high",
    "num_images": 1,
    "output_format": "png",
    "sync_mode": False,
}
PRESETS_2 = {
    "square_hd": ((1024, 1024),),
    "portrait_4_3": ((768, 1024),),
    "portrait_16_9": ((576, 1024), (720, 1280)),
    "landscape_4_3": ((1024, 768),),
    "landscape_16_9": ((1024, 576), (1280, 720)),
    "square": ((512, 512), (816, 816)),
}
"""fal's presets of gpt-image-2, with their possible sizes in pixels.

fal may enlarge one with fewer pixels than the model takes: then the price is a range.
"""
# An edge stands for tokens, and so for the price of a quality (`ByTokens`).
_GPT_IMAGE_2 = ByTokens(edges={"low": 16, "medium": 48, "high": 96}, presets=PRESETS_2)
GPT_IMAGE_2 = FalModel(
    name="gpt-image-2",
    endpoint="openai/gpt-image-2",
    inputs=TextToImage2,
    key_defaults=_DEFAULTS_2,
    price=_GPT_IMAGE_2,
    source=(page("openai/gpt-image-2"),),
    read=_READ,
    edit=FalModel(
        name="gpt-image-2/edit",
        endpoint="openai/gpt-image-2/edit",
        inputs=Edit2,
        required=_IMAGES,
        key_defaults={**_DEFAULTS_2, "image_size": "auto"},
        price=replace(_GPT_IMAGE_2, image_size="auto"),
        source=(page("openai/gpt-image-2/edit"),),
        read=_READ,
    ),
)

_DEFAULTS_25: dict[str, Json] = {**_DEFAULTS_2, "background": "auto"}
PRESETS_25 = {
    "square_hd": ((1024, 1024), (2048, 2048)),
    "square": ((512, 512), (816, 816), (1024, 1024)),
    "portrait_4_3": ((768, 1024),),
    "portrait_16_9": ((576, 1024), (720, 1280), (1080, 1920)),
    "landscape_4_3": ((1024, 768),),
    "landscape_16_9": ((1024, 576), (1280, 720), (1920, 1080)),
}
"""fal's presets of gpt-image-2.5. The page prints no pixels; where several sizes are possible, the price is a range."""
_GPT_IMAGE_25 = ByTokens(
    edges={"low": 16, "medium": 24, "high": 48, "xhigh": 64, "max": 96}, presets=PRESETS_25, step=TEN_THOUSANDTH
)


def _gpt_image_25(kind: str) -> FalModel:
    """Make the entry of Flare or Sunburst, which have the same inputs and prices; the path of edits is `.../edit`."""
    name, endpoint = f"gpt-image-2.5-{kind}", f"openai/gpt-image-2.5/{kind}"
    return FalModel(
        name=name,
        endpoint=f"{endpoint}/text-to-image",
        inputs=TextToImage25,
        key_defaults=_DEFAULTS_25,
        price=_GPT_IMAGE_25,
        max_images_per_request=10,
        source=(page(f"{endpoint}/text-to-image"),),
        read=_READ_25,
        edit=FalModel(
            name=f"{name}/edit",
            endpoint=f"{endpoint}/edit",
            inputs=Edit25,
            required=_IMAGES,
            key_defaults={**_DEFAULTS_25, "image_size": "auto"},
            price=replace(_GPT_IMAGE_25, image_size="auto"),
            max_images_per_request=10,
            source=(page(f"{endpoint}/edit"),),
            read=_READ_25,
        ),
    )


MODELS = (
    GPT_IMAGE_1_MINI,
    GPT_IMAGE_1,
    GPT_IMAGE_15,
    GPT_IMAGE_2,
    _gpt_image_25("flare"),
    _gpt_image_25("sunburst"),
)
"""OpenAI's models, in the order of their release."""
