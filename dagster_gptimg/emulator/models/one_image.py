"""What endpoints that take one image and need no prompt share: the size of that image, and the size of what is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dagster_gptimg.emulator.models.schema import Field, Schema

SOURCE_SIZE = "source_size"
"""Name under which such an endpoint's inputs hold width and height of the image of `image_url`, in pixels."""
MOST_SIDE = 8192
"""Pixels of the longer side of the largest image that is taken or made: the emulator's limit, not fal's."""
_USUAL = (1024, 1024)
"""For an estimate, which has no image."""

IMAGE: Schema = {"image_url": Field(str, required=True)}


def source_size(inputs: Mapping[str, Any]) -> tuple[int, int]:
    """Return width and height of the image that was sent, in pixels: the size of what has lost its background."""
    width, height = inputs.get(SOURCE_SIZE) or _USUAL
    return int(width), int(height)


def enlarged_size(inputs: Mapping[str, Any]) -> tuple[int, int]:
    """Return width and height of the image that was sent times `upscale_factor`, in pixels."""
    width, height = source_size(inputs)
    factor = float(inputs.get("upscale_factor") or 2)
    return round(width * factor), round(height * factor)
