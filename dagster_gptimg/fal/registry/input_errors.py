"""Pydantic's errors of a model's inputs, as reasons for people."""

from __future__ import annotations

import difflib
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError

_NOT_A_CHOICE = frozenset({"literal_error", "model_type"})
"""Pydantic's error types for a value that is neither a choice of an enum nor the object that may replace it."""


def problems_of(inputs: type[BaseModel], error: ValidationError) -> list[tuple[str, str]]:
    """Return each wrong input once, with the reason: name and reason.

    For an object, these are the errors within it instead of "not one of the presets".
    """
    told: list[Any] = list(error.errors())
    within = {problem["loc"][:1] for problem in told if problem["type"] not in _NOT_A_CHOICE}
    kept = [p for p in told if p["type"] not in _NOT_A_CHOICE or p["loc"][:1] not in within]
    return list(dict.fromkeys(_problem(inputs, problem) for problem in kept))


def _problem(inputs: type[BaseModel], problem: Any) -> tuple[str, str]:  # noqa: ANN401 - pydantic's own
    if not problem["loc"]:  # our own validator: "field: reason"
        name, _, reason = str(problem["ctx"]["error"]).partition(": ")
        return name, reason
    name, *within = map(str, problem["loc"])
    choices = _choices(inputs, name)
    if choices and problem["type"] in _NOT_A_CHOICE:
        near = difflib.get_close_matches(str(problem["input"]).lower(), choices, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return name, f"{_shown(problem['input'])} is not one of {', '.join(choices)}{hint}"
    reason = problem["ctx"]["error"] if problem["type"] == "value_error" else str(problem["msg"]).lower()
    place = f"{within[-1]}: " if within and within[-1].isidentifier() else ""
    return name, f"{place}{_shown(problem['input'])}: {reason}"


def _choices(inputs: type[BaseModel], name: str) -> list[str]:
    """Return the choices of an input's enum; empty if it has none."""
    field_ = inputs.model_fields.get(name)
    for part in get_args(field_.annotation) if field_ else ():
        plain = get_args(part)[0] if get_origin(part) is Annotated else part
        if get_origin(plain) is Literal:
            return [str(choice) for choice in get_args(plain)]
    return []


def _shown(value: object) -> str:
    """Return a wrong value, shortened for one line of a message."""
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004 - a line's worth
