"""Request keys: the definition of "the same purchase". `tests/fixtures/keys.jsonl` fixes them for ever.

A key is made of a model's endpoint, the arguments and a copy number, which `equal_rows.py` counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dagster_gptimg.base.canonical_json import Canonical

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagster_gptimg.fal.registry.model import FalModel
    from dagster_gptimg.fal.types import Json

RECIPE = 1
"""The version of this recipe. Never changes: a change would change every key, and buy everything again."""


def cut(images: int, most: int) -> list[int]:
    """Split a row's images into requests: `most`, `most`, ..., rest. This never changes."""
    full, rest = divmod(images, most)
    return [most] * full + [rest] * (rest > 0)


def request_key(model: FalModel, arguments: Mapping[str, Json], copy: int) -> str:
    """Return the SHA-256, in hex, of the RFC 8785 JSON of endpoint, arguments, copy number and recipe.

    Arguments that equal the model's first defaults are left out. Equal requests of one partition differ by the copy
    number, counted from 0 in table order.
    """
    return keys_of(model, arguments, copy).digest(str(arguments["prompt"])).hex()


def keys_of(model: FalModel, arguments: Mapping[str, Json], copy: int) -> Canonical:
    """Return a function object that computes the keys of requests that differ in their prompts only."""
    variant = model.variant(arguments)

    def asked(prompt: str) -> dict[str, Any]:
        about: dict[str, Any] = {"endpoint": variant.endpoint, "copy": copy, "recipe": RECIPE}
        about["arguments"] = variant.key_arguments({**arguments, "prompt": prompt})
        return about

    return Canonical(asked)
