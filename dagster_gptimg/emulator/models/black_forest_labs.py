"""Black Forest Labs' models, read from fal's pages of FLUX.2 [dev] and [pro]: inputs, prices, results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from dagster_gptimg.emulator.models.model import Model, Unit
from dagster_gptimg.emulator.models.schema import Field, Schema, Size

_PRESETS = {
    "square_hd": (1024, 1024),
    "square": (512, 512),
    "portrait_4_3": (768, 1024),
    "portrait_16_9": (576, 1024),
    "landscape_4_3": (1024, 768),
    "landscape_16_9": (1024, 576),
}
"""Sizes of presets in pixels, from fal's page on common arguments."""
_MEGAPIXEL = 1024 * 1024


def size(inputs: Mapping[str, Any], otherwise: str = "landscape_4_3") -> tuple[int, int]:
    """Return width and height of the images in pixels; `auto` is a square here, or a setting such as `1024x1024`."""
    asked = inputs.get("image_size") or otherwise
    if isinstance(asked, dict):
        return int(asked["width"]), int(asked["height"])
    if asked in _PRESETS:
        return _PRESETS[asked]
    width, _, height = ("1024x1024" if asked == "auto" else str(asked)).partition("x")
    return int(width), int(height)


def edited_size(inputs: Mapping[str, Any]) -> tuple[int, int]:
    """Return width and height of the images of edits in pixels; their default is a square."""
    return size(inputs, "square_hd")


def _megapixels(arguments: Mapping[str, Any]) -> int:
    """Return the megapixels of one output image, rounded up."""
    width, height = edited_size(arguments) if "image_urls" in arguments else size(arguments)
    return -(-width * height // _MEGAPIXEL)


def _references(arguments: Mapping[str, Any]) -> int:
    return len(arguments.get("image_urls") or ())


@dataclass(frozen=True)
class MegapixelPrices:
    """[dev]: millionths of a dollar per megapixel of output; an input image is resized to one megapixel."""

    each: int = 12_000
    step: int = 1

    def micro_usd(self, arguments: Mapping[str, Any]) -> int:
        """Return the price of one request."""
        return self.each * (_megapixels(arguments) * int(arguments["num_images"]) + _references(arguments))


@dataclass(frozen=True)
class FirstMegapixelPrices:
    """[pro]: millionths of a dollar for the first megapixel, and for each further one; an input image counts one."""

    first: int = 30_000
    further: int = 15_000
    step: int = 1

    def micro_usd(self, arguments: Mapping[str, Any]) -> int:
        """Return the price of one request."""
        further = _megapixels(arguments) - 1 + _references(arguments)
        return (self.first + self.further * further) * int(arguments["num_images"])


def seeded(inputs: Mapping[str, Any], seed: int, _images: int) -> dict[str, Any]:
    """Return the seed that was used, in results of [pro]."""
    given = inputs.get("seed")
    return {"seed": seed if given is None else given}


def told(inputs: Mapping[str, Any], seed: int, images: int) -> dict[str, Any]:
    """Return what results of [dev] have besides images: timings, seed, the checker's findings, and the prompt."""
    more = {"has_nsfw_concepts": [False] * images, "prompt": inputs.get("prompt", "")}
    return {"timings": {"inference": 1.0}, **seeded(inputs, seed, images), **more}


_SIX = tuple(_PRESETS)
_DEV_SIZE = Size(_SIX, step=1, longest=2048, least=512**2, most=2048**2, shortest=512, widest=4)
_PRO_SIZE = Size(_SIX, step=1, longest=2048, least=64**2, most=2048**2, shortest=64, widest=32)
_PRO_EDIT_SIZE = Size((*_SIX, "auto"), step=1, longest=2048, least=64**2, most=2048**2, shortest=64, widest=32)
_IMAGES: Schema = {"image_urls": Field(list, required=True, least=1)}


def _dev(image_size: str | None, acceleration: str | None, output_format: str | None) -> Schema:
    return {
        "prompt": Field(str, required=True),
        "guidance_scale": Field(float, 2.5, least=0, most=20),
        "seed": Field(int),
        "num_inference_steps": Field(int, 28, least=4, most=50),
        "image_size": Field(str, image_size, size=_DEV_SIZE),
        "num_images": Field(int, 1, least=1, most=4),
        "acceleration": Field(str, acceleration, choices=("none", "regular", "high")),
        "enable_prompt_expansion": Field(bool, default=False),
        "sync_mode": Field(bool, default=False),
        "enable_safety_checker": Field(bool, default=True),
        "output_format": Field(str, output_format, choices=("jpeg", "png", "webp")),
    }


def _pro(image_size: str, sizes: Size) -> Schema:
    return {
        "prompt": Field(str, required=True),
        "image_size": Field(str, image_size, size=sizes),
        "seed": Field(int),
        "safety_tolerance": Field(str, "2", choices=("1", "2", "3", "4", "5")),
        "enable_safety_checker": Field(bool, default=True),
        "output_format": Field(str, "jpeg", choices=("jpeg", "png")),
        "sync_mode": Field(bool, default=False),
    }


_DEV_UNIT = Unit("megapixels", Decimal("0.012"))
"""The unit by fal's page. Public code bills compute seconds of $0.00167 (docs/fal-wire.md#prices-and-units)."""
_PRO_UNIT = Unit("processed megapixels", Decimal("0.03"))

MODELS: tuple[Model, ...] = (
    Model(
        "fal-ai/flux-2",
        "FLUX.2 [dev]",
        _dev("landscape_4_3", "regular", "png"),
        MegapixelPrices(),
        unit=_DEV_UNIT,
        size=size,
        more=told,
    ),
    # Copies of the page of its edits differ in the defaults of size, acceleration and format: none is shown here.
    Model(
        "fal-ai/flux-2/edit",
        "FLUX.2 [dev], edit",
        {**_dev(None, None, None), **_IMAGES},
        MegapixelPrices(),
        unit=_DEV_UNIT,
        size=edited_size,
        more=told,
    ),
    Model(
        "fal-ai/flux-2-pro",
        "FLUX.2 [pro]",
        _pro("landscape_4_3", _PRO_SIZE),
        FirstMegapixelPrices(),
        unit=_PRO_UNIT,
        size=size,
        more=seeded,
    ),
    Model(
        "fal-ai/flux-2-pro/edit",
        "FLUX.2 [pro], edit",
        {**_pro("auto", _PRO_EDIT_SIZE), **_IMAGES},
        FirstMegapixelPrices(),
        unit=_PRO_UNIT,
        size=edited_size,
        more=seeded,
    ),
)
"""The endpoints of Black Forest Labs' models."""
