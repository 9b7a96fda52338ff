"""The OpenAPI document of an endpoint, with everything in it that docs/fal-wire.md has of one."""

from __future__ import annotations

from typing import Any

_REF = "#/components/schemas/"


def document(endpoint: str) -> dict[str, Any]:
    """A small document; its field names are those of a model that makes images."""
    prompt = {"type": "string", "description": "what to draw", "minLength": 1, "maxLength": 32000}
    size = {"anyOf": [{"type": "string"}, {"$ref": f"{_REF}Size"}], "default": "auto"}
    properties = {
        "prompt": prompt,
        "num_images": {"type": "integer", "default": 1, "minimum": 1, "maximum": 4, "description": "how many"},
        "quality": {"type": "string", "enum": ["low", "high"], "default": "low"},
        "image_size": size,
        "sizes": {"type": "array", "items": {"$ref": f"{_REF}Size"}, "description": "more"},
        "style": {"allOf": [{"$ref": f"{_REF}Size"}], "description": "a style"},
        "seed": {"oneOf": [{"type": "integer"}, {"type": "string"}], "description": "a seed"},
    }
    file = {"title": "File", "type": "object", "required": ["url"], "properties": {"url": {"type": "string"}}}
    images = {"type": "array", "items": {"$ref": f"{_REF}File"}, "description": "the images"}
    schemas = {
        "Input": {"title": "Input", "type": "object", "required": ["prompt"], "properties": properties},
        "Output": {"title": "Output", "type": "object", "required": ["images"], "properties": {"images": images}},
        "Size": {"title": "Size", "type": "object", "properties": {"width": {"type": "integer", "maximum": 2048}}},
        "File": file,
    }
    body = {"content": {"application/json": {"schema": {"$ref": f"{_REF}Input"}}}}
    made = {"content": {"application/json": {"schema": {"$ref": f"{_REF}Output"}}}}
    return {
        "openapi": "3.0.4",
        "info": {"title": endpoint, "x-fal-metadata": {"endpointId": endpoint}},
        "paths": {
            f"/{endpoint}": {"post": {"requestBody": body}},
            f"/{endpoint}/requests/{{request_id}}": {"get": {"responses": {"200": made}}},
        },
        "components": {"schemas": schemas},
    }
