"""Request keys: what makes two requests the same purchase. `tests/fixtures/keys.jsonl` holds them for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dagster_gptimg.base.canonical_json import Canonical

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagster_gptimg.fal.registry.model import FalModel
    from dagster_gptimg.fal.types import Json

RECIPE = 1
"""The version of this recipe. Changing it would move every key, and buy everything again: it never changes."""


def cut(images: int, most: int) -> list[int]:
    """How a row's images are cut into requests: `most`, `most`, ..., rest, for ever."""
    full, rest = divmod(images, most)
    return [most] * full + [rest] * (rest > 0)


def request_key(model: FalModel, arguments: Mapping[str, Json], copy: int) -> str:
    """SHA-256, in hex, of the RFC 8785 JSON of endpoint, arguments, copy number and recipe.

    Arguments that equal the model's first defaults are left out. Equal requests of one partition are told apart by the
    copy number, counted from 0 in table order.
    """
    return keys_of(model, arguments, copy).digest(str(arguments["prompt"])).hex()


def keys_of(model: FalModel, arguments: Mapping[str, Json], copy: int) -> Canonical:
    """The keys of requests that differ in their prompts only."""
    variant = model.variant(arguments)

    def asked(prompt: str) -> dict[str, Any]:
        about: dict[str, Any] = {"endpoint": variant.endpoint, "copy": copy, "recipe": RECIPE}
        about["arguments"] = variant.key_arguments({**arguments, "prompt": prompt})
        return about

    return Canonical(asked)
