"""The choice of a run's model: the one that the user names, else the dataset's, else the registry's default."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dagster_gptimg.base.plain_text import shown
from dagster_gptimg.errors import UsageError
from dagster_gptimg.fal.registry.builtin import DEFAULT_MODEL, MODEL_BEFORE, get_model

if TYPE_CHECKING:
    from dagster_gptimg.fal.registry.model import FalModel
    from dagster_gptimg.store.dataset import Dataset

THE_DEFAULT = "the default"
THE_DATASETS = "the dataset's model"


class Choice(NamedTuple):
    """A model, and why it was chosen.

    Attributes:
        why: `THE_DEFAULT` or `THE_DATASETS`; empty if the user named the model.
    """

    model: FalModel
    why: str


def choose(model: str | FalModel | None, dataset: Dataset | None = None) -> Choice:
    """Return the model that the user names, else the dataset's, else the registry's default. Blocks.

    A dataset's model is that of its first run, as recorded in `dataset.json`. A dataset without this record was begun
    by a release with another default, which it keeps, so that nothing is bought again.

    Args:
        model: a name or an endpoint of the registry, or a model; None if the user names none.
        dataset: None if it is not known yet.

    Raises:
        UsageError: the registry does not have the model (any more), or has the dataset's at another endpoint.
        StoreError: the store cannot be read.
    """
    if model is not None:
        return Choice(get_model(model) if isinstance(model, str) else model, "")
    if dataset is None or dataset.origin() is None:
        return Choice(get_model(DEFAULT_MODEL), THE_DEFAULT)
    return _recorded(dataset)


def check_choice(dataset: Dataset, model: FalModel) -> None:
    """Check that a default model is still the dataset's, now that the dataset is open.

    It is not if another run has just begun the dataset with a different model. Raises `UsageError`.
    """
    found = _recorded(dataset).model
    if (found.name, found.endpoint) != (model.name, model.endpoint):
        msg = (
            f"another run has just begun dataset {dataset.name!r} with {found.name}. Start this run again to use "
            "the same model, or name a model. Nothing was sent."
        )
        raise UsageError(msg)


def _recorded(dataset: Dataset) -> Choice:
    if dataset.first_model is None:
        return Choice(get_model(MODEL_BEFORE), THE_DATASETS)
    name, endpoint = dataset.first_model
    try:
        model = get_model(name)
    except UsageError:
        model = None
    if model is None or model.endpoint != endpoint:
        where = "does not have" if model is None else f"has at {model.endpoint}, not at {shown(endpoint, 200)}"
        msg = (
            f"the first run of dataset {dataset.name!r} was with the model {shown(name, 200)}, which the registry "
            f"{where}. Name the model (model=, or --model), or register it (docs/fal.md#endpoints-of-your-own). "
            "Nothing was sent."
        )
        raise UsageError(msg)
    return Choice(model, THE_DATASETS)
