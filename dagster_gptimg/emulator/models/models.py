"""The models that the emulator knows. Another one is another entry of `MODELS`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dagster_gptimg.emulator.models.prices import (
    GPT_IMAGE_1,
    GPT_IMAGE_1_MINI,
    GPT_IMAGE_2,
    GPT_IMAGE_15,
    GPT_IMAGE_25,
    PRESETS,
    Prices,
    pixels,
)
from dagster_gptimg.emulator.models.schema import Field, Schema, Size


@dataclass(frozen=True)
class Model:
    """One endpoint of fal: its inputs, its prices, its description in the platform API."""

    endpoint_id: str
    display_name: str
    inputs: Schema
    prices: Prices
    status: str = "active"
    """`active` or `deprecated` (platform API, `metadata.status`)."""
    tells_sizes: bool = True
    """Whether its results may tell the images' sizes; else they are null (docs/fal-wire.md#result)."""

    @property
    def app(self) -> str:
        """`owner/app`: the part of the id that status, result and cancel use (docs/fal-wire.md#urls)."""
        return app_of(self.endpoint_id)

    @property
    def category(self) -> str:
        """Fal's category of the endpoint."""
        return "image-to-image" if "image_urls" in self.inputs else "text-to-image"

    @property
    def description(self) -> str:
        """A sentence."""
        return f"{self.display_name} makes images from text. (Emulated.)"


def app_of(endpoint_id: str) -> str:
    """The first two segments of an endpoint id."""
    return "/".join(endpoint_id.split("/")[:2])


def size_of(inputs: Mapping[str, Any]) -> tuple[int, int]:
    """Width and height in pixels of the images that these inputs ask for."""
    return pixels(inputs)


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

MODELS: dict[str, Model] = {
    model.endpoint_id: model
    for model in (
        Model("fal-ai/gpt-image-1-mini", "GPT Image 1 Mini", _FIRST, GPT_IMAGE_1_MINI),
        Model("fal-ai/gpt-image-1-mini/edit", "GPT Image 1 Mini, edit", {**_FIRST, **_IMAGES}, GPT_IMAGE_1_MINI),
        Model("fal-ai/gpt-image-1/text-to-image", "GPT Image 1", _FIRST, GPT_IMAGE_1),
        Model("fal-ai/gpt-image-1/edit-image", "GPT Image 1, edit", {**_FIRST, **_IMAGES, **_FIDELITY}, GPT_IMAGE_1),
        Model("fal-ai/gpt-image-1.5", "GPT Image 1.5", _ONE_AND_A_HALF, GPT_IMAGE_15),
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
        ),
        Model("openai/gpt-image-2", "GPT Image 2", _SECOND, GPT_IMAGE_2),
        Model(
            "openai/gpt-image-2/edit",
            "GPT Image 2, edit",
            {**_SECOND, "image_size": Field(str, "auto", size=_ANY_SIZE), **_IMAGES, "mask_url": Field(str)},
            GPT_IMAGE_2,
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
                    tells_sizes=False,
                ),
                Model(f"{root}/edit", f"{name}, edit", _AFTER_AN_IMAGE, GPT_IMAGE_25, tells_sizes=False),
            )
        ),
    )
}
"""Endpoint id -> model."""

APPS: frozenset[str] = frozenset(model.app for model in MODELS.values())
"""Every `owner/app` that exists here."""

MASKS = ("mask_image_url", "mask_url")


def reference_urls(inputs: Mapping[str, Any]) -> list[str]:
    """Where the images are that these valid inputs bring along, masks last."""
    return [*(inputs.get("image_urls") or ()), *(inputs[name] for name in MASKS if inputs.get(name))]
