"""The registry's built-in models: names, endpoints, defaults and list prices. Their typed inputs are in `inputs.py`.

Prices are fal's list prices in US dollars, from each model's own page (`source`). fal can change them on any day: the
billed cost is read from fal's answers, and list prices are used for plans and budgets only.
"""

from __future__ import annotations

import difflib
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

from dagster_gptimg.argument_rules import check_arguments
from dagster_gptimg.errors import UsageError
from dagster_gptimg.fal.registry import inputs
from dagster_gptimg.fal.registry.model import FalModel
from dagster_gptimg.fal.registry.prices import PRESETS_2, PRESETS_25, TEN_THOUSANDTH, ByTable, ByTokens, unknown_price

if TYPE_CHECKING:
    from dagster_gptimg.fal.types import Json

DEFAULT_MODEL = "gpt-image-2.5-flare"
"""The model of a new dataset if the user names none."""
MODEL_BEFORE = "gpt-image-1-mini"
"""The model of a dataset that does not record its model: the default of earlier releases. Never changes."""

_REGISTRY: dict[str, FalModel] = {}


def register(model: FalModel) -> FalModel:
    """Add a model of your own (or a new one of fal's), to be used by its name or endpoint from then on.

    Args:
        model: the new one; it replaces one of the same name. Its edits are registered with it.

    Returns:
        the same model.

    Raises:
        UsageError: `model` is not a `FalModel`.
    """
    check_arguments(model=model)
    _REGISTRY[model.name] = model
    if model.edit is not None:
        _REGISTRY[model.edit.name] = model.edit
    return model


