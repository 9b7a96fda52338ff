"""Request keys: the definition of "the same purchase". `tests/fixtures/keys.jsonl` fixes them for ever.

A key is made of a model's endpoint, the arguments and a copy number, which `equal_rows.py` counts.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from dagster_gptimg.base.canonical_json import Canonical, digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dagster_gptimg.fal.registry.model import FalModel
    from dagster_gptimg.fal.types import Json

RECIPE = 1
"""The version of this recipe. Never changes: a change would change every key, and buy everything again."""


def cut(images: int, most: int) -> list[int]:
    """Split a row's images into requests: `most`, `most`, ..., rest. This never changes."""
    full, rest = divmod(images, most)
    return [most] * full + [rest] * (rest > 0)


def request_key(model: FalModel, arguments: Mapping[str, Json], copy: int, take: int = 0) -> str:
    """Return the SHA-256, in hex, of the RFC 8785 JSON of endpoint, arguments, copy number and recipe.

    Arguments that equal the model's first defaults are left out. Equal requests of one partition differ by the copy
    number, counted from 0 in table order. Takes of a request differ by their number, which is left out for the
    first, 0.
    """
    prompt = str(arguments.get("prompt", ""))
    rest = {name: value for name, value in arguments.items() if name != "prompt"}
    return keys_of(model, rest, copy, take).digests([prompt])[0].hex()


def keys_of(model: FalModel, arguments: Mapping[str, Json], copy: int, take: int = 0) -> RequestKeys:
    """Return what computes the keys of requests that differ in their prompts only. `arguments`: without the prompt."""
    variant = model.variant(arguments)

    def asked(more: Mapping[str, Json]) -> dict[str, Any]:
        about: dict[str, Any] = {"endpoint": variant.endpoint, "copy": copy, "recipe": RECIPE}
        about |= {"take": take} if take else {}
        about["arguments"] = variant.key_arguments({**arguments, **more})
        return about

    return RequestKeys(asked)


class RequestKeys:
    """The keys of requests that differ in their prompts only; a request whose prompt is empty has none."""

    def __init__(self, asked: Callable[[Mapping[str, Json]], dict[str, Any]]) -> None:
        """`asked`: returns what a key is made of, with more arguments."""
        self._asked = asked

    def digests(self, prompts: Sequence[str]) -> list[bytes]:
        """Return the keys for several prompts, in their order, 32 bytes each."""
        if "" not in prompts:
            return self._with_prompt.digests(prompts)
        return [self._with_prompt.digest(prompt) if prompt else self._without for prompt in prompts]

    @cached_property
    def _with_prompt(self) -> Canonical:
        return Canonical(lambda prompt: self._asked({"prompt": prompt}))

    @cached_property
    def _without(self) -> bytes:
        return digest_of(self._asked({}))
