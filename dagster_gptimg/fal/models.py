"""The model registry: the only place that knows a model's name, inputs and price.

Prices are fal's list prices in US dollars, from each model's own page (`source`); fal can change them at any day, so
what was billed is read from its answers, and these are for planning and for budgets.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_CEILING, Decimal
from typing import Any, Literal, NamedTuple, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from dagster_gptimg.errors import ArgumentsError, UsageError
from dagster_gptimg.fal.types import Json

CENT = Decimal("0.01")
MAX_ROW_IMAGES = 1000
_WHOLE = re.compile(r"[+-]?\d+(\.0+)?", re.ASCII)
MAX_PROMPT = 32_000
"""Characters. fal prints no limit; this is OpenAI's, and a longer prompt may come back as a billed 422."""


class Price(NamedTuple):
    """What one request costs in US dollars: at least `low`, at most `high`; equal when all that counts is said."""

    low: Decimal
    high: Decimal


class TextToImage(BaseModel):
    """The inputs of `fal-ai/gpt-image-1-mini`, in fal's names (the model's page, "Schema").

    `num_images` is a row's number: the engine cuts it into requests of at most `max_images_per_request`.
    """

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=False)

    prompt: str | None = Field(None, description="The prompt for image generation", max_length=MAX_PROMPT)
    image_size: Literal["auto", "1024x1024", "1536x1024", "1024x1536"] | None = Field(
        None, description="Aspect ratio for the generated image"
    )
    background: Literal["auto", "transparent", "opaque"] | None = Field(
        None, description="Background for the generated image"
    )
    quality: Literal["auto", "low", "medium", "high"] | None = Field(
        None, description="Quality for the generated image"
    )
    num_images: int | None = Field(None, description="Number of images to generate", ge=1, le=MAX_ROW_IMAGES)
    output_format: Literal["jpeg", "png", "webp"] | None = Field(None, description="Output format for the images")
    sync_mode: bool | None = Field(None, description="If true, the media is returned as a data URI")

    @field_validator("num_images", mode="before")
    @classmethod
    def _whole(cls, value: object) -> object:
        """Pydantic would read `true` as 1 and `1_0` as 10: each is a typing mistake, and would be bought."""
        if isinstance(value, bool) or (isinstance(value, str) and not _WHOLE.fullmatch(value)):
            raise ValueError("it is not a whole number")
        return value

    @model_validator(mode="after")
    def _possible(self) -> TextToImage:
        if self.sync_mode:
            raise ValueError(
                "sync_mode: true keeps the image out of fal's history, so a lost answer could not be healed"
            )
        if self.background == "transparent" and self.output_format == "jpeg":
            raise ValueError("output_format: jpeg has no transparency: use png or webp, or another background")
        if self.prompt is not None and not self.prompt.strip():
            raise ValueError("prompt: it is empty")
        return self


