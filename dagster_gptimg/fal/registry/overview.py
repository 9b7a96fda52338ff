"""Descriptions of the registry's models for people: endpoints, price of one image, limits, inputs, end date."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen, MultipleOf
from pydantic import BaseModel

from dagster_gptimg.fal.registry.price_formulas import unit_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from dagster_gptimg.fal.registry.model import FalModel
    from dagster_gptimg.fal.registry.price_formulas import Price
    from dagster_gptimg.fal.types import Json

A_REFERENCE = "https://example.com/reference.png"
"""Placeholder for the reference image of an edit whose price is shown."""

A_SIZE = (1024, 1024)
"""Width and height in pixels of that image."""


class Overview(NamedTuple):
    """A summary of one model.

    Attributes:
        name: the model's name.
        endpoint: fal's full id of its endpoint.
        edit_endpoint: fal's full id of its endpoint for edits; None if it has none.
        price: minimum and maximum US dollars of one image with the endpoint's defaults; for an edit, from one image
            of 1024x1024.
        unit: what the price counts, in words.
        most_images: maximum `num_images` of one request.
        most_references: maximum reference images of an edit; 0 if it takes none, None if fal's pages do not say.
        prompt: `needed`, `optional` (it works on an image, and may have a prompt besides) or `none`.
        sunset: the day on which its maker ends it; None if no day is announced.
        successor: the model to move to then.
        source: the pages from which the entry was written.
        read: the day on which they were read.
        unverified: what fal's pages do not say, and what the entry assumes; empty if nothing is open.
    """

    name: str
    endpoint: str
    edit_endpoint: str | None
    price: Price
    unit: str
    most_images: int
    most_references: int | None
    prompt: str
    sunset: date | None
    successor: str | None
    source: tuple[str, ...]
    read: date | None
    unverified: str

    def as_json(self) -> dict[str, Any]:
        """Return the summary as JSON values; unknown dollars are null."""
        ends = [float(end) if self.price.is_known else None for end in self.price]
        found = self._asdict() | {"price_usd": {"low": ends[0], "high": ends[1]}, "source": list(self.source)}
        del found["price"]
        return found | {name: day.isoformat() for name in ("sunset", "read") if (day := found[name]) is not None}


class Input(NamedTuple):
    """One input of an endpoint.

    Attributes:
        name: fal's name of the input.
        values: the valid values, in words.
        default: fal's default at this entry's first release; None if there is none, or it is not known.
        is_required: whether each request must have it.
        description: fal's description.
    """

    name: str
    values: str
    default: Json
    is_required: bool
    description: str


def overview(model: FalModel) -> Overview:
    """Return the summary of one model."""
    defaults: dict[str, Json] = {name: [A_REFERENCE] if name.endswith("s") else A_REFERENCE for name in model.required}
    return Overview(
        model.name,
        model.endpoint,
        model.edit.endpoint if model.edit else None,
        model.cost(defaults, {A_REFERENCE: A_SIZE}),
        unit_of(model.price),
        model.max_images_per_request,
        model.most_references,
        "needed" if model.needs_prompt else "optional" if model.takes_prompt else "none",
        model.sunset,
        model.successor,
        model.source,
        model.read,
        model.unverified,
    )


def inputs_of(model: FalModel) -> list[Input]:
    """Return the inputs of this endpoint without those of its edits: required ones first, then by name."""
    needed = {*model.required, *(["prompt"] if model.needs_prompt else [])}
    found = [
        Input(
            name,
            _values(field.annotation, field.metadata),
            model.key_defaults.get(name),
            name in needed,
            field.description or "",
        )
        for name, field in model.inputs.model_fields.items()
    ]
    return sorted(found, key=lambda one: (not one.is_required, one.name))


def _values(kind: Any, rules: Iterable[object]) -> str:  # noqa: ANN401 - a type
    """Return the valid values of a type in words, with bounds."""
    origin = get_origin(kind)
    if origin in {Union, types.UnionType}:
        parts = [part for part in get_args(kind) if part is not type(None)]
        # The bounds apply to the other types only: an object has its own.
        return ", or ".join(_values(part, () if _is_object(part) else rules) for part in parts)
    if origin is Annotated:
        inner, *more = get_args(kind)
        return _values(inner, [*rules, *(rule for one in more for rule in getattr(one, "metadata", [one]))])
    if _is_object(kind):
        sides = ((name, _bounds(field.metadata)) for name, field in kind.model_fields.items())
        return " and ".join(f"{name} {bounds}".strip() for name, bounds in sides)
    return ", ".join(map(str, get_args(kind))) if origin is Literal else _plain(kind, rules)


def _plain(kind: Any, rules: Iterable[object]) -> str:  # noqa: ANN401 - a type
    if kind is str:
        return f"a text{_length(rules, 'character')}"
    if get_origin(kind) is list:
        return f"a list{_length(rules, 'item')}"
    words = {int: "a whole number", float: "a number", bool: "true or false"}.get(kind, "any value")
    return f"{words} {_bounds(rules)}".strip()


def _is_object(kind: Any) -> bool:  # noqa: ANN401 - a type
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _bounds(rules: Iterable[object]) -> str:
    """Return the range of a number in words, such as `0 to 20`."""
    rules = [*rules]
    least = next((rule.ge if isinstance(rule, Ge) else rule.gt for rule in rules if isinstance(rule, Ge | Gt)), None)
    most = next((rule.le if isinstance(rule, Le) else rule.lt for rule in rules if isinstance(rule, Le | Lt)), None)
    step = next((f"in steps of {rule.multiple_of}" for rule in rules if isinstance(rule, MultipleOf)), "")
    ends = [_number(end) for end in (least, most) if end is not None]
    words = " to ".join(ends) if least is not None else "".join(f"up to {end}" for end in ends)
    if most is None and ends:
        words = f"from {ends[0]} on"
    return " ".join(filter(None, (words, step)))


def _length(rules: Iterable[object], thing: str) -> str:
    rules = [*rules]
    least = next((rule.min_length for rule in rules if isinstance(rule, MinLen)), 1)
    most = next((rule.max_length for rule in rules if isinstance(rule, MaxLen)), None)
    if most is None:
        return f" of {thing}s" if thing == "item" else ""
    return f" of {_number(least)} to {_number(most)} {thing}s"


def _number(value: Any) -> str:  # noqa: ANN401 - a bound
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)
