"""The class of the emulator's models: inputs, prices, unit, and shape of results of one endpoint of fal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from dagster_gptimg.emulator.models.prices import Prices, pixels
from dagster_gptimg.emulator.models.schema import Schema
from dagster_gptimg.emulator.open_questions import Readings

MICRO_USD = 1_000_000


@dataclass(frozen=True)
class Unit:
    """A unit that fal bills, and its price in US dollars (docs/fal-wire.md#prices-and-units)."""

    name: str
    usd: Decimal
    has_point: bool = False
    """Whether whole numbers are told as `1.0`, as recordings of some models have them."""

    @property
    def micro_usd(self) -> Decimal:
        """The unit's price in millionths of a dollar."""
        return self.usd * MICRO_USD

    def usd_by(self, readings: Readings) -> Decimal:
        """Return the unit's price in US dollars by one reading of fal's documents."""
        free = self.name == COMPUTE_SECONDS and not readings.compute_seconds_billed
        return Decimal(0) if free else self.usd

    def billed(self, micro_usd: int) -> str:
        """Convert millionths of a dollar to units: for dollars 40000 -> "0.04"; at most six decimals."""
        units = f"{round(Decimal(micro_usd) / self.micro_usd, 6).normalize():f}"
        return f"{units}.0" if self.has_point and micro_usd and "." not in units else units


COMPUTE_SECONDS = "compute seconds"
"""The name of the unit of models that are billed by the time of their computation."""

DOLLARS = Unit("units", Decimal(1))
"""The unit of OpenAI's models: a dollar, as GPT Image 1.5 was recorded (docs/fal-wire.md#prices-and-units)."""


def nothing_more(_inputs: Mapping[str, Any], _seed: int, _images: int) -> dict[str, Any]:
    """Return no fields: for a result that has images only."""
    return {}


@dataclass(frozen=True)
class Model:
    """One endpoint of fal: its inputs, its prices, its description in the platform API."""

    endpoint_id: str
    display_name: str
    inputs: Schema
    prices: Prices
    status: str = "active"
    """`active` or `deprecated` (platform API, `metadata.status`)."""
    unit: Unit = DOLLARS
    untold: tuple[str, ...] = ()
    """Fields among `file_size`, `width` and `height` that are null in its results (docs/fal-wire.md#result)."""
    left_out: tuple[str, ...] = ()
    """Fields among `width` and `height` that its results do not have."""
    size: Callable[[Mapping[str, Any]], tuple[int, int]] = pixels
    """Function of the inputs: width and height in pixels of the images that they ask for."""
    more: Callable[[Mapping[str, Any], int, int], dict[str, Any]] = nothing_more
    """Function of the inputs, a drawn seed and the number of images: the fields of a result besides its images."""
    same_by_seed: bool = False
    """Whether all images of a request with a `seed` are the same (docs/fal-wire.md#result)."""
    made: Literal["drawn", "cut out", "enlarged"] = "drawn"
    """Drawn from the prompt, or made of the image of `image_url`: without its background, or larger."""

    @property
    def app(self) -> str:
        """`owner/app`: the part of the id that status, result and cancel use (docs/fal-wire.md#urls)."""
        return app_of(self.endpoint_id)

    @property
    def category(self) -> str:
        """Fal's category of the endpoint."""
        return "image-to-image" if "image_urls" in self.inputs or self.has_one_image else "text-to-image"

    @property
    def has_one_image(self) -> bool:
        """Whether it takes one image (`image_url`), and its result is one `image` instead of `images`."""
        return "image_url" in self.inputs

    @property
    def description(self) -> str:
        """A sentence."""
        source = "an image" if self.has_one_image else "text"
        return f"{self.display_name} makes images from {source}. (Emulated.)"

    def files(self, inputs: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the names of the files in a result with one image: with a mask, if these inputs ask for one."""
        return ("image", "mask_image") if inputs.get("output_mask") and not inputs.get("mask_only") else ("image",)

    def form(self, inputs: Mapping[str, Any]) -> str:
        """Return `png`, `jpeg`, `webp`, `gif` or `svg`: the format of the images that these inputs ask for."""
        field = self.inputs.get("output_format")
        return str(inputs.get("output_format") or (field.default if field else None) or "png")


def app_of(endpoint_id: str) -> str:
    """The first two segments of an endpoint id."""
    return "/".join(endpoint_id.split("/")[:2])
