"""Request keys: what makes two requests the same purchase. `tests/fixtures/keys.jsonl` holds them for ever."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import rfc8785

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagster_gptimg.fal.models import FalModel
    from dagster_gptimg.fal.types import Json

RECIPE = 1
"""The version of this recipe. Changing it would move every key, and buy everything again: it never changes."""


def cut(images: int, most: int) -> list[int]:
    """How a row's images are cut into requests: `most`, `most`, ..., rest, for ever."""
    full, rest = divmod(images, most)
    return [most] * full + [rest] * (rest > 0)


def content_of(model: FalModel, arguments: Mapping[str, Json]) -> bytes:
    """The RFC 8785 JSON of what a request asks for, without arguments that equal the model's first defaults."""
    asked: dict[str, Any] = {"endpoint": model.endpoint, "recipe": RECIPE}
    asked["arguments"] = model.key_arguments(arguments)
    return rfc8785.dumps(asked)


def request_key(content: bytes, copy: int) -> str:
    """SHA-256, in hex, of `content_of` and the copy number.

    Equal requests of one partition are told apart by the copy number, counted from 0 in table order.
    """
    return hashlib.sha256(b"%s#%d" % (content, copy)).hexdigest()
