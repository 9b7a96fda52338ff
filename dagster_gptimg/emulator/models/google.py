"""Google's models, read from fal's pages of Nano Banana 2 and Nano Banana Pro: inputs, prices, results."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from dagster_gptimg.emulator.models.model import Model, Unit
from dagster_gptimg.emulator.models.schema import Field, Schema

_NO_SIZES = ("file_size", "width", "height")
_RATIOS = ("auto", "21:9", "16:9", "3:2", "4:3", "5:4", "1:1", "4:5", "3:4", "2:3", "9:16")
_EXTREME = (*_RATIOS, "4:1", "1:4", "8:1", "1:8")
_SIDES = {"0.5K": 512, "1K": 1024, "2K": 2048, "4K": 4096}
"""Side of a square image in pixels, by resolution. Other ratios have about as many pixels (not documented by fal)."""
_EDGE = 16
"""Sides in pixels are multiples of this number."""


@dataclass(frozen=True)
class ResolutionPrices:
    """Millionths of a dollar per image, by resolution; surcharges per request."""

    images: Mapping[str, int]
    search: int = 15_000
    thinking: int = 2_000
    step: int = 1

    def micro_usd(self, arguments: Mapping[str, Any]) -> int:
        """Return the price of one request."""
        total = self.images[arguments["resolution"]] * int(arguments["num_images"])
        total += self.search if arguments.get("enable_web_search") else 0
        return total + (self.thinking if arguments.get("thinking_level") == "high" else 0)


def size(inputs: Mapping[str, Any]) -> tuple[int, int]:
    """Return width and height of the images in pixels; `auto` is a square here."""
    side, ratio = _SIDES[inputs.get("resolution") or "1K"], inputs.get("aspect_ratio") or "auto"
    across, down = (1, 1) if ratio == "auto" else map(int, str(ratio).split(":"))
    width, height = side * math.sqrt(across / down), side * math.sqrt(down / across)
    return round(width / _EDGE) * _EDGE, round(height / _EDGE) * _EDGE


def described(_inputs: Mapping[str, Any], _seed: int, _images: int) -> dict[str, Any]:
    """Return the description of a result, which is empty in most recordings."""
    return {"description": ""}


def _inputs(prompt: Schema, ratio: str, *, resolutions: tuple[str, ...], is_limited: bool) -> Schema:
    return {
        **prompt,
        "num_images": Field(int, 1, least=1, most=4),
        "seed": Field(int),
        "aspect_ratio": Field(str, ratio, choices=_EXTREME if "0.5K" in resolutions else _RATIOS),
        "output_format": Field(str, "png", choices=("jpeg", "png", "webp")),
        "safety_tolerance": Field(str, "4", choices=("1", "2", "3", "4", "5", "6")),
        "sync_mode": Field(bool, default=False),
        "resolution": Field(str, "1K", choices=resolutions),
        "limit_generations": Field(bool, default=is_limited),
        "enable_web_search": Field(bool, default=False),
    }


_PROMPT: Schema = {"prompt": Field(str, required=True, least=3, most=50_000)}
_IMAGES: Schema = {"image_urls": Field(list, required=True, least=1)}
_THINKING: Schema = {"thinking_level": Field(str, choices=("minimal", "high"))}
_SECOND = {**_inputs(_PROMPT, "auto", resolutions=("0.5K", "1K", "2K", "4K"), is_limited=True), **_THINKING}
_SECOND_PRICES = ResolutionPrices({"0.5K": 60_000, "1K": 80_000, "2K": 120_000, "4K": 160_000})
_SECOND_UNIT = Unit("images", Decimal("0.08"), has_point=True)
_PRO_PRICES = ResolutionPrices({"1K": 150_000, "2K": 150_000, "4K": 300_000})
_PRO_UNIT = Unit("images", Decimal("0.15"))


def _pro(ratio: str) -> Schema:
    return _inputs(_PROMPT, ratio, resolutions=("1K", "2K", "4K"), is_limited=False)


MODELS: tuple[Model, ...] = tuple(
    Model(
        endpoint_id,
        name,
        schema,
        prices,
        unit=unit,
        untold=_NO_SIZES,
        size=size,
        more=described,
        same_by_seed=True,
    )
    for endpoint_id, name, schema, prices, unit in (
        ("fal-ai/nano-banana-2", "Nano Banana 2", _SECOND, _SECOND_PRICES, _SECOND_UNIT),
        ("fal-ai/nano-banana-2/edit", "Nano Banana 2, edit", {**_SECOND, **_IMAGES}, _SECOND_PRICES, _SECOND_UNIT),
        ("fal-ai/nano-banana-pro", "Nano Banana Pro", _pro("1:1"), _PRO_PRICES, _PRO_UNIT),
        ("fal-ai/nano-banana-pro/edit", "Nano Banana Pro, edit", {**_pro("auto"), **_IMAGES}, _PRO_PRICES, _PRO_UNIT),
    )
)
"""The endpoints of Google's models."""
