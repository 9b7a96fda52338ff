"""The class of the registry's models: endpoints, typed inputs, price, and end date."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property
from types import MappingProxyType
from typing import Any, cast

from annotated_types import MaxLen, MinLen
from pydantic import BaseModel, ValidationError

from dagster_gptimg.argument_rules import check_given
from dagster_gptimg.errors import ArgumentsError
from dagster_gptimg.fal.registry.input_errors import problems_of
from dagster_gptimg.fal.registry.inputs import WITHOUT_GUARANTEE
from dagster_gptimg.fal.registry.price_formulas import Price, PriceFunction, Size, price_of
from dagster_gptimg.fal.types import Json

NEAR = timedelta(days=60)
"""How long before its end date a model causes a warning."""

NO_SIZES: Mapping[str, Size] = MappingProxyType({})
"""Sizes of reference images, if none is known."""

_HOLDS_IMAGES = re.compile(r"(\w+_)?(image|mask)_urls?")


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
        max_images_per_request: fal's upper bound for `num_images` at this entry's first release. Frozen, too: by it a
            row's images are cut into requests, and each has a key of its own.
        edit: the same model's endpoint for edits, if there is one: it takes the rows that have reference images.
        required: the inputs, besides the prompt, that every request to this endpoint must have.
        needs_prompt: whether every request must have a prompt. An endpoint that works on an image alone needs none;
            some of these take one all the same.
        sunset: the day on which its maker ends it, if that is announced.
        successor: the model to move to then.
        source: the pages that this entry was written from.
        read: the day of what was read there.
        unverified: what fal's pages do not say, or say differently, and what this entry assumes.
        same_by_seed: why several images of one request would be the same with a `seed`; empty if they are not, as far
            as is known.
    """

    name: str
    endpoint: str
    inputs: type[BaseModel]
    key_defaults: Mapping[str, Json]
    price: PriceFunction = field(repr=False)
    max_images_per_request: int = 4
    edit: FalModel | None = None
    required: tuple[str, ...] = ()
    needs_prompt: bool = True
    sunset: date | None = None
    successor: str | None = None
    source: tuple[str, ...] = ()
    read: date | None = None
    unverified: str = ""
    same_by_seed: str = ""

    def __post_init__(self) -> None:
        check_given({name: getattr(self, name) for name in self.__dataclass_fields__})

    @cached_property
    def input_names(self) -> frozenset[str]:
        """The names of all inputs, the prompt and those of its edits among them."""
        return self._own_names | self.edit.input_names if self.edit else self._own_names

    @classmethod
    def from_openapi(
        cls, document: Mapping[str, Any] | str, *, price: PriceFunction, name: str | None = None
    ) -> FalModel:
        """Any endpoint of fal that makes images from prompts, or from one image, by its OpenAPI document.

        Keep the document in a file of yours: the defaults and the largest `num_images` that it names are part of the
        request keys, and a newer one that names others would buy everything again.

        Args:
            document: as `FalClient.openapi` and https://fal.ai/api/openapi/queue/openapi.json give it, or its JSON.
            price: `per_image("0.03")`, any function of the arguments, or `unknown_price`. fal's documents name none.
            name: what users type; the endpoint by default.

        Raises:
            UsageError: this is not such a document; the endpoint takes neither prompt nor image, or returns no image.
        """
        from dagster_gptimg.fal.registry.openapi import read_endpoint

        found = read_endpoint(document)
        return cls(
            name=name or found.endpoint,
            endpoint=found.endpoint,
            inputs=found.inputs,
            key_defaults=found.defaults,
            price=price,
            max_images_per_request=found.most_images,
            required=found.required,
            needs_prompt=found.needs_prompt,
            source=(f"https://fal.ai/models/{found.endpoint}/api",),
        )

    @cached_property
    def reference_inputs(self) -> tuple[str, ...]:
        """The inputs that hold images: references, and masks. Empty when it takes none."""
        if self.edit is not None:
            return self.edit.reference_inputs
        return tuple(name for name in self.inputs.model_fields if holds_images(name))

    @property
    def takes_prompt(self) -> bool:
        """Whether requests may have a prompt."""
        return "prompt" in self.inputs.model_fields

    @property
    def main_reference(self) -> str | None:
        """The input that holds what is edited: the one that must be given, else the first that is no mask."""
        names = sorted(self.reference_inputs, key=lambda name: (name not in self._all_required, "mask" in name))
        return names[0] if names else None

    @property
    def _all_required(self) -> tuple[str, ...]:
        return self.required + (self.edit.required if self.edit else ())

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The full ids of all its endpoints."""
        return (self.endpoint, *(self.edit.endpoints if self.edit else ()))

    @property
    def uncertainty(self) -> str:
        """Return what is not certain about the price of its requests, in a sentence or two; empty if all is certain."""
        return self.unverified or (self.edit.unverified if self.edit else "")

    @property
    def key_digest(self) -> str:
        """Return a digest that changes if the request keys of the same arguments would change.

        The digest is made of the defaults and the largest `num_images`. For built-in models neither ever changes; a
        newer OpenAPI document may change them.
        """
        frozen = [[part.key_defaults, part.max_images_per_request] for part in (self, self.edit) if part is not None]
        text = json.dumps(frozen, sort_keys=True, default=dict)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @cached_property
    def _own_names(self) -> frozenset[str]:
        return frozenset(self.inputs.model_fields)

    def variant(self, arguments: Mapping[str, object]) -> FalModel:
        """The endpoint for these arguments: an input that only edits have makes it an edit.

        Args:
            arguments: the request's inputs, by fal's names.
        """
        return self if self.edit is None or self._own_names.issuperset(arguments) else self.edit

    def check(self, arguments: Mapping[str, object], *, without_guarantee: bool = False) -> dict[str, Json]:
        """Arguments as they may be sent: only what was given, each in its one canonical form.

        Text from a table is taken for what it says (`"2"` is 2, `"True"` is true), without the blanks around it; values
        that mean "not given" (None, NaN, an empty or blank cell) are left out. Enums are case-sensitive, as fal's are.
        The prompt is never changed, and an empty one is an error.

        Args:
            arguments: by their names.
            without_guarantee: let `sync_mode` through.

        Raises:
            ArgumentsError: every wrong one, in fal's own field names.
        """
        given = {name: _plain(name, value) for name, value in arguments.items() if _is_given(name, value)}
        unknown = [(name, self._unknown(name)) for name in given if name not in self.input_names]
        known = {name: value for name, value in given.items() if name in self.input_names}
        variant = self.variant(known)
        inputs = variant.inputs
        try:
            checked = inputs.model_validate(known, context={WITHOUT_GUARANTEE: without_guarantee})
        except ValidationError as error:
            raise ArgumentsError(unknown + problems_of(inputs, error)) from error
        if unknown:
            raise ArgumentsError(unknown)
        found = checked.model_dump(exclude_none=True)
        if "seed" in found and (why := variant._same_images(found)):  # noqa: SLF001 - its own class
            raise ArgumentsError([("seed", why)])
        return found

    def _same_images(self, arguments: Mapping[str, Json]) -> str:
        """Return why a `seed` would buy one image several times; empty if it would not. `arguments` are checked."""
        images, most = arguments.get("num_images", 1), self.max_images_per_request
        if not isinstance(images, int) or images == 1:
            return ""
        if self.same_by_seed:
            return f"{self.same_by_seed}: ask for 1 image a row, or give no seed"
        if images > most:
            return f"every request of a row would make the same images: ask for at most {most} images, or give no seed"
        return ""

    def wrong_prompt(self, prompt: str) -> str | None:
        """What is wrong with a prompt; None when nothing is.

        Args:
            prompt: a whole prompt.
        """
        least, most = self._prompt_lengths
        if most and least <= len(prompt) <= most and not prompt.isspace():
            return None  # the same answer as from the check below, but faster: a table may have a million prompts
        try:
            self.check({"prompt": prompt})
        except ArgumentsError as error:
            return "; ".join(reason for _, reason in error.problems)
        return None

    def takes_prompts(self, prompts: Sequence[object]) -> bool:
        """Whether all of these are texts with nothing wrong; where that is no matter of their lengths alone: False.

        Args:
            prompts: whole prompts, and what else a column may hold.
        """
        least, most = self._prompt_lengths
        if not most or set(map(type, prompts)) != {str}:
            return False
        texts = cast("Sequence[str]", prompts)
        lengths = [*map(len, texts)]
        return least <= min(lengths) and max(lengths) <= most and not any(map(str.isspace, texts))

    @cached_property
    def _prompt_lengths(self) -> tuple[int, int]:
        """Minimum and maximum characters of a prompt if its length is the only rule; 0 and 0 if there are others."""
        rules = self.inputs.model_fields["prompt"].metadata if self.takes_prompt else []
        most = [rule.max_length for rule in rules if isinstance(rule, MaxLen)]
        least = [rule.min_length for rule in rules if isinstance(rule, MinLen)]
        return (max([1, *least]), min(most)) if most and len(least) + len(most) == len(rules) else (0, 0)

    @property
    def most_references(self) -> int | None:
        """Maximum reference images of an edit, without masks; None if fal's pages do not say, 0 if it takes none."""
        if self.edit is not None:
            return self.edit.most_references
        name = self.main_reference
        if name is None:
            return 0
        if not name.endswith("s"):
            return 1
        rules = self.inputs.model_fields[name].metadata
        return next((rule.max_length for rule in rules if isinstance(rule, MaxLen)), None)

    def demand_required(self, arguments: Mapping[str, Json]) -> None:
        """Make sure that a whole request has what its endpoint must have, and nothing without effect.

        Args:
            arguments: the request's inputs, by fal's names.

        Raises:
            ArgumentsError: an input is missing, or has no effect.
        """
        variant = self.variant(arguments)
        missing = [name for name in variant.required if name not in arguments]
        if missing:
            raise ArgumentsError([(name, variant._missing(name)) for name in missing])  # noqa: SLF001 - its own class
        form = arguments.get("output_format", variant.key_defaults.get("output_format"))
        if "output_compression" in arguments and form == "png":
            raise ArgumentsError([("output_compression", "png has no compression levels: ask for jpeg or webp")])

    def key_arguments(self, arguments: Mapping[str, Json]) -> dict[str, Json]:
        """The arguments of a request to this very endpoint, without those that equal its first defaults.

        Args:
            arguments: the request's inputs, by fal's names.
        """
        missing = object()
        return {name: value for name, value in arguments.items() if self.key_defaults.get(name, missing) != value}

    def cost(self, arguments: Mapping[str, Json], sizes: Mapping[str, Size] = NO_SIZES) -> Price:
        """What one request costs, in US dollars, at least and at most, at its endpoint's list price.

        Args:
            arguments: the request's inputs, by fal's names.
            sizes: width and height in pixels of its reference images, as far as known, by their text in `arguments`.
        """
        return price_of(self.variant(arguments).price, arguments, sizes)

    def asked_size(self, arguments: Mapping[str, Json]) -> tuple[int, int] | None:
        """The width and height in pixels that a request asks for; None where the model chooses, or takes no size.

        Args:
            arguments: the request's inputs, by fal's names.
        """
        return sides(arguments.get("image_size", self.variant(arguments).key_defaults.get("image_size")))

    def latency_kind(self, arguments: Mapping[str, Json]) -> str:
        """The kind of a request: requests of one kind (one endpoint, one quality) take about as long.

        Args:
            arguments: the request's inputs, by fal's names.
        """
        variant = self.variant(arguments)
        return f"{variant.endpoint} {arguments.get('quality', variant.key_defaults.get('quality'))}"

    def notice(self, today: date, statuses: Collection[str] = ()) -> str | None:
        """A warning for users of this model: it ends soon, has ended, or fal calls it deprecated; None without one.

        Args:
            today: the date.
            statuses: what fal says of its endpoints (`FalClient.statuses`): `active`, `deprecated`.
        """
        ends = ""
        if self.sunset is not None and self.sunset - today <= NEAR:
            ends = f"{'ends' if today < self.sunset else 'ended'} on {self.sunset} according to its maker's page"
        said = "is deprecated at fal" if "deprecated" in statuses else ""
        if not ends and not said:
            return None
        move = f"move to {self.successor}; `plan` with that model shows the cost" if self.successor else ""
        return f"{self.name} {' and '.join(filter(None, (said, ends)))}; {move or 'choose another model'}"

    def _unknown(self, name: str) -> str:
        masks = [other for other in self.reference_inputs if "mask" in other] if "mask" in name else []
        near = masks or difflib.get_close_matches(name.strip().lower(), self.input_names, 1)
        hint = f"; did you mean {near[0]}?" if near else f"; it has {', '.join(sorted(self.input_names))}"
        return f"{self.name} does not have this input{hint}"

    def _missing(self, name: str) -> str:
        if name in self.reference_inputs:
            does = "edits images" if self.needs_prompt else "works on an image"
            return f"{self.endpoint} {does}, but the row has none: name at least one reference image"
        return f"{self.endpoint} requires this input: give it for all rows, or in a column of this name"


