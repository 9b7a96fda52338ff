"""A model's OpenAPI document, in the shape in which fal publishes one for each endpoint of its queue.

Read from documents that fal serves at `https://fal.ai/api/openapi/queue/openapi.json?endpoint_id=<id>` for other
models: the components' names, `x-fal-order-properties`, and that an optional input is told by its absence from
`required` and not as nullable. The paths have the full endpoint id there, although the queue itself answers under
`owner/app`.
"""

from __future__ import annotations

import re
from typing import Any

from dagster_gptimg.emulator.models.model import Model
from dagster_gptimg.emulator.models.schema import Field

_MASK = "The URL of the mask image to use for the generation. This indicates what part of the image to edit."
_DESCRIPTIONS = {
    "prompt": "The prompt for image generation",
    "image_urls": "The URLs of the images to use as a reference for the generation.",
    "image_size": "Aspect ratio for the generated image",
    "background": "Background for the generated image",
    "quality": "Quality for the generated image",
    "complexity": "How much detail the generated image has",
    "input_fidelity": "Input fidelity for the generated image",
    "mask_image_url": _MASK,
    "mask_url": _MASK,
    "num_images": "Number of images to generate",
    "output_format": "Output format for the images",
    "output_compression": "Compression level from 0 to 100. Only supported when output_format is 'jpeg' or 'webp'.",
    "aspect_ratio": "The aspect ratio of the generated image.",
    "resolution": "The resolution of the image to generate.",
    "seed": "The seed for the random number generator.",
    "safety_tolerance": "The safety tolerance level for content moderation. 1 is the most strict.",
    "limit_generations": "Experimental parameter to limit the number of generations from each round of prompting to 1.",
    "enable_web_search": "Enable web search for the image generation task.",
    "thinking_level": "When set, enables model thinking with the given level.",
    "max_images": "If set to a number greater than one, the model will potentially return up to `max_images` images "
    "every generation. In total, between `num_images` and `max_images*num_images` images are generated.",
    "enable_safety_checker": "If set to true, the safety checker will be enabled.",
    "guidance_scale": "How close you want the model to stick to your prompt.",
    "num_inference_steps": "The number of inference steps to perform.",
    "acceleration": "The acceleration level to use for the image generation.",
    "enable_prompt_expansion": "If set to true, the prompt will be expanded for better results.",
    "image_url": "The URL of the image to work on.",
    "negative_prompt": "What the image is not to show.",
    "upscale_factor": "The number by which width and height are multiplied.",
    "creativity": "How far the result may depart from the image: 0 not at all, 1 the most.",
    "resemblance": "How close the result is kept to the image: 0 not at all, 1 the most.",
    "model": "The variant of the model to use.",
    "operating_resolution": "The resolution at which the foreground is looked for. 2304x2304: General Use (Dynamic).",
    "output_mask": "Whether to return the mask, too.",
    "refine_foreground": "Whether to refine the foreground by the mask.",
    "mask_only": "Whether to return the mask instead of the image.",
    "crop_to_fill": "Whether to crop the image to the size of the result.",
    "subject_detection": "The part of the image that is enhanced.",
    "face_enhancement": "Whether to enhance faces.",
    "face_enhancement_creativity": "How far enhanced faces may depart from the image, from 0 to 1.",
    "face_enhancement_strength": "How strongly faces are enhanced, from 0 to 1.",
    "sharpen": "How much to sharpen, from 0 to 1; the model decides when it is not set.",
    "denoise": "How much noise to remove, from 0 to 1; the model decides when it is not set.",
    "fix_compression": "How much to remove of compression artifacts, from 0 to 1.",
    "strength": "How strongly to enhance, from 0.01 to 1. Text Refine only.",
    "sync_mode": "If `True`, the media will be returned as a data URI and the output data won't be available in the "
    "request history.",
}
_PROMPT = "A serene landscape with mountains reflecting in a crystal-clear lake at sunset, photorealistic style"
_TYPES: dict[object, str] = {str: "string", int: "integer", float: "number", bool: "boolean", list: "array"}