@dataclass(frozen=True)
class FalModel:
    """One model of the registry.

    Attributes:
        name: what users type.
        endpoint: fal's full id for text-to-image. edit_endpoint: the one for edits, if there is one.
        inputs: the typed inputs; their docstrings and descriptions are fal's words.
        key_defaults: fal's defaults at this entry's first release. Frozen for ever: arguments that equal them are left
            out of request keys, and changing one would buy everything again.
        price: US dollars of ONE request, from its arguments.
        max_images_per_request: fal's upper bound for `num_images`.
        sunset: the day on which its maker ends it, if that is announced. successor: what to move to.
        source: the pages that this entry was written from.
    """

    name: str
    endpoint: str
    inputs: type[BaseModel]
    key_defaults: Mapping[str, Json]
    price: Callable[[Mapping[str, Json]], Price] = field(repr=False)
    max_images_per_request: int = 4
    edit_endpoint: str | None = None
    sunset: date | None = None
    successor: str | None = None
    source: tuple[str, ...] = ()

    @property
    def input_names(self) -> frozenset[str]:
        """The names of all inputs, the prompt among them."""
        return frozenset(self.inputs.model_fields)

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
        try:
            checked = self.inputs.model_validate(known)
        except ValidationError as error:
            raise ArgumentsError(unknown + [self._problem(problem) for problem in error.errors()]) from error
        if unknown:
            raise ArgumentsError(unknown)
        return checked.model_dump(exclude_none=True)

    def key_arguments(self, arguments: Mapping[str, Json]) -> dict[str, Json]:
        """The arguments without those that equal the model's first defaults."""
        missing = object()
        return {name: value for name, value in arguments.items() if self.key_defaults.get(name, missing) != value}

    def expected_size(self, arguments: Mapping[str, Json]) -> tuple[int, int] | None:
        """The width and height in pixels that were asked for; None when the model chooses."""
        width, sign, height = str(arguments.get("image_size", "auto")).partition("x")
        return (int(width), int(height)) if sign else None

    def _unknown(self, name: str) -> str:
        near = difflib.get_close_matches(name.strip().lower(), self.input_names, 1)
        hint = f"; did you mean {near[0]}?" if near else f"; it has {', '.join(sorted(self.input_names))}"
        return f"{self.name} has no such input{hint}"

    def _problem(self, problem: Any) -> tuple[str, str]:  # noqa: ANN401 - pydantic's ErrorDetails
        if not problem["loc"]:  # our own validator: "field: reason"
            name, _, reason = str(problem["ctx"]["error"]).partition(": ")
            return name, reason
        name = str(problem["loc"][0])
        choices = _choices(self.inputs, name)
        if choices:
            near = difflib.get_close_matches(str(problem["input"]).lower(), choices, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            return name, f"{_shown(problem['input'])} is not one of {', '.join(choices)}{hint}"
        reason = problem["ctx"]["error"] if problem["type"] == "value_error" else str(problem["msg"]).lower()
        return name, f"{_shown(problem['input'])}: {reason}"


# -- the price of gpt-image-1-mini

_IMAGE_USD = {  # by quality: 1024x1024, any other size
    "low": (Decimal("0.005"), Decimal("0.006")),
    "medium": (Decimal("0.011"), Decimal("0.015")),
    "high": (Decimal("0.036"), Decimal("0.052")),
}
_TOKEN_USD = Decimal("0.002") / 1000
_TOKENS_PER_WORD = 4


def _mini_price(arguments: Mapping[str, Json]) -> Price:
    """The model's page: per image, plus text tokens, and the whole request rounded up to a cent.

    Which tier `auto` is billed as, fal does not say: then it is a range over all of them. A word is about 4 tokens,
    says fal; a text without spaces (Chinese, say) has more of them, but never more than bytes: that is the upper bound.
    """
    quality, size = arguments.get("quality", "auto"), arguments.get("image_size", "auto")
    tiers = list(_IMAGE_USD) if quality == "auto" else [str(quality)]
    columns = (0, 1) if size == "auto" else (int(size != "1024x1024"),)
    count, prompt = int(str(arguments.get("num_images", 1))), str(arguments.get("prompt", ""))
    least = _TOKENS_PER_WORD * len(prompt.split())
    each = [_IMAGE_USD[tier][column] * count for tier in tiers for column in columns]
    return Price(_rounded(min(each), least), _rounded(max(each), max(least, len(prompt.encode()))))


def _rounded(images_usd: Decimal, tokens: int) -> Decimal:
    return (images_usd + _TOKEN_USD * tokens).quantize(CENT, ROUND_CEILING)


_REGISTRY: dict[str, FalModel] = {}


def register(model: FalModel) -> FalModel:
    """Add a model of your own (or a new one of fal's), to be used by its name or endpoint from then on."""
    _REGISTRY[model.name] = model
    return model


def get_model(name: str) -> FalModel:
    """A model by its name or its endpoint.

    Raises:
        UsageError: the registry has none of that name.
    """
    for model in _REGISTRY.values():
        if name in {model.name, model.endpoint}:
            return model
    near = difflib.get_close_matches(name, _REGISTRY, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    msg = f"there is no model {name!r} in the registry: {', '.join(sorted(_REGISTRY))}{hint}"
    raise UsageError(msg)


DEFAULT_MODEL = register(
    FalModel(
        name="gpt-image-1-mini",
        endpoint="fal-ai/gpt-image-1-mini",
        edit_endpoint="fal-ai/gpt-image-1-mini/edit",
        inputs=TextToImage,
        key_defaults={
            "image_size": "auto",
            "background": "auto",
            "quality": "auto",
            "num_images": 1,
            "output_format": "png",
            "sync_mode": False,
        },
        price=_mini_price,
        sunset=date(2026, 12, 1),
        successor=None,
        source=(
            "https://fal.ai/models/fal-ai/gpt-image-1-mini/llms.txt",
            "https://developers.openai.com/api/docs/deprecations",
        ),
    )
).name


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
