"""What a model of the registry is: its endpoints, typed inputs, price, and the day on which it ends."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError

from dagster_gptimg.errors import ArgumentsError
from dagster_gptimg.fal.prices import Price, PriceFunction
from dagster_gptimg.fal.types import Json

REFERENCES = "image_urls"


@dataclass(frozen=True)
class FalModel:
    """One model of the registry.

    Attributes:
        name: what users type.
        endpoint: fal's full id.
        inputs: the typed inputs; their docstrings and descriptions are fal's words.
        key_defaults: fal's defaults at this entry's first release. Frozen for ever: arguments that equal them are left
            out of request keys, and changing one would buy everything again.
        price: US dollars of ONE request, from its arguments.
        max_images_per_request: fal's upper bound for `num_images`.
        edit: the same model's endpoint for edits, if there is one: it takes the rows that have reference images.
        mask: the input that holds a mask, on an endpoint for edits that takes one.
        sunset: the day on which its maker ends it, if that is announced. successor: what to move to.
        source: the pages that this entry was written from.
    """

    name: str
    endpoint: str
    inputs: type[BaseModel]
    key_defaults: Mapping[str, Json]
    price: PriceFunction = field(repr=False)
    max_images_per_request: int = 4
    edit: FalModel | None = None
    mask: str | None = None
    sunset: date | None = None
    successor: str | None = None
    source: tuple[str, ...] = ()

    @property
    def input_names(self) -> frozenset[str]:
        """The names of all inputs, the prompt and those of its edits among them."""
        own = frozenset(self.inputs.model_fields)
        return own | self.edit.input_names if self.edit else own

    @property
    def reference_inputs(self) -> tuple[str, ...]:
        """The inputs that hold images: references, and a mask. Empty when it takes none."""
        if self.edit is not None:
            return self.edit.reference_inputs
        names = (REFERENCES, self.mask)
        return tuple(name for name in names if name is not None and name in self.inputs.model_fields)

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The full ids of all its endpoints."""
        return (self.endpoint, *(self.edit.endpoints if self.edit else ()))

    def variant(self, arguments: Mapping[str, object]) -> FalModel:
        """The endpoint for these arguments: an input that only edits have makes it an edit."""
        return self.edit if self.edit is not None and arguments.keys() - self.inputs.model_fields.keys() else self

    def check(self, arguments: Mapping[str, object]) -> dict[str, Json]:
        """Arguments as they may be sent: only what was given, each in its one canonical form.

        Text from a table is taken for what it says (`"2"` is 2, `"True"` is true), without the blanks around it; values
        that mean "not given" (None, NaN, an empty or blank cell) are left out. Enums are case-sensitive, as fal's are.
        The prompt is never changed, and an empty one is an error.

        Raises:
            ArgumentsError: every wrong one, in fal's own field names.
        """
        given = {name: _plain(name, value) for name, value in arguments.items() if _is_given(name, value)}
        unknown = [(name, self._unknown(name)) for name in given if name not in self.input_names]
        known = {name: value for name, value in given.items() if name in self.input_names}
        inputs = self.variant(known).inputs
        try:
            checked = inputs.model_validate(known)
        except ValidationError as error:
            raise ArgumentsError(unknown + [self._problem(inputs, problem) for problem in error.errors()]) from error
        if unknown:
            raise ArgumentsError(unknown)
        return checked.model_dump(exclude_none=True)

    def demand_references(self, arguments: Mapping[str, Json]) -> None:
        """Make sure that an edit has what it edits. Raises `ArgumentsError`."""
        variant = self.variant(arguments)
        if REFERENCES in variant.inputs.model_fields and REFERENCES not in arguments:
            why = f"{variant.endpoint} edits images, and there is none: name at least one reference image"
            raise ArgumentsError([(REFERENCES, why)])

    def key_arguments(self, arguments: Mapping[str, Json]) -> dict[str, Json]:
        """The arguments of a request to this very endpoint, without those that equal its first defaults."""
        missing = object()
        return {name: value for name, value in arguments.items() if self.key_defaults.get(name, missing) != value}

    def cost(self, arguments: Mapping[str, Json]) -> Price:
        """What one request costs, in US dollars, at least and at most, at its endpoint's list price."""
        return self.variant(arguments).price(arguments)

    def latency_kind(self, arguments: Mapping[str, Json]) -> str:
        """Requests of one kind take about as long: those of one endpoint and quality."""
        variant = self.variant(arguments)
        return f"{variant.endpoint} {arguments.get('quality', variant.key_defaults.get('quality'))}"

    def expected_size(self, arguments: Mapping[str, Json]) -> tuple[int, int] | None:
        """The width and height in pixels that were asked for; None when the model chooses."""
        size = arguments.get("image_size", self.variant(arguments).key_defaults.get("image_size"))
        if isinstance(size, dict):
            return int(str(size["width"])), int(str(size["height"]))
        width, sign, height = str(size).partition("x")
        return (int(width), int(height)) if sign and width.isdigit() and height.isdigit() else None

    def _unknown(self, name: str) -> str:
        near = difflib.get_close_matches(name.strip().lower(), self.input_names, 1)
        hint = f"; did you mean {near[0]}?" if near else f"; it has {', '.join(sorted(self.input_names))}"
        return f"{self.name} has no such input{hint}"

    def _problem(self, inputs: type[BaseModel], problem: Any) -> tuple[str, str]:  # noqa: ANN401 - pydantic's own
        if not problem["loc"]:  # our own validator: "field: reason"
            name, _, reason = str(problem["ctx"]["error"]).partition(": ")
            return name, reason
        name = str(problem["loc"][0])
        choices = _choices(inputs, name)
        if choices and not isinstance(problem["input"], dict):
            near = difflib.get_close_matches(str(problem["input"]).lower(), choices, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            return name, f"{_shown(problem['input'])} is not one of {', '.join(choices)}{hint}"
        reason = problem["ctx"]["error"] if problem["type"] == "value_error" else str(problem["msg"]).lower()
        return name, f"{_shown(problem['input'])}: {reason}"


def is_missing(value: object) -> bool:
    """True for what means "not given" in a table: None, an empty or blank cell, and every library's NaN, NaT and NA."""
    if isinstance(value, str):
        return not value or value.isspace()
    if value is None:
        return True
    try:
        return bool(value != value)  # noqa: PLR0124 - true of NaN, NaT and Decimal("NaN"), and of nothing else
    except (TypeError, ArithmeticError):  # pandas.NA has no truth, and a signalling Decimal NaN no equal
        return True
    except ValueError:  # an array has many truths: it is a value
        return False


def _is_given(name: str, value: object) -> bool:
    """Whether an input was given. A blank prompt was: it is wrong, and must not be taken for none at all."""
    return not is_missing(value) or (name == "prompt" and isinstance(value, str))


def _plain(name: str, value: object) -> object:
    """Text without the blanks around it, but for the prompt; an integral float as the integer it came from."""
    if isinstance(value, str) and name != "prompt":
        return value.strip()
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _choices(inputs: type[BaseModel], name: str) -> list[str]:
    """The enum of an input; empty when it has none."""
    field_ = inputs.model_fields.get(name)
    for part in get_args(field_.annotation) if field_ else ():
        if get_origin(part) is Literal:
            return [str(choice) for choice in get_args(part)]
    return []


def _shown(value: object) -> str:
    """A wrong value, short enough for one line."""
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004 - a line's worth
