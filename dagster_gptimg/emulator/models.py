"""The models that the emulator knows. Another one is another entry of `MODELS`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .prices import AUTO_SIZE, GPT_IMAGE_1_MINI, ImagePrices
from .schema import Field, Schema


@dataclass(frozen=True)
class Model:
    """One endpoint of fal: what it takes, what it costs, how the platform API describes it."""

    endpoint_id: str
    display_name: str
    category: str
    description: str
    inputs: Schema
    prices: ImagePrices
    status: str = "active"
    """`active` or `deprecated` (platform API, `metadata.status`)."""

    @property
    def app(self) -> str:
        """`owner/app`: the part of the id that status, result and cancel use (fal-api.md §1.3)."""
        return app_of(self.endpoint_id)


def app_of(endpoint_id: str) -> str:
    """The first two segments of an endpoint id."""
    return "/".join(endpoint_id.split("/")[:2])


def size_of(inputs: Mapping[str, Any]) -> tuple[int, int]:
    """Width and height in pixels of the images that these inputs ask for."""
    size = inputs.get("image_size") or AUTO_SIZE
    width, height = (AUTO_SIZE if size == "auto" else str(size)).split("x")
    return int(width), int(height)


_GPT_IMAGE_1_MINI_INPUTS: Schema = {
    "prompt": Field(str, required=True),
    "image_size": Field(str, "auto", choices=("auto", "1024x1024", "1536x1024", "1024x1536")),
    "background": Field(str, "auto", choices=("auto", "transparent", "opaque")),
    "quality": Field(str, "auto", choices=("auto", "low", "medium", "high")),
    "num_images": Field(int, 1, least=1, most=4),
    "output_format": Field(str, "png", choices=("jpeg", "png", "webp")),
    "sync_mode": Field(bool, default=False),
}

MODELS: dict[str, Model] = {
    model.endpoint_id: model
    for model in (
        Model(
            endpoint_id="fal-ai/gpt-image-1-mini",
            display_name="GPT Image 1 Mini",
            category="text-to-image",
            description="GPT Image 1 mini combines language capabilities with efficient image generation. (Emulated.)",
            inputs=_GPT_IMAGE_1_MINI_INPUTS,
            prices=GPT_IMAGE_1_MINI,
        ),
    )
}
"""Endpoint id -> model."""

APPS: frozenset[str] = frozenset(model.app for model in MODELS.values())
"""Every `owner/app` that exists here."""