def get_model(name: str) -> FalModel:
    """A model by its name or its endpoint.

    Args:
        name: the model's name, as users type it, or fal's full id of its endpoint.

    Raises:
        UsageError: the registry has none of that name.
    """
    check_arguments(name=name)
    for model in _REGISTRY.values():
        if name in {model.name, model.endpoint}:
            return model
    near = difflib.get_close_matches(name, _REGISTRY, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    msg = f"there is no model {name!r} in the registry: {', '.join(sorted(_REGISTRY))}{hint}"
    raise UsageError(msg)


def model_at(endpoint: str, given: FalModel) -> FalModel:
    """Return the model of an endpoint: `given`, else one of the registry, else a model without inputs and price.

    Open requests of a dataset may belong to a model that its asset no longer uses, or that is no longer registered.
    """
    if endpoint in given.endpoints:
        return given
    known = (model for model in _REGISTRY.values() if model.endpoint == endpoint)
    return next(known, FalModel(endpoint, endpoint, inputs.Inputs, {}, unknown_price))


def all_models() -> list[FalModel]:
    """Return every model of the registry, edit models included, sorted by name."""
    return [_REGISTRY[name] for name in sorted(_REGISTRY)]


# -- fal's own

_MILLI = Decimal("0.001")
_DEPRECATIONS = "https://developers.openai.com/api/docs/deprecations"
_SUCCESSOR = "gpt-image-2.5-flare"
_READ = date(2026, 11, 23)
_READ_25 = date(2026, 10, 8)
_IMAGES = ("image_urls",)
_DEFAULTS: dict[str, Json] = {
    "image_size": "auto",
    "background": "auto",
    "quality": "auto",
    "num_images": 1,
    "output_format": "png",
    "sync_mode": False,
}


def _page(endpoint: str) -> str:
    return f"https://fal.ai/models/{endpoint}/llms.txt"


_MINI = ByTable(
    images={
        "low": ("0.005", "0.006", "0.006"),
        "medium": ("0.011", "0.015", "0.015"),
        "high": ("0.036", "0.052", "0.052"),
    },
    text=Decimal("0.002") * _MILLI,
    reference=Decimal("0.0025") * _MILLI,
)
register(
    FalModel(
        name="gpt-image-1-mini",
        endpoint="fal-ai/gpt-image-1-mini",
        inputs=inputs.TextToImage,
        key_defaults=_DEFAULTS,
        price=_MINI,
        sunset=date(2026, 12, 1),
        successor=_SUCCESSOR,
        source=(_page("fal-ai/gpt-image-1-mini"), _DEPRECATIONS),
        read=_READ,
        edit=FalModel(
            name="gpt-image-1-mini/edit",
            endpoint="fal-ai/gpt-image-1-mini/edit",
            inputs=inputs.Edit,
            required=_IMAGES,
            key_defaults=_DEFAULTS,
            price=_MINI,
            sunset=date(2026, 12, 1),
            successor=f"{_SUCCESSOR}/edit",
            source=(_page("fal-ai/gpt-image-1-mini/edit"), _DEPRECATIONS),
            read=_READ,
        ),
    )
)

_GPT_IMAGE_1 = ByTable(
    images={
        "low": ("0.011", "0.016", "0.016"),
        "medium": ("0.042", "0.063", "0.063"),
        "high": ("0.167", "0.25", "0.25"),
    },
    text=Decimal("0.002") * _MILLI,
    reference=Decimal("0.005") * _MILLI,
)
register(
    FalModel(
        name="gpt-image-1",
        endpoint="fal-ai/gpt-image-1/text-to-image",
        inputs=inputs.TextToImage,
        key_defaults=_DEFAULTS,
        price=_GPT_IMAGE_1,
        sunset=date(2026, 10, 23),
        successor=_SUCCESSOR,
        source=(_page("fal-ai/gpt-image-1/text-to-image"), _DEPRECATIONS),
        read=_READ,
        edit=FalModel(
            name="gpt-image-1/edit",
            endpoint="fal-ai/gpt-image-1/edit-image",
            inputs=inputs.Edit1,
            required=_IMAGES,
            key_defaults={**_DEFAULTS, "input_fidelity": "high"},
            price=replace(_GPT_IMAGE_1, fidelity="high"),
            sunset=date(2026, 10, 23),
            successor=f"{_SUCCESSOR}/edit",
            source=(_page("fal-ai/gpt-image-1/edit-image"), _DEPRECATIONS),
            read=_READ,
        ),
    )
)

_GPT_IMAGE_15 = ByTable(
    images={
        "low": ("0.009", "0.013", "0.013"),
        "medium": ("0.034", "0.051", "0.050"),
        "high": ("0.133", "0.200", "0.199"),
    },
    text=Decimal("0.005") * _MILLI,
    reference=Decimal("0.008") * _MILLI,
    reasoning=Decimal("0.010") * _MILLI,
    quality="high",
    image_size="1024x1024",
    rounded=False,
)
_DEFAULTS_15: dict[str, Json] = {**_DEFAULTS, "image_size": "1024x1024", "quality": "high"}
register(
    FalModel(
        name="gpt-image-1.5",
        endpoint="fal-ai/gpt-image-1.5",
        inputs=inputs.TextToImage15,
        key_defaults=_DEFAULTS_15,
        price=_GPT_IMAGE_15,
        sunset=date(2026, 12, 1),
        successor=_SUCCESSOR,
        source=(_page("fal-ai/gpt-image-1.5"), _DEPRECATIONS),
        read=_READ,
        edit=FalModel(
            name="gpt-image-1.5/edit",
            endpoint="fal-ai/gpt-image-1.5/edit",
            inputs=inputs.Edit15,
            required=_IMAGES,
            key_defaults={**_DEFAULTS_15, "image_size": "auto", "input_fidelity": "high"},
            price=replace(_GPT_IMAGE_15, image_size="auto", fidelity="high"),
            sunset=date(2026, 12, 1),
            successor=f"{_SUCCESSOR}/edit",
            source=(_page("fal-ai/gpt-image-1.5/edit"), _DEPRECATIONS),
            read=_READ,
        ),
    )
)

_DEFAULTS_2: dict[str, Json] = {
    "image_size": "landscape_4_3",
    "quality": "high",
    "num_images": 1,
    "output_format": "png",
    "sync_mode": False,
}
_GPT_IMAGE_2 = ByTokens(edges={"low": 16, "medium": 48, "high": 96}, presets=PRESETS_2)
register(
    FalModel(
        name="gpt-image-2",
        endpoint="openai/gpt-image-2",
        inputs=inputs.TextToImage2,
        key_defaults=_DEFAULTS_2,
        price=_GPT_IMAGE_2,
        source=(_page("openai/gpt-image-2"),),
        read=_READ,
        edit=FalModel(
            name="gpt-image-2/edit",
            endpoint="openai/gpt-image-2/edit",
            inputs=inputs.Edit2,
            required=_IMAGES,
            key_defaults={**_DEFAULTS_2, "image_size": "auto"},
            price=replace(_GPT_IMAGE_2, image_size="auto"),
            source=(_page("openai/gpt-image-2/edit"),),
            read=_READ,
        ),
    )
)

_DEFAULTS_25: dict[str, Json] = {**_DEFAULTS_2, "background": "auto"}
_GPT_IMAGE_25 = ByTokens(
    edges={"low": 16, "medium": 24, "high": 48, "xhigh": 64, "max": 96}, presets=PRESETS_25, step=TEN_THOUSANDTH
)


def _gpt_image_25(kind: str) -> FalModel:
    """Make the entry of Flare or Sunburst, which have the same inputs and prices; the path of edits is `.../edit`."""
    name, endpoint = f"gpt-image-2.5-{kind}", f"openai/gpt-image-2.5/{kind}"
    return FalModel(
        name=name,
        endpoint=f"{endpoint}/text-to-image",
        inputs=inputs.TextToImage25,
        key_defaults=_DEFAULTS_25,
        price=_GPT_IMAGE_25,
        max_images_per_request=10,
        source=(_page(f"{endpoint}/text-to-image"),),
        read=_READ_25,
        edit=FalModel(
            name=f"{name}/edit",
            endpoint=f"{endpoint}/edit",
            inputs=inputs.Edit25,
            required=_IMAGES,
            key_defaults={**_DEFAULTS_25, "image_size": "auto"},
            price=replace(_GPT_IMAGE_25, image_size="auto"),
            max_images_per_request=10,
            source=(_page(f"{endpoint}/edit"),),
            read=_READ_25,
        ),
    )


register(_gpt_image_25("flare"))
register(_gpt_image_25("sunburst"))