def document(model: Model, server: str) -> dict[str, Any]:
    """The document of one endpoint."""
    name, page = component(model.endpoint_id), f"{server}/models/{model.endpoint_id}"
    about = {
        "endpointId": model.endpoint_id,
        "category": model.category,
        "thumbnailUrl": "",
        "playgroundUrl": page,
        "documentationUrl": f"{page}/api",
    }
    return {
        "openapi": "3.0.4",
        "info": {
            "title": f"Queue OpenAPI for {model.endpoint_id}",
            "version": "1.0.0",
            "description": f"The OpenAPI schema for the {model.endpoint_id} queue.",
            "x-fal-metadata": about,
        },
        "components": {"securitySchemes": {"apiKeyAuth": _KEY}, "schemas": _schemas(model, name)},
        "paths": _paths(f"/{model.endpoint_id}", name),
        "servers": [{"url": server}],
        "security": [{"apiKeyAuth": []}],
    }


def component(endpoint_id: str) -> str:
    """`fal-ai/gpt-image-1.5/edit` -> `GptImage15Edit`, as fal names a model's components."""
    words = re.split(r"[-/]", endpoint_id.partition("/")[2].replace(".", ""))
    return "".join(word.capitalize() for word in words)


def _schemas(model: Model, name: str) -> dict[str, Any]:
    free = any(field.size is not None for field in model.inputs.values())
    inputs = {
        "title": f"{name}Request",
        "type": "object",
        "x-fal-order-properties": list(model.inputs),
        "properties": {input_: _property(input_, field) for input_, field in model.inputs.items()},
        "required": [input_ for input_, field in model.inputs.items() if field.required],
    }
    return {
        "QueueStatus": _QUEUE_STATUS,
        f"{name}Input": inputs,
        f"{name}Output": _output(model),
        _file(model): _image_file(model),
        **({"ImageSize": _IMAGE_SIZE} if free else {}),
    }


def _property(name: str, field: Field) -> dict[str, Any]:
    about: dict[str, Any] = {"title": name.replace("_", " ").title(), "description": _DESCRIPTIONS[name]}
    if name == "prompt":
        about["examples"] = [_PROMPT]
    if field.default is not None:
        about["default"] = field.default
    if field.size is not None:
        return {**about, "anyOf": [{"$ref": "#/components/schemas/ImageSize"}, _enum(field.size.presets)]}
    if field.choices:
        return {**about, **_enum(field.choices)}
    kind = {"type": _TYPES[field.kind], **_limits(field)}
    if field.kind in (int, float) and field.default is None and not field.required:
        return {**about, "anyOf": [kind, {"type": "null"}]}
    return {**about, **kind}


def _output(model: Model) -> dict[str, Any]:
    """The schema of a result, whose further fields are those of an example."""
    file = _ref(_file(model))
    more = {name: {"title": name.replace("_", " ").title(), **_shape(value)} for name, value in _example(model).items()}
    if not model.has_one_image:
        files = {"images": _described("array", "Images", "The generated images.", items=file)}
    else:
        titles = {"image": ("Image", "The resulting image."), "mask_image": ("Mask Image", "The mask, if asked for.")}
        names = model.files({"output_mask": "output_mask" in model.inputs})
        files = {name: {"title": titles[name][0], "description": titles[name][1], "allOf": [file]} for name in names}
    properties = {**files, **more}
    return {
        "title": "Output" if model.has_one_image else "ImageResponse",
        "type": "object",
        "x-fal-order-properties": list(properties),
        "properties": properties,
        "required": [name for name in properties if name != "mask_image"],
    }


def _example(model: Model) -> dict[str, Any]:
    return model.more({"prompt": ""}, 0, 1)


def _shape(value: object) -> dict[str, Any]:
    if isinstance(value, list):
        return {"type": "array", "items": _shape(value[0])}
    if isinstance(value, dict):
        return {"type": "object", "additionalProperties": {"type": "number"}}
    return {"type": _TYPES[type(value)]}


