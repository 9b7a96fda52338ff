"""What the typed inputs of fal's image endpoints have in common; names, enums, ranges and descriptions are fal's own.

The inputs of one endpoint are a class in its maker's module (`openai.py`, ...): the "Schema" part of the endpoint's
page. No input is required here: an asset's arguments, a row's columns and a prompt are checked separately, and together
make a request. `num_images` counts a row's images: the engine splits it into requests of at most as many as the model
makes at once.
"""

from __future__ import annotations

import json
import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

MAX_ROW_IMAGES = 1000
MAX_PROMPT = 32_000
"""Maximum characters of a prompt.

fal documents none; this is OpenAI's, and a longer prompt may return as a billed 422.
"""
MAX_REFERENCES = 16
"""Maximum reference images of an edit.

fal documents it for gpt-image-2 and 2.5; for other models it is OpenAI's limit.
"""

WITHOUT_GUARANTEE = "without_guarantee"
"""Key of a validation's context: if true, inputs that would void the guarantee are accepted."""

_WHOLE = re.compile(r"[+-]?\d+(\.0+)?", re.ASCII)
_SIZE = re.compile(r"(\d{1,5})\s*x\s*(\d{1,5})", re.ASCII)


class Inputs(BaseModel):
    """Rules for all inputs, also for those that are read from fal's OpenAPI documents."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=False)

    @field_validator("num_images", mode="before", check_fields=False)
    @classmethod
    def _count(cls, value: object) -> object:
        return whole(value)

    @model_validator(mode="after")
    def _possible(self, info: ValidationInfo) -> Inputs:
        given = self.__dict__
        if given.get("sync_mode") and not (info.context or {}).get(WITHOUT_GUARANTEE):
            raise ValueError(
                "sync_mode: true keeps the image out of fal's history, so a request whose answer is lost could not be "
                "found again. Set without_guarantee to allow it"
            )
        if given.get("background") == "transparent" and given.get("output_format") == "jpeg":
            raise ValueError("output_format: jpeg has no transparency: use png or webp, or another background")
        if given.get("prompt") is not None and not given["prompt"].strip():
            raise ValueError("prompt: the prompt is empty")
        return self


class ImageInputs(Inputs):
    """Inputs that the endpoints of all built-in models have in common."""

    prompt: str | None = Field(None, description="The prompt for image generation", max_length=MAX_PROMPT)
    num_images: int | None = Field(None, description="Number of images to generate", ge=1, le=MAX_ROW_IMAGES)
    output_format: Literal["jpeg", "png", "webp"] | None = Field(None, description="Output format for the images")
    sync_mode: bool | None = Field(None, description="If true, the media is returned as a data URI")


class CellReaders(BaseModel):
    """Readers of cells for inputs that several makers have: a number, a word that is a number."""

    @field_validator("seed", "max_images", "num_inference_steps", mode="before", check_fields=False)
    @classmethod
    def _whole(cls, value: object) -> object:
        return whole(value)

    @field_validator("guidance_scale", mode="before", check_fields=False)
    @classmethod
    def _number(cls, value: object) -> object:
        return number(value)

    @field_validator("safety_tolerance", mode="before", check_fields=False)
    @classmethod
    def _digit(cls, value: object) -> object:
        """Accept a number of a spreadsheet; fal takes these as texts."""
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("image_size", mode="before", check_fields=False)
    @classmethod
    def _sides(cls, value: object) -> object:
        """Accept `1024x1536`, the notation of the older models, as width and height."""
        return pixels(value)


class References(BaseModel):
    """The reference images of an edit."""

    image_urls: list[str] | None = Field(
        None,
        description="The URLs of the images to use as a reference for the generation",
        min_length=1,
        max_length=MAX_REFERENCES,
    )

    @field_validator("image_urls", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        return references(value)


# -- cells of text tables, as values


def whole(value: object) -> object:
    """Refuse `true` and `1_0`, which pydantic would read as 1 and 10: such typing mistakes would be bought."""
    if isinstance(value, bool) or (isinstance(value, str) and not _WHOLE.fullmatch(value)):
        raise ValueError("this is not a whole number")
    return value


def number(value: object) -> object:
    """Refuse `true`, which pydantic would read as 1.0."""
    if isinstance(value, bool):
        raise ValueError("this is not a number")  # noqa: TRY004 - what pydantic collects
    return value


def listed(value: object) -> object:
    """Convert a cell to a list: the cell holds one item, or a JSON list of items."""
    if not isinstance(value, str):
        return value
    return _json(value, "list") if value.startswith("[") else [value]


def references(value: object) -> object:
    """Convert a cell to a list of references: the cell holds one reference, or a JSON list of them."""
    value = listed(value)
    if not isinstance(value, list | tuple):
        raise ValueError("this must be a reference, or a list of references")  # noqa: TRY004 - what pydantic collects
    for item in value:
        if not isinstance(item, str) or not item.strip():
            raise ValueError("every reference must be a text that is not empty")
    return [item.strip() for item in value]


def fields(value: object) -> object:
    """Convert a cell that holds a JSON object."""
    return _json(value, "object") if isinstance(value, str) and value.startswith("{") else value


def pixels(value: object) -> object:
    """Convert a cell that holds a JSON object, or `1024x1536`, the notation of the older models."""
    size = _SIZE.fullmatch(value) if isinstance(value, str) else None
    return {"width": int(size[1]), "height": int(size[2])} if size else fields(value)


def _json(text: str, kind: str) -> Any:  # noqa: ANN401 - what it is, is checked by who asks
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"this begins like a JSON {kind}, but is not valid JSON") from error
