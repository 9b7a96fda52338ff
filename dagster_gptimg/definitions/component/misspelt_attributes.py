"""Misspelt attributes of a component: the intended name is suggested when it loads, and by `dg check yaml`.

`dg check yaml` knows attributes by the JSON Schema only. So the schema has, for each name, a pattern of similar names,
for which it expects a constant sentence: this is the error message that `dg` prints beside the attribute's line.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args, get_origin

from pydantic import BaseModel, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from dagster_gptimg.argument_rules import unknown_words
from dagster_gptimg.options import OTHER_NAMES

SHORT = 3
"""Minimum letters of a name for patterns with one wrong letter."""

LONG = 5
"""Minimum letters of a name for patterns with two wrong adjacent letters."""
DEEPEST = 4
"""Maximum nesting of attributes; that of `partitions: {by_dimensions: {day: {by_date: ...}}}`."""


@dataclass(frozen=True)
class Known:
    """The attributes that a mapping may have.

    Attributes:
        names: each name, with the attributes of its value; None if the value has none, or may have any.
        items: the attributes of the values if the mapping's own keys may be any.
    """

    names: dict[str, "Known | None"] = field(default_factory=dict)
    items: "Known | None" = None


def known_of(annotation: Any, deepest: int = DEEPEST) -> Known | None:  # noqa: ANN401 - a type
    """Return the attributes that a value of this type may have, from all its models; None if it may have any."""
    if annotation is Any or not deepest:
        return None
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if annotation.model_config.get("extra") != "forbid":
            return None
        fields = annotation.model_fields.items()
        return Known({told.alias or name: known_of(told.annotation, deepest - 1) for name, told in fields})
    origin = get_origin(annotation) or annotation
    if isinstance(origin, type) and issubclass(origin, Mapping):
        items = known_of([Any, *get_args(annotation)][-1], deepest - 1)
        return None if items is None else Known({}, items)
    return None if isinstance(origin, type) and issubclass(origin, Collection) else _of_any(annotation, deepest)


def _of_any(annotation: Any, deepest: int) -> Known | None:  # noqa: ANN401 - a union
    """Return the attributes of a value that is of one of several types."""
    found = [known_of(inner, deepest) for inner in get_args(annotation) if _is_of_mappings(inner)]
    if not found or None in found:
        return None
    merged = Known()
    for one in filter(None, found):
        merged = Known({**merged.names, **one.names}, merged.items or one.items)
    return merged


def _is_of_mappings(annotation: Any) -> bool:  # noqa: ANN401 - a type
    """Return whether a value of this type may be a mapping."""
    origin = get_origin(annotation) or annotation
    if isinstance(origin, type):
        return issubclass(origin, BaseModel | Mapping)
    return origin is Any or any(map(_is_of_mappings, get_args(annotation)))


def hints(known: Known) -> dict[str, Any]:
    """Return a JSON Schema that suggests the intended name for names that look like a known attribute."""
    found: dict[str, Any] = {"patternProperties": _patterns(known.names)}
    inner = {name: hints(more) for name, more in known.names.items() if more is not None}
    if inner:
        found["properties"] = inner
    if known.items is not None:
        found["additionalProperties"] = hints(known.items)
    return found


def _patterns(names: Collection[str]) -> dict[str, dict[str, str]]:
    known = "|".join(map(re.escape, sorted(names)))
    return {
        f"^(?!(?:{known})$)(?:{'|'.join(looks)})$": {"const": f"did you mean {name}?"}
        for name in sorted(names)
        if (looks := [*_like(name), *(other for other, own in OTHER_NAMES.items() if own == name)])
    }


def _like(name: str) -> Iterator[str]:
    """Yield patterns of a name with a letter left out, added, changed, or two adjacent letters changed."""
    if len(name) >= LONG:
        yield from (f"{name[:at]}.{{0,3}}{name[at + 2 :]}" for at in range(len(name) - 1))
    elif len(name) >= SHORT:
        yield from (f"{name[:at]}.?{name[at + 1 :]}" for at in range(len(name)))
        yield from (f"{name[:at]}.{name[at:]}" for at in range(len(name) + 1))


def say_what_is_meant(schema: type[BaseModel]) -> None:
    """Make a component's model suggest the intended name for unknown attributes; rebuild the model afterwards.

    A wrong value is not shown, since the value of a misspelt attribute may be a key.
    """
    known = known_of(schema)
    if known is None:
        return
    more = schema.model_config.get("json_schema_extra")
    # In `allOf`: beside the properties, the patterns would change the message for other unknown names.
    schema.model_config["json_schema_extra"] = {**(more if isinstance(more, dict) else {}), "allOf": [hints(known)]}

    def refuse(value: Any) -> Any:  # noqa: ANN401 - YAML
        errors = list(_errors(value, known, ()))
        if errors:
            raise ValidationError.from_exception_data(schema.__name__, errors)
        return value

    def core(_: type[BaseModel], source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:  # noqa: ANN401 - pydantic's
        return core_schema.no_info_before_validator_function(refuse, handler(source))

    setattr(schema, "__get_pydantic_core_schema__", classmethod(core))  # noqa: B010 - pydantic's hook, of a made class


def _errors(value: Any, known: Known, path: tuple[str, ...]) -> Iterator[InitErrorDetails]:  # noqa: ANN401 - YAML
    for name, inner in value.items() if isinstance(value, Mapping) else ():
        at = (*path, str(name))
        if known.items is None and name not in known.names:
            whose = path[-1] if path else "this component"
            words = unknown_words(str(name), known.names, whose, "attribute")
            error = PydanticCustomError("no_such_attribute", "{words}", {"words": words})
            yield InitErrorDetails(type=error, loc=at, input=None)
        elif (more := known.names.get(name, known.items)) is not None:
            yield from _errors(inner, more, at)