def sides(size: Json) -> tuple[int, int] | None:
    """Return width and height in pixels of a value of `image_size`; None for a preset, `auto` and anything else."""
    if isinstance(size, dict):
        width, height = size.get("width"), size.get("height")
        return (width, height) if isinstance(width, int) and isinstance(height, int) else None
    found = _SIDES.fullmatch(size) if isinstance(size, str) else None
    return (int(found[1]), int(found[2])) if found else None


_SIDES = re.compile(r"(\d{1,6})x(\d{1,6})", re.ASCII)


def page(endpoint: str) -> str:
    """Return the URL of fal's text page of an endpoint."""
    return f"https://fal.ai/models/{endpoint}/llms.txt"


def holds_images(name: str) -> bool:
    """Return whether an input of this name holds one or several images, by fal's naming convention."""
    return _HOLDS_IMAGES.fullmatch(name) is not None


def is_missing(value: object) -> bool:
    """Return whether a table cell means "not given".

    None, an empty or blank text, and every library's NaN, NaT and NA.
    """
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
    """Return whether an input was given. A blank prompt counts as given: it is an error, not a missing prompt."""
    return not is_missing(value) or (name == "prompt" and isinstance(value, str))


def _plain(name: str, value: object) -> object:
    """Return text without surrounding blanks (except the prompt), and an integral float as an integer."""
    if isinstance(value, str) and name != "prompt":
        return value.strip()
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
