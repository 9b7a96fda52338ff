"""The registry of models; the entries are in the makers' modules, such as `openai.py`.

Prices are fal's list prices in US dollars, from each model's own page (`source`). fal can change them on any day: the
billed cost is read from fal's answers, and list prices are used for plans and budgets only.
"""

from __future__ import annotations

import difflib

from dagster_gptimg.argument_rules import check_arguments
from dagster_gptimg.errors import UsageError
from dagster_gptimg.fal.registry import (
    birefnet,
    black_forest_labs,
    bria,
    bytedance,
    clarity,
    google,
    inputs,
    openai,
    topaz,
)
from dagster_gptimg.fal.registry.model import FalModel
from dagster_gptimg.fal.registry.price_formulas import unknown_price

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


_MAKERS = (openai, google, bytedance, black_forest_labs, birefnet, bria, clarity, topaz)

for _model in (model for maker in _MAKERS for model in maker.MODELS):
    register(_model)
