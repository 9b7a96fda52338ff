"""OpenAI's models: their inputs by fal's pages, and the prices of `prices.py`."""

from __future__ import annotations

from dagster_gptimg.emulator.models.model import Model
from dagster_gptimg.emulator.models.prices import (
    GPT_IMAGE_1,
    GPT_IMAGE_1_MINI,
    GPT_IMAGE_2,
    GPT_IMAGE_15,
    GPT_IMAGE_25,
    PRESETS,
)
from dagster_gptimg.emulator.models.schema import Field, Schema, Size

NO_SIZES = ("file_size", "width", "height")
"""Null by recordings of GPT Image 1.5 and later. Those of 1 and 1 mini are as fal's example of 1 mini has them."""

_SIZES = ("1024x1024", "1536x1024", "1024x1536")
_TIERS = ("low", "medium", "high")
_COMMON: Schema = {
    "num_images": Field(int, 1, least=1, most=4),
    "output_format": Field(str, "png", choices=("jpeg", "png", "webp")),
    "sync_mode": Field(bool, default=False),
}
_BACKGROUND: Schema = {"background": Field(str, "auto", choices=("auto", "transparent", "opaque"))}
_PROMPT: Schema = {"prompt": Field(str, required=True)}
_IMAGES: Schema = {"image_urls": Field(list, required=True, least=1, most=16)}
_FIDELITY: Schema = {"input_fidelity": Field(str, "high", choices=("low", "high"))}

_FIRST: Schema = {
    **_PROMPT,
    "image_size": Field(str, "auto", choices=("auto", *_SIZES)),
    **_BACKGROUND,
    "quality": Field(str, "auto", choices=("auto", *_TIERS)),
    **_COMMON,
}
_ONE_AND_A_HALF: Schema = {
    **_PROMPT,
    "image_size": Field(str, "1024x1024", choices=_SIZES),
    **_BACKGROUND,
    "quality": Field(str, "high", choices=_TIERS),
    **_COMMON,
}
_ANY_SIZE = Size(presets=(*PRESETS, "auto"), step=16, longest=3840, least=655_360, most=8_294_400)
_SECOND: Schema = {
    **_PROMPT,
    "image_size": Field(str, "landscape_4_3", size=_ANY_SIZE),
    "quality": Field(str, "high", choices=("auto", *_TIERS)),
    **_COMMON,
}
_SECOND_AND_A_HALF: Schema = {
    "prompt": Field(str, required=True, least=1, most=32_000),
    "image_size": Field(str, "landscape_4_3", size=_ANY_SIZE),
    **_BACKGROUND,
    "quality": Field(str, "high", choices=("auto", *_TIERS, "xhigh", "max")),
    "num_images": Field(int, 1, least=1, most=10),
    "output_format": _COMMON["output_format"],
    "output_compression": Field(int, least=0, most=100),
    "sync_mode": _COMMON["sync_mode"],
}
_AFTER_AN_IMAGE: Schema = {
    **_SECOND_AND_A_HALF,
    "image_size": Field(str, "auto", size=_ANY_SIZE),
    **_IMAGES,
    "mask_url": Field(str),
}

MODELS: tuple[Model, ...] = (
    Model("fal-ai/gpt-image-1-mini", "GPT Image 1 Mini", _FIRST, GPT_IMAGE_1_MINI),
    Model("fal-ai/gpt-image-1-mini/edit", "GPT Image 1 Mini, edit", {**_FIRST, **_IMAGES}, GPT_IMAGE_1_MINI),
    Model("fal-ai/gpt-image-1/text-to-image", "GPT Image 1", _FIRST, GPT_IMAGE_1),
    Model("fal-ai/gpt-image-1/edit-image", "GPT Image 1, edit", {**_FIRST, **_IMAGES, **_FIDELITY}, GPT_IMAGE_1),
    Model("fal-ai/gpt-image-1.5", "GPT Image 1.5", _ONE_AND_A_HALF, GPT_IMAGE_15, untold=NO_SIZES),
    Model(
        "fal-ai/gpt-image-1.5/edit",
        "GPT Image 1.5, edit",
        {
            **_ONE_AND_A_HALF,
            "image_size": Field(str, "auto", choices=("auto", *_SIZES)),
            **_IMAGES,
            **_FIDELITY,
            "mask_image_url": Field(str),
        },
        GPT_IMAGE_15,
        untold=NO_SIZES,
    ),
    Model("openai/gpt-image-2", "GPT Image 2", _SECOND, GPT_IMAGE_2, untold=NO_SIZES),
    Model(
        "openai/gpt-image-2/edit",
        "GPT Image 2, edit",
        {**_SECOND, "image_size": Field(str, "auto", size=_ANY_SIZE), **_IMAGES, "mask_url": Field(str)},
        GPT_IMAGE_2,
        untold=NO_SIZES,
    ),
    *(
        model
        for kind in ("flare", "sunburst")
        for root, name in [(f"openai/gpt-image-2.5/{kind}", f"GPT Image 2.5 {kind.title()}")]
        for model in (
            Model(
                f"{root}/text-to-image",
                f"{name}, text to image",
                _SECOND_AND_A_HALF,
                GPT_IMAGE_25,
                untold=NO_SIZES,
            ),
            Model(f"{root}/edit", f"{name}, edit", _AFTER_AN_IMAGE, GPT_IMAGE_25, untold=NO_SIZES),
        )
    ),
)
