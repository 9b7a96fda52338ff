"""Typed inputs from fal's OpenAPI document of an endpoint: for endpoints that the registry does not know.

fal has a document for each endpoint: `GET /v1/models?endpoint_id=...&expand=openapi-3.0` on its platform API, and
https://fal.ai/api/openapi/queue/openapi.json?endpoint_id=... (both free and public). Supported is the JSON Schema that
fal writes: `$ref`, `allOf`, `anyOf` with null, enums, ranges, defaults.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias, Union

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model

from dagster_gptimg.base.plain_text import words_of
from dagster_gptimg.errors import UsageError
from dagster_gptimg.fal.registry import inputs
from dagster_gptimg.fal.registry.inputs import MAX_ROW_IMAGES, Inputs
from dagster_gptimg.fal.registry.model import holds_images
from dagster_gptimg.fal.types import Json

DEEPEST = 8
"""Maximum nesting of objects; an input nested deeper is not typed."""

_BOUNDS = {
    "minimum": "ge",
    "maximum": "le",
    "exclusiveMinimum": "gt",
    "exclusiveMaximum": "lt",
    "multipleOf": "multiple_of",
    "minLength": "min_length",
    "maxLength": "max_length",
    "minItems": "min_length",
    "maxItems": "max_length",
}
Schema: TypeAlias = dict[str, Any]


class Endpoint(NamedTuple):
    """The content of an endpoint's document.

    Attributes:
        endpoint: its full id.
        inputs: its typed inputs.
        defaults: of the inputs that have one.
        required: the inputs without which fal refuses a request, except the prompt.
        needs_prompt: whether a request must have a prompt; False for an endpoint that works on an image alone.
        most_images: the largest `num_images` of one request; 1 if the document names none.
    """

    endpoint: str
    inputs: type[BaseModel]
    defaults: dict[str, Json]
    required: tuple[str, ...]
    needs_prompt: bool
    most_images: int


MOST_STEPS = 20_000
"""Maximum references that are followed: fal's documents have a few dozen, and a cycle would have no end."""


def read_endpoint(document: Mapping[str, Any] | str) -> Endpoint:
    """Read a document: a mapping or its JSON; also the whole entry of `GET /v1/models` that contains the document.

    Raises:
        UsageError: this is not such a document; the endpoint takes neither prompt nor image, or returns no image.
    """
    try:
        return _endpoint(json.loads(document) if isinstance(document, str) else document)
    except UsageError:
        raise
    except Exception as error:  # the document is from outside, and pydantic has no bound on what it raises of it
        msg = f"this is not an OpenAPI document of the kind that fal writes: {type(error).__name__}: {words_of(error)}"
        raise UsageError(msg) from error


def _endpoint(document: Mapping[str, Any]) -> Endpoint:
    entry = document
    document = entry.get("openapi", entry) if "endpoint_id" in entry else entry
    reader = _Reader(document)
    path, schema = reader.submit()
    about = document.get("info", {}).get("x-fal-metadata", {})
    endpoint = str(about.get("endpointId") or entry.get("endpoint_id") or path.strip("/"))
    properties = {name: reader.flat(part) for name, part in schema["properties"].items()}
    if not reader.gives_images():
        raise UsageError(f"{endpoint} returns neither `images` nor an `image`, so its results cannot be collected")
    defaults = {name: part["default"] for name, part in properties.items() if part.get("default") is not None}
    needed = tuple(name for name in schema.get("required", ()) if name != "prompt" and name not in defaults)
    works_on_image = any(holds_images(name) for name in needed)
    if "prompt" not in properties and not works_on_image:
        raise UsageError(f"{endpoint} takes neither a prompt nor an image that must be given: a table cannot use it")
    needs_prompt = "prompt" in schema.get("required", ()) or not works_on_image
    most = int(properties.get("num_images", {}).get("maximum", 1))
    if most < 1:
        raise UsageError(f"the document of {endpoint} allows at most {most} images a request: it cannot be used")
    made = reader.inputs(endpoint, properties)
    return Endpoint(endpoint, made, defaults, needed, needs_prompt, min(most, MAX_ROW_IMAGES))


