"""The models that the emulator knows, of all makers. Another one is another entry of its maker's `MODELS`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dagster_gptimg.emulator.models import birefnet, black_forest_labs, bria, bytedance, clarity, google, openai, topaz
from dagster_gptimg.emulator.models.model import Model

MODELS: dict[str, Model] = {
    model.endpoint_id: model
    for maker in (openai, google, bytedance, black_forest_labs, birefnet, bria, clarity, topaz)
    for model in maker.MODELS
}
"""Endpoint id -> model."""

APPS: frozenset[str] = frozenset(model.app for model in MODELS.values())
"""Every `owner/app` that exists here."""

MASKS = ("mask_image_url", "mask_url")


def reference_urls(inputs: Mapping[str, Any]) -> list[str]:
    """Where the images are that these valid inputs bring along, masks last."""
    one = [inputs["image_url"]] if "image_url" in inputs else []
    return [*one, *(inputs.get("image_urls") or ()), *(inputs[name] for name in MASKS if inputs.get(name))]
