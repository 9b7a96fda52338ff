"""Checks a request's inputs as fal's model servers do: with pydantic's rules (docs/fal-wire.md#model-error-types)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

N = TypeVar("N", int, float)
PYDANTIC_DOCS = "https://errors.pydantic.dev/2.10/v/"


@dataclass(frozen=True)
class Size:
    """A valid image size: a preset, or a width and a height within limits (pixels)."""

    presets: tuple[str, ...]
    step: int
    longest: int
    least: int
    most: int
    shortest: int = 1
    widest: int = 3
    """Maximum ratio of the longer side to the shorter one."""


@dataclass(frozen=True)
class Field:
    """One input: its kind, default and limits. `default=None` with `required` means that it must be given.

    `least` and `most` bound a number, or the length of a list of strings, or of a text.
    """

    kind: type[str | int | float | bool | list[str]]
    default: str | int | float | bool | None = None
    required: bool = False
    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    size: Size | None = None


Schema = Mapping[str, Field]


class _InvalidError(Exception):
    """A value that its field refuses: pydantic's error type, message and context."""

    def __init__(self, kind: str, msg: str, ctx: dict[str, Any] | None = None) -> None:
        super().__init__(msg)
        self.kind, self.msg, self.ctx = kind, msg, ctx


def check(schema: Schema, arguments: object) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The inputs with defaults filled in, and the error list (empty: valid). Unknown inputs are ignored, as by fal."""
    if not isinstance(arguments, dict):
        error = _InvalidError(
            "model_attributes_type", "Input should be a valid dictionary or object to extract fields from"
        )
        return {}, [_told(["body"], error, arguments)]
    inputs: dict[str, Any] = {}
    errors: list[dict[str, Any]] = []
    for name, field in schema.items():
        try:
            inputs[name] = _value(field, name, arguments)
        except _InvalidError as error:
            errors.append(_told(["body", name], error, arguments.get(name, arguments)))
    return inputs, errors


def _told(loc: list[str], error: _InvalidError, given: object) -> dict[str, Any]:
    entry = {"type": error.kind, "loc": loc, "msg": error.msg, "input": given}
    return {**entry, **({"ctx": error.ctx} if error.ctx else {}), "url": PYDANTIC_DOCS + error.kind}


def _value(field: Field, name: str, arguments: dict[str, Any]) -> Any:  # noqa: ANN401 - as many kinds as fields have
    if name not in arguments:
        if field.required:
            raise _InvalidError("missing", "Field required")
        return field.default
    given = arguments[name]
    if given is None and field.default is None and not field.required:
        return None
    if field.size is not None:
        return _size(field.size, given)
    return {bool: _whether, int: _number, float: _any_number, list: _list}.get(field.kind, _text)(field, given)


def _whether(_: Field, given: object) -> bool:
    return _boolean(given)


def _number(field: Field, given: object) -> int:
    return _within(field, _integer(given))


def _any_number(field: Field, given: object) -> float:
    if isinstance(given, bool) or not isinstance(given, (int, float, str)):
        raise _InvalidError("float_type", "Input should be a valid number")
    try:
        number = float(given)
    except (ValueError, OverflowError):
        message = "Input should be a valid number, unable to parse string as a number"
        raise _InvalidError("float_parsing", message) from None
    _within(field, number)
    return number


def _text(field: Field, given: object) -> str:
    if field.choices:
        if given in field.choices:
            return str(given)
        expected = " or ".join([", ".join(f"'{choice}'" for choice in field.choices[:-1]), f"'{field.choices[-1]}'"])
        raise _InvalidError("literal_error", f"Input should be {expected}", {"expected": expected})
    if not isinstance(given, str):
        raise _InvalidError("string_type", "Input should be a valid string")
    if field.least is not None and len(given) < field.least:
        message = f"String should have at least {field.least} character"
        raise _InvalidError("string_too_short", message, {"min_length": field.least})
    if field.most is not None and len(given) > field.most:
        message = f"String should have at most {field.most} characters"
        raise _InvalidError("string_too_long", message, {"max_length": field.most})
    return given


def _list(field: Field, given: object) -> list[str]:
    if not isinstance(given, list):
        raise _InvalidError("list_type", "Input should be a valid list")
    if not all(isinstance(item, str) for item in given):
        raise _InvalidError("string_type", "Input should be a valid string")
    if field.least is not None and len(given) < field.least:
        raise _InvalidError("too_short", f"List should have at least {field.least} item", {"min_length": field.least})
    if field.most is not None and len(given) > field.most:
        raise _InvalidError("too_long", f"List should have at most {field.most} items", {"max_length": field.most})
    return given


def _size(size: Size, given: object) -> str | dict[str, int]:
    if isinstance(given, str):
        return _text(Field(str, choices=size.presets), given)
    if not isinstance(given, dict) or set(given) != {"width", "height"}:
        raise _InvalidError("model_type", "Input should be a preset, or width and height")
    width, height = _integer(given["width"]), _integer(given["height"])
    for side in (width, height):
        if side % size.step:
            raise _InvalidError("multiple_of", f"Input should be a multiple of {size.step}", {"multiple_of": size.step})
        _within(Field(int, least=max(size.shortest, size.step), most=size.longest), side)
    if max(width, height) > size.widest * min(width, height) or not size.least <= width * height <= size.most:
        raise _InvalidError("value_error", "Image size is out of the supported range")
    return {"width": width, "height": height}


def _integer(given: object) -> int:
    if isinstance(given, bool) or not isinstance(given, (int, float, str)):
        raise _InvalidError("int_type", "Input should be a valid integer")
    try:
        number = float(given)
    except (ValueError, OverflowError):
        message = "Input should be a valid integer, unable to parse string as an integer"
        raise _InvalidError("int_parsing", message) from None
    if not number.is_integer():
        raise _InvalidError("int_from_float", "Input should be a valid integer, got a number with a fractional part")
    return int(number)


def _within(field: Field, number: N) -> N:
    if field.least is not None and number < field.least:
        message = f"Input should be greater than or equal to {field.least}"
        raise _InvalidError("greater_than_equal", message, {"ge": field.least})
    if field.most is not None and number > field.most:
        raise _InvalidError(
            "less_than_equal", f"Input should be less than or equal to {field.most}", {"le": field.most}
        )
    return number


def _boolean(given: object) -> bool:
    words = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
    if isinstance(given, bool):
        return given
    if str(given).lower() in words:
        return words[str(given).lower()]
    raise _InvalidError("bool_parsing", "Input should be a valid boolean, unable to interpret input")
