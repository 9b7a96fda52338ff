"""The emulator's own prices of OpenAI's models, from fal's model pages. Integers only: no rounding can hide a cent.

Sources: https://fal.ai/models/<id>/llms.txt, docs/fal-wire.md#prices-and-units. Costs are kept in millionths of a
dollar: not all families are rounded to cents. Other makers' prices are in their modules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from dagster_gptimg.emulator.open_questions import Readings

CURRENCY = "USD"

TOKENS_PER_WORD = 4
"""fal: "1 word is about 4 tokens"."""
MICRO_USD_PER_CENT = 10_000

AUTO_SIZE = "1024x1024"
"""The size that `image_size: auto` is drawn in. How it is billed is a setting."""

REFERENCE_TOKENS = {"low": 135, "high": 3_050}
"""Tokens of one reference image by input fidelity (fal: 1024x1024)."""


_READ = ("megapixel", "megapixels_rounded", "compute_seconds_billed")
"""Readings that prices see among the arguments, under their own names."""


class Prices(Protocol):
    """Computes the cost of one request."""

    @property
    def step(self) -> int:
        """Millionths of a dollar: to the next multiple of it a whole request is rounded up, by the model's page."""

    def micro_usd(self, arguments: Mapping[str, Any]) -> int:
        """Millionths of a dollar, not rounded, for valid arguments with defaults filled in and no `auto`."""


def cost(prices: Prices, inputs: Mapping[str, Any], readings: Readings) -> int:
    """Millionths of a dollar that a request is billed, by one reading of fal's documents."""
    autos = {"quality": readings.auto_quality, "image_size": readings.auto_size}
    read = {name: getattr(readings, name) for name in _READ}
    told = {name: tier for name, tier in autos.items() if inputs.get(name) == "auto"}
    total = prices.micro_usd({**inputs, **told, **read})
    step = {"printed": prices.step, "always": max(prices.step, MICRO_USD_PER_CENT), "never": 1}[readings.rounding]
    return -(-total // step) * step


@dataclass(frozen=True)
class ImagePrices:
    """A per-image price table in millionths of a dollar, plus tokens."""

    images: Mapping[str, tuple[int, int, int]]
    """Quality -> the price of one image of 1024x1024, 1024x1536, 1536x1024."""
    text_nano: int
    """One text token, in billionths of a dollar."""
    reference_nano: int = 0
    """One token of a reference image, in billionths of a dollar."""
    fidelity: str = "low"
    """Of an endpoint that has no `input_fidelity`."""
    step: int = MICRO_USD_PER_CENT

    def micro_usd(self, arguments: Mapping[str, Any]) -> int:
        """The price of one request."""
        table = self.images[arguments["quality"]]
        column = {"1024x1536": 1, "1536x1024": 2}.get(arguments["image_size"], 0)
        tokens = words(arguments) * TOKENS_PER_WORD * self.text_nano
        fidelity = arguments.get("input_fidelity") or self.fidelity
        tokens += references(arguments) * REFERENCE_TOKENS[fidelity] * self.reference_nano
        return table[column] * int(arguments["num_images"]) + -(-tokens // 1000)


@dataclass(frozen=True)
class TokenPrices:
    """GPT Image 2 and 2.5: dollars a million tokens, which is millionths of a dollar a token."""

    edges: Mapping[str, int]
    """Quality -> how many parts the longer side of an image is cut into."""
    reference_tokens: int
    """Of one reference image."""
    text: int = 5
    reference: int = 8
    image: int = 30
    step: int = 1

    def micro_usd(self, arguments: Mapping[str, Any]) -> int:
        """The price of one request."""
        edge = self.edges[arguments["quality"]]
        width, height = pixels(arguments)
        across = (2 * edge * min(width, height) + max(width, height)) // (2 * max(width, height))
        tokens = -(-edge * across * (2_000_000 + width * height) // 4_000_000)
        total = self.image * tokens * int(arguments["num_images"])
        total += self.text * words(arguments) * TOKENS_PER_WORD
        return total + self.reference * references(arguments) * self.reference_tokens


PRESETS = {
    "square_hd": (1024, 1024),
    "square": (816, 816),
    "portrait_4_3": (768, 1024),
    "portrait_16_9": (720, 1280),
    "landscape_4_3": (1024, 768),
    "landscape_16_9": (1280, 720),
}
"""The sizes of presets. fal does not document them for this model; none is smaller than the model's minimum."""


def pixels(arguments: Mapping[str, Any]) -> tuple[int, int]:
    """Width and height of the images that these arguments ask for."""
    size = arguments.get("image_size") or AUTO_SIZE
    if isinstance(size, dict):
        return int(size["width"]), int(size["height"])
    if size in PRESETS:
        return PRESETS[size]
    width, height = (AUTO_SIZE if size == "auto" else str(size)).split("x")
    return int(width), int(height)


def words(arguments: Mapping[str, Any]) -> int:
    """Words of the prompt."""
    return len(str(arguments["prompt"]).split())


def references(arguments: Mapping[str, Any]) -> int:
    """Images that go in, masks among them."""
    masks = sum(bool(arguments.get(name)) for name in ("mask_url", "mask_image_url"))
    return len(arguments.get("image_urls") or ()) + masks


GPT_IMAGE_1_MINI = ImagePrices(
    images={
        "low": (5_000, 6_000, 6_000),
        "medium": (11_000, 15_000, 15_000),
        "high": (36_000, 52_000, 52_000),
    },
    text_nano=2_000,
    reference_nano=2_500,
)
GPT_IMAGE_1 = ImagePrices(
    images={
        "low": (11_000, 16_000, 16_000),
        "medium": (42_000, 63_000, 63_000),
        "high": (167_000, 250_000, 250_000),
    },
    text_nano=2_000,
    reference_nano=5_000,
    fidelity="high",
)
GPT_IMAGE_15 = ImagePrices(
    images={
        "low": (9_000, 13_000, 13_000),
        "medium": (34_000, 51_000, 50_000),
        "high": (133_000, 200_000, 199_000),
    },
    text_nano=5_000,
    reference_nano=8_000,
    fidelity="high",
    step=1,
)
GPT_IMAGE_2 = TokenPrices({"low": 16, "medium": 48, "high": 96}, REFERENCE_TOKENS["low"])
GPT_IMAGE_25 = TokenPrices(
    {"low": 16, "medium": 24, "high": 48, "xhigh": 64, "max": 96},
    reference_tokens=1_040,  # what two edits with one reference each were billed (docs/fal-wire.md#prices-and-units)
    step=100,
)
"""Of 2.5 the page says: rounded up to a hundredth of a cent."""


def dollars(micro_usd: int) -> str:
    """Millionths of a dollar as dollars: 12340000 -> "12.34", 34100 -> "0.0341"."""
    whole, rest = divmod(micro_usd, 1_000_000)
    return f"{whole}.{f'{rest:06d}'.rstrip('0').ljust(2, '0')}"
