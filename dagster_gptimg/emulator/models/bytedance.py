"""ByteDance's models, read from fal's pages of Seedream 5 Pro and Lite: inputs, prices, results."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from dagster_gptimg.emulator.models.model import Model, Unit
from dagster_gptimg.emulator.models.schema import Field, Schema, Size

_PRESETS = {
    "square_hd": (2048, 2048),
    "square": (1024, 1024),
    "portrait_4_3": (1728, 2304),
    "portrait_16_9": (1440, 2560),
    "landscape_4_3": (2304, 1728),
    "landscape_16_9": (2560, 1440),
    "auto_2K": (2048, 2048),
    "auto_3K": (3072, 3072),
    "auto_4K": (4096, 4096),
}
"""Sizes of presets in pixels. fal documents none; a recorded `square_hd` of Pro was billed as a large image."""
_SMALL = 1536 * 1536
_LITE_LEAST = 2560 * 1440
_LITE_MOST = 4096 * 4096
_LONGEST = 14_142


def _sides(inputs: Mapping[str, Any]) -> tuple[int, int]:
    asked = inputs.get("image_size") or "auto_2K"
    return (int(asked["width"]), int(asked["height"])) if isinstance(asked, dict) else _PRESETS[asked]


def lite_size(inputs: Mapping[str, Any]) -> tuple[int, int]:
    """Return width and height of the images of Lite, which scales sizes that are too small or too large."""
    width, height = _sides(inputs)
    wanted = min(max(width * height, _LITE_LEAST), _LITE_MOST)
    scale = math.sqrt(wanted / (width * height))
    return math.ceil(width * scale), math.ceil(height * scale)


@dataclass(frozen=True)
class AreaPrices:
    """Seedream 5 Pro: millionths of a dollar per image up to 1536x1536, and per larger image."""

    small: int = 67_500
    large: int = 135_000
    reference: int = 4_500
    """Millionths of a dollar per output image and input image, except the first input image."""
    step: int = 1

    def micro_usd(self, arguments: Mapping[str, Any]) -> int:
        """Return the price of one request."""
        width, height = _sides(arguments)
        each = self.small if width * height <= _SMALL else self.large
        each += self.reference * max(len(arguments.get("image_urls") or ()) - 1, 0)
        return each * int(arguments["num_images"])


@dataclass(frozen=True)
class FlatPrices:
    """Millionths of a dollar per image."""

    image: int
    step: int = 1

    def micro_usd(self, arguments: Mapping[str, Any]) -> int:
        """Return the price of one request."""
        return self.image * int(arguments["num_images"])


def seeded(_inputs: Mapping[str, Any], seed: int, _images: int) -> dict[str, Any]:
    """Return the seed in results of Lite, which takes no seed as an input."""
    return {"seed": seed}


_PROMPT: Schema = {"prompt": Field(str, required=True)}
_IMAGES: Schema = {"image_urls": Field(list, required=True, least=1)}
_COUNT: Schema = {"num_images": Field(int, 1, least=1, most=6)}
_CHECKED: Schema = {"sync_mode": Field(bool, default=False), "enable_safety_checker": Field(bool, default=True)}
_SIX = ("square_hd", "square", "portrait_4_3", "portrait_16_9", "landscape_4_3", "landscape_16_9")
_PRO_SIZE = Size((*_SIX, "auto_2K"), step=1, longest=_LONGEST, least=1024**2, most=2048**2, widest=16)
_LITE_SIZE = Size(
    (*_SIX, "auto_2K", "auto_3K", "auto_4K"), step=1, longest=_LONGEST, least=1, most=_LONGEST**2, widest=_LONGEST
)
_PRO: Schema = {
    **_PROMPT,
    "image_size": Field(str, "auto_2K", size=_PRO_SIZE),
    **_COUNT,
    "output_format": Field(str, "jpeg", choices=("jpeg", "png")),
    **_CHECKED,
}
_LITE: Schema = {
    **_PROMPT,
    "image_size": Field(str, "auto_2K", size=_LITE_SIZE),
    **_COUNT,
    "max_images": Field(int, 1, least=1, most=6),
    **_CHECKED,
}
_PRO_UNIT = Unit("images", Decimal("0.0675"), has_point=True)
_LITE_UNIT = Unit("images", Decimal("0.035"))
_UNTOLD = ("width", "height")

MODELS: tuple[Model, ...] = (
    *(
        Model(
            f"bytedance/seedream/v5/pro/{path}", name, schema, AreaPrices(), unit=_PRO_UNIT, untold=_UNTOLD, size=_sides
        )
        for path, name, schema in (
            ("text-to-image", "Seedream 5.0 Pro", _PRO),
            ("edit", "Seedream 5.0 Pro, edit", {**_PRO, **_IMAGES}),
        )
    ),
    *(
        Model(
            f"bytedance/seedream/v5/lite/{path}",
            name,
            schema,
            FlatPrices(35_000),
            unit=_LITE_UNIT,
            untold=_UNTOLD,
            size=lite_size,
            more=seeded,
        )
        for path, name, schema in (
            ("text-to-image", "Seedream 5.0 Lite", _LITE),
            ("edit", "Seedream 5.0 Lite, edit", {**_LITE, **_IMAGES}),
        )
    ),
)
"""The endpoints of ByteDance's models; the path of edits is `.../edit`."""