def _file(model: Model) -> str:
    """The component of a file: fal's `File` has no sides."""
    return "File" if model.left_out else "ImageFile"


def _image_file(model: Model) -> dict[str, Any]:
    kept = {name: about for name, about in _FILE_PROPERTIES.items() if name not in model.left_out}
    return {
        "title": _file(model),
        "type": "object",
        "x-fal-order-properties": list(kept),
        "properties": kept,
        "required": ["url"],
    }


def _enum(choices: tuple[str, ...]) -> dict[str, Any]:
    return {"type": "string", "enum": list(choices)}


def _limits(field: Field) -> dict[str, Any]:
    if field.kind is list:
        # fal prints no bounds for lists of these models; that a list may be too long is found out by sending it.
        return {"items": {"type": "string"}}
    names = ("minLength", "maxLength") if field.kind is str else ("minimum", "maximum")
    return {name: limit for name, limit in zip(names, (field.least, field.most), strict=True) if limit is not None}


def _paths(path: str, name: str) -> dict[str, Any]:
    one = f"{path}/requests/{{request_id}}"
    logs = {"type": "number", "description": "Whether to include logs (`1`) in the response or not (`0`)."}
    body = {"required": True, "content": _content(_ref(f"{name}Input"))}
    cancelled = {"success": {"type": "boolean", "description": "Whether the request was cancelled successfully."}}
    status = {
        "parameters": [_REQUEST_ID, {"name": "logs", "in": "query", "required": False, "schema": logs}],
        **_answers("The request status.", _ref("QueueStatus")),
    }
    cancel = _answers("The request was cancelled.", {"type": "object", "properties": cancelled})
    return {
        f"{one}/status": {"get": status},
        f"{one}/cancel": {"put": {"parameters": [_REQUEST_ID], **cancel}},
        path: {"post": {"requestBody": body, **_answers("The request status.", _ref("QueueStatus"))}},
        one: {"get": {"parameters": [_REQUEST_ID], **_answers("Result of the request.", _ref(f"{name}Output"))}},
    }


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _content(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _answers(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"responses": {"200": {"description": description, "content": _content(schema)}}}


def _described(kind: str, title: str, description: str, **more: object) -> dict[str, Any]:
    return {"type": kind, "title": title, "description": description, **more}


_KEY = {"type": "apiKey", "in": "header", "name": "Authorization", "description": "Fal Key"}
_REQUEST_ID = {
    "name": "request_id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "description": "Request ID"},
}
_QUEUE_STATUS = {
    "type": "object",
    "properties": {
        "status": _enum(("IN_QUEUE", "IN_PROGRESS", "COMPLETED")),
        "request_id": {"type": "string", "description": "The request id."},
        "response_url": {"type": "string", "description": "The response url."},
        "status_url": {"type": "string", "description": "The status url."},
        "cancel_url": {"type": "string", "description": "The cancel url."},
        "logs": {"type": "object", "description": "The logs.", "additionalProperties": True},
        "metrics": {"type": "object", "description": "The metrics.", "additionalProperties": True},
        "queue_position": {"type": "integer", "description": "The queue position."},
    },
    "required": ["status", "request_id"],
}
_FILE_PROPERTIES = {
    "url": _described("string", "Url", "The URL where the file can be downloaded from."),
    "content_type": _described("string", "Content Type", "The mime type of the file.", examples=["image/png"]),
    "file_name": _described("string", "File Name", "The name of the file. It will be auto-generated if not provided."),
    "file_size": _described("integer", "File Size", "The size of the file in bytes."),
    "file_data": _described("string", "File Data", "File data", format="binary"),
    "width": _described("integer", "Width", "The width of the image"),
    "height": _described("integer", "Height", "The height of the image"),
}
_IMAGE_SIZE = {
    "title": "ImageSize",
    "type": "object",
    "x-fal-order-properties": ["width", "height"],
    "properties": {
        side: _described(
            "integer",
            side.title(),
            f"The {side} of the generated image.",
            default=512,
            exclusiveMinimum=0,
            maximum=14142,
        )
        for side in ("width", "height")
    },
}
