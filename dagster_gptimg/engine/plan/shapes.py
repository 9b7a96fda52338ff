"""What rows with the same arguments share: the split into requests, their prices, and what computes their keys."""

from __future__ import annotations

import json
from functools import cached_property
from typing import TYPE_CHECKING

from dagster_gptimg.engine.plan.request_keys import cut, keys_of, request_key
from dagster_gptimg.fal.registry.price_formulas import images_of, price_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dagster_gptimg.fal.registry.model import FalModel
    from dagster_gptimg.fal.registry.price_formulas import Price, Size
    from dagster_gptimg.fal.types import Json

_json = json.JSONEncoder(ensure_ascii=False).encode  # `json.dumps` would make an encoder for each row


class Shape:
    """The values that rows with the same arguments share.

    Attributes:
        endpoint: fal's full id.
        images: the maximum number of images of each request of such a row.
    """

    def __init__(self, model: FalModel, arguments: Mapping[str, Json]) -> None:
        """Compute the values. How many images come is always set explicitly, so that it is on record.

        `max_images` is set only where an endpoint has another default than 1: there a row would buy more images than it
        asks for.
        """
        variant = model.variant(arguments)
        self.endpoint, self._model, self._price = variant.endpoint, model, variant.price
        given = dict(arguments)
        if variant.key_defaults.get("max_images", 1) != 1:
            given.setdefault("max_images", 1)
        self._cut: list[dict[str, Json]] = [given]
        if "num_images" in variant.inputs.model_fields:
            counts = cut(_images(arguments), variant.max_images_per_request)
            self._cut = [{**given, "num_images": count} for count in counts]
        self.images = [images_of(part).high for part in self._cut]
        self._keys = [keys_of(model, part, 0) for part in self._cut]

    def parts(self, prompt: str) -> list[dict[str, Json]]:
        """Return the arguments of each request of a row with this prompt; without one if it is empty."""
        return [{"prompt": prompt, **part} if prompt else dict(part) for part in self._cut]

    def argument_text(self, prompt: str) -> str:
        """Return the arguments of the only request of a row with this prompt, as JSON; as `json.dumps` writes them."""
        if not prompt or "prompt" in self._cut[0]:
            return _json(self.parts(prompt)[0])
        return f'{{"prompt": {_json(prompt)}{self._rest}'

    @cached_property
    def _rest(self) -> str:
        """What follows the prompt in the JSON of a request's arguments."""
        return f", {_json(self._cut[0])[1:]}" if self._cut[0] else "}"

    def prices(self, prompt: str, sizes: Mapping[str, Size]) -> list[Price]:
        """Return the cost of each request of a row with this prompt, in US dollars.

        `sizes`: of its reference images, by their text in the arguments.
        """
        return [price_of(self._price, part, sizes) for part in self.parts(prompt)]

    def keys(self, prompts: Sequence[str]) -> list[bytes]:
        """Return, for each prompt, the concatenated keys of the first row with this prompt."""
        found = [keys.digests(prompts) for keys in self._keys]
        return found[0] if len(found) == 1 else [b"".join(row) for row in zip(*found, strict=True)]

    def keys_of_copies(self, prompt: str, copies: Sequence[int], take: int = 0) -> bytes:
        """Return the concatenated keys of a row's requests; `copies` has the copy number of each; `take`: its take."""
        parts = zip(self.parts(prompt), copies, strict=True)
        return bytes.fromhex("".join(request_key(self._model, part, copy, take) for part, copy in parts))


def _images(arguments: Mapping[str, Json]) -> int:
    count = arguments.get("num_images", 1)
    return count if isinstance(count, int) else 1
