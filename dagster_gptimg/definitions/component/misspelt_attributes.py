"""Misspelt attributes of a component: what is meant is said when it loads, and by `dg check yaml`.

`dg check yaml` knows an attribute by the JSON Schema only. There each name has a pattern of what looks like it, for
which the schema expects a sentence: the words of the error that `dg` prints beside the attribute's line.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args, get_origin

from pydantic import BaseModel, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from dagster_gptimg.options import OTHER_NAMES, unknown_words

SHORT, LONG = 3, 5
"""Letters that a name has at least, for patterns of one wrong letter, and of two side by side."""

DEEPEST = 4
"""Attributes of attributes that are looked at; `partitions: {by_dimensions: {day: {by_date: ...}}}` goes as deep."""


@dataclass(frozen=True)
class Known:
    """The attributes that a mapping may have.

    Attributes:
        names: each one, with what is known of its own attributes; None where it has none, or may have any.
        items: what is known of the values, where the mapping's own keys may be any.
    """

    names: dict[str, "Known | None"] = field(default_factory=dict)
    items: "Known | None" = None


def known_of(annotation: Any, deepest: int = DEEPEST) -> Known | None:  # noqa: ANN401 - a type
    """What attributes a value of this type may have, whichever of its models it is; None where it may have any."""
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
    """What attributes a value may have that is of one of several types."""
    found = [known_of(inner, deepest) for inner in get_args(annotation) if _is_of_mappings(inner)]
    if not found or None in found:
        return None
    merged = Known()
    for one in filter(None, found):
        merged = Known({**merged.names, **one.names}, merged.items or one.items)
    return merged


def _is_of_mappings(annotation: Any) -> bool:  # noqa: ANN401 - a type
    """Whether a value of this type may be a mapping."""
    origin = get_origin(annotation) or annotation
    if isinstance(origin, type):
        return issubclass(origin, BaseModel | Mapping)
    return origin is Any or any(map(_is_of_mappings, get_args(annotation)))


def hints(known: Known) -> dict[str, Any]:
    """JSON Schema that says of what looks like a known attribute, and is none, which one is meant."""
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
    """Patterns of a name with a letter left out, added, changed, or changed for the next one."""
    if len(name) >= LONG:
        yield from (f"{name[:at]}.{{0,3}}{name[at + 2 :]}" for at in range(len(name) - 1))
    elif len(name) >= SHORT:
        yield from (f"{name[:at]}.?{name[at + 1 :]}" for at in range(len(name)))
        yield from (f"{name[:at]}.{name[at:]}" for at in range(len(name) + 1))


def say_what_is_meant(schema: type[BaseModel]) -> None:
    """Have a component's model refuse what is no attribute with the one that is meant; rebuild the model after it.

    A wrong value is not shown: what is misspelt may be a key.
    """
    known = known_of(schema)
    if known is None:
        return
    more = schema.model_config.get("json_schema_extra")
    # `allOf`: beside the properties themselves, the patterns would change the words for what looks like none of them.
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