class _Reader:
    """Reader of one document's schemas."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document, self._steps = document, 0

    def submit(self) -> tuple[str, Schema]:
        """Return the path that requests are posted to, and the schema of their body."""
        posts = [(path, at["post"]) for path, at in self._document["paths"].items() if "post" in at]
        [(path, post)] = posts
        return path, self.flat(post["requestBody"]["content"]["application/json"]["schema"])

    def gives_images(self) -> bool:
        """Return whether the results have `images` or an `image`; True if the document does not say."""
        for path, at in self._document["paths"].items():
            if path.endswith("/requests/{request_id}") and "get" in at:
                content = at["get"]["responses"]["200"].get("content", {}).get("application/json")
                found = {} if content is None else self.flat(content["schema"]).get("properties", {})
                return content is None or not found.keys().isdisjoint(("images", "image"))
        return True

    def inputs(self, name: str, properties: Mapping[str, Schema]) -> type[BaseModel]:
        """Return the typed inputs.

        None is required here: missing inputs are reported once a row's inputs are complete.
        """
        found: dict[str, Any] = {}
        for field, schema in properties.items():
            about = Field(None, description=str(schema.get("description", "")) or None)
            found[field] = (self._input(field, schema) | None, about)
        return _model(name, Inputs, found)

    def _input(self, name: str, schema: Schema) -> Any:  # noqa: ANN401 - a type
        if name == "num_images":  # of a row, which is cut into requests
            return Annotated[int, Field(ge=1, le=MAX_ROW_IMAGES)]
        kind = self.type(schema)
        if schema.get("type") == "array" and name.endswith("image_urls"):
            return Annotated[kind, BeforeValidator(inputs.references)]
        return kind

    def flat(self, schema: Schema) -> Schema:
        """Return a schema with its references resolved, and without `null` among its choices."""
        for _ in range(DEEPEST):
            self._steps += 1
            if self._steps > MOST_STEPS:
                raise ValueError("its schemas refer to one another in a cycle")
            choices = _choices(schema)
            alone = choices if len(choices) == 1 else []
            parts = [*alone, *schema.get("allOf", ()), *([self._at(schema["$ref"])] if "$ref" in schema else ())]
            if not parts:
                return schema
            done = {"$ref", "allOf", *(("anyOf", "oneOf") if alone else ())}
            rest = {key: value for key, value in schema.items() if key not in done}
            schema = {key: value for part in [*map(self.flat, parts), rest] for key, value in part.items()}
        return schema

    def _at(self, reference: str) -> Schema:
        found: Any = self._document
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]
        return dict(found)

    def type(self, schema: Schema, depth: int = 0) -> Any:  # noqa: ANN401 - a type
        """Return the Python type of a value with this schema."""
        schema = self.flat(schema)
        kind, choices = str(schema.get("type")), _choices(schema)
        if depth > DEEPEST:
            return Any
        if choices:
            return Union[tuple(self.type(part, depth + 1) for part in choices)]  # noqa: UP007 - of a list
        if "enum" in schema:
            return _one_of(schema["enum"]) if schema["enum"] else Any
        if kind == "object":
            return self._object(schema, depth)
        plain, read = _PLAIN.get(kind, (Any, _as_it_is))
        if kind == "array":
            plain, read = list[self.type(schema.get("items", {}), depth + 1)], inputs.listed  # type: ignore[misc]
        return Annotated[plain, Field(**_bounds(schema)), BeforeValidator(read)]

    def _object(self, schema: Schema, depth: int) -> Any:  # noqa: ANN401 - a type
        properties: Mapping[str, Schema] = schema.get("properties", {})
        if not properties:
            return Annotated[dict[str, Any], BeforeValidator(inputs.fields)]
        required = set(schema.get("required", ()))
        found: dict[str, Any] = {}
        for name, part in properties.items():
            kind = self.type(part, depth + 1)
            found[name] = (kind, ...) if name in required else (kind | None, None)
        read = inputs.pixels if {"width", "height"} <= properties.keys() else inputs.fields
        return Annotated[_model(str(schema.get("title", "object")), _Object, found), BeforeValidator(read)]


class _Object(BaseModel):
    """An input that is an object."""

    model_config = ConfigDict(extra="forbid")


def _choices(schema: Schema) -> list[Schema]:
    """Return the choices of a value, without null: an input that is not given is left out."""
    return [part for part in (schema.get("anyOf") or schema.get("oneOf") or ()) if part.get("type") != "null"]


def _model(name: str, base: type[BaseModel], found: dict[str, Any]) -> type[BaseModel]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an input may have the name of a method of pydantic's; it works all the same
        return create_model(name, __base__=base, **found)


def _one_of(values: list[Any]) -> Any:  # noqa: ANN401 - a type
    """Return an enum's type; a text cell may hold the text form of a number in it."""
    kept = tuple(value for value in values if value is not None)
    by_text = {str(value): value for value in kept if not isinstance(value, str)}

    def said(value: object) -> object:
        return by_text.get(value, value) if isinstance(value, str) else value

    return Annotated[Literal[kept], BeforeValidator(said)] if by_text else Literal[kept]


def _bounds(schema: Schema) -> dict[str, Any]:
    """Return the ranges for pydantic. OpenAPI 3.0 also writes an exclusive bound as a flag beside the plain bound."""
    found = {_BOUNDS[key]: value for key, value in schema.items() if key in _BOUNDS and not isinstance(value, bool)}
    for flag, plain, exclusive in (("exclusiveMinimum", "ge", "gt"), ("exclusiveMaximum", "le", "lt")):
        if schema.get(flag) is True and plain in found:
            found[exclusive] = found.pop(plain)
    return found


def _as_it_is(value: object) -> object:
    return value


_PLAIN: dict[str, tuple[Any, Callable[[object], object]]] = {
    "string": (str, _as_it_is),
    "integer": (int, inputs.whole),
    "number": (float, inputs.number),
    "boolean": (bool, _as_it_is),
}
