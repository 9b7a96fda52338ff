"""The cost of a request: fal's list prices, in US dollars, as functions of the request's arguments.

For plans and budgets only; the billed cost is read from fal's answers. A price that fal does not state exactly is a
range, never a guess: a budget reserves its upper end.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from functools import cached_property
from typing import ClassVar, NamedTuple, TypeAlias

from dagster_gptimg.argument_rules import check_arguments
from dagster_gptimg.base.plain_text import dollars
from dagster_gptimg.errors import UsageError
from dagster_gptimg.fal.types import Json

CENT = Decimal("0.01")
TEN_THOUSANDTH = Decimal("0.0001")
MICRO = Decimal("0.000001")
_TOKENS_PER_WORD = 4
_MILLION = Decimal(1_000_000)

MEGAPIXEL = Decimal(2**20)
"""Pixels of a megapixel, at most. fal's pages do not say which of the two they count."""
SMALL_MEGAPIXEL = Decimal(10**6)
"""Pixels of a megapixel, at least."""

SQUARE = "1024x1024"
_SIZES = (SQUARE, "1024x1536", "1536x1024")


class Price(NamedTuple):
    """The cost of one request in US dollars: at least `low`, at most `high`; equal if the arguments determine it.

    `high` is infinite if the price is unknown: then every sum with it is unknown, and it fits into no budget.
    """

    low: Decimal
    high: Decimal

    @property
    def is_known(self) -> bool:
        """Whether there is an upper bound."""
        return self.high.is_finite()

    def __str__(self) -> str:
        if not self.is_known:
            return "an unknown price"
        return " to ".join(dict.fromkeys((dollars(self.low), dollars(self.high))))


class Tokens(NamedTuple):
    """A number of tokens: at least `low`, at most `high`."""

    low: int
    high: int


_PRICED = ("quality", "image_size", "num_images", "input_fidelity")
CACHED = 4096
"""Maximum number of cached prices."""

PriceFunction: TypeAlias = Callable[[Mapping[str, Json]], Price]
Size: TypeAlias = tuple[int, int]
"""Width and height in pixels."""


class PricedBySize(ABC):
    """A price function that counts the pixels of the image that is put in.

    No protocol: asking whether an object has one takes ten times as long as the price of a row.
    """

    def __call__(self, arguments: Mapping[str, Json]) -> Price:
        """Return the price of one request whose image has an unknown size."""
        return self.of_size(arguments, None)

    @abstractmethod
    def of_size(self, arguments: Mapping[str, Json], size: Size | None) -> Price:
        """Return the price of one request; `size`: of its image, None if it is not known."""


def price_of(price: PriceFunction, arguments: Mapping[str, Json], sizes: Mapping[str, Size]) -> Price:
    """Return the price of one request in US dollars.

    Args:
        price: the endpoint's.
        arguments: the request's inputs, by fal's names.
        sizes: the sizes of its reference images, as far as they are known, by their text in the arguments.
    """
    if not isinstance(price, PricedBySize):
        return price(arguments)
    return price.of_size(arguments, sizes.get(str(arguments.get("image_url"))))


def per_image(low: Decimal | str, high: Decimal | str | None = None) -> PriceFunction:
    """A flat price for each image, or a range of it: for endpoints of your own. US dollars.

    Args:
        low: US dollars for each image.
        high: US dollars at most, where it is a range; `low` by default.

    Raises:
        UsageError: one of them is not an amount, or the lower one is the greater.
    """
    check_arguments(low=low, high=high)
    least, most = Decimal(str(low)), None if high is None else Decimal(str(high))
    if most is not None and least > most:
        raise UsageError(f"low is {low} and high is {high}: the price of an image must not be higher at its lower end")
    return PerImage(least, most)


@dataclass(frozen=True)
class PerImage:
    """A flat price for each image, or a range of it, in US dollars: `low` at least, `high` at most (None: `low`)."""

    low: Decimal
    high: Decimal | None = None
    unit: ClassVar[str] = "image"

    def __call__(self, arguments: Mapping[str, Json]) -> Price:
        """Return the price of one request."""
        images = images_of(arguments)
        return Price(self.low * images.low, (self.low if self.high is None else self.high) * images.high)


class Images(NamedTuple):
    """The number of images of a request: at least `low`, at most `high`."""

    low: int
    high: int


def images_of(arguments: Mapping[str, Json]) -> Images:
    """Return how many images a request asks for: `num_images` generations, each of 1 to `max_images` if it has it."""
    count, each = (_least_one(arguments.get(name)) for name in ("num_images", "max_images"))
    return Images(count, count * each)


def _least_one(value: Json) -> int:
    return max(value, 1) if isinstance(value, int) else 1


def unit_of(price: PriceFunction) -> str:
    """Return in words what a price function counts; empty for one of your own."""
    return str(getattr(price, "unit", ""))


def unknown_price(_arguments: Mapping[str, Json]) -> Price:
    """For an endpoint whose price you do not know. A plan says "unknown", and a run with a budget is refused."""
    return UNKNOWN


UNKNOWN = Price(Decimal(0), Decimal("Infinity"))


@dataclass(frozen=True)
class ByTable:
    """A price per image by quality and size, plus tokens, rounded up to a cent if fal's page says so.

    Attributes:
        images: US dollars per image for 1024x1024, 1024x1536 and 1536x1024, by quality.
        text: US dollars per text token of the input.
        reference: US dollars per token of a reference image.
        reasoning: US dollars per text token of the output, of which there are at most `MOST_REASONING`.
        quality: the endpoint's default. `auto` is a range over all qualities, as fal does not say what it bills for it.
        image_size: the endpoint's default. `auto` is a range over all sizes.
        fidelity: the default of `input_fidelity`, which determines the tokens of a reference image.
        rounded: whether the cost of the whole request is rounded up to the next cent.
    """

    images: Mapping[str, tuple[str, str, str]]
    text: Decimal
    reference: Decimal = Decimal(0)
    reasoning: Decimal = Decimal(0)
    quality: str = "auto"
    image_size: str = "auto"
    fidelity: str = "low"
    rounded: bool = True
    unit: ClassVar[str] = "image by quality and size, and tokens"

    def __call__(self, arguments: Mapping[str, Json]) -> Price:
        """Return the price of one request."""
        about = (*_text_size(arguments), *[str(arguments.get(name)) for name in _PRICED], reference_count(arguments))
        found = self._known.get(about)
        if found is None:  # a table has few different ones
            if len(self._known) >= CACHED:
                self._known.clear()
            found = self._known[about] = self._worked_out(arguments)
        return found

    @cached_property
    def _known(self) -> dict[tuple[object, ...], Price]:
        return {}

    def _worked_out(self, arguments: Mapping[str, Json]) -> Price:
        quality = str(arguments.get("quality", self.quality))
        size = str(arguments.get("image_size", self.image_size))
        count, text, tokens = _count(arguments), text_tokens(arguments), self._references(arguments)
        tiers = list(self.images) if quality == "auto" else [quality]
        columns = range(len(_SIZES)) if size == "auto" else (_SIZES.index(size),)
        each = [Decimal(self.images[tier][column]) * count for tier in tiers for column in columns]
        low = min(each) + self.text * text.low + self.reference * tokens.low
        high = max(each) + self.text * text.high + self.reference * tokens.high + self.reasoning * MOST_REASONING
        step = CENT if self.rounded else MICRO
        return Price(low.quantize(step, ROUND_CEILING), high.quantize(step, ROUND_CEILING))

    def _references(self, arguments: Mapping[str, Json]) -> Tokens:
        fidelity = str(arguments.get("input_fidelity", self.fidelity))
        most = MOST_LOW_TOKENS + (MOST_HIGH_TOKENS if fidelity == "high" else 0)
        images = reference_count(arguments)
        return Tokens(LEAST_TOKENS * images, most * images)


LEAST_TOKENS = 65
"""Minimum tokens of a reference image. Its size is not known before it is bought, so prices use bounds.

OpenAI counts 65 tokens and 129 for each 512-pixel tile; fal: 1024x1024 is about 135.
"""
MOST_LOW_TOKENS = 1_000
"""Maximum tokens of a reference image at low fidelity."""
MOST_HIGH_TOKENS = 6_240
"""Maximum tokens that high fidelity adds to a reference image: 4,160 to 6,240."""

MOST_REASONING = 2_000
"""Maximum text tokens that a model may return besides an image.

fal bills them for gpt-image-1.5 and documents no bound; this one is ours, and generous. The billed cost is fal's.
"""


@dataclass(frozen=True)
class ByTokens:
    """The price of `openai/gpt-image-2` and its successors: tokens, by quality and pixels, in US dollars per million.

    The tokens of an image follow OpenAI's own calculator (gpt-image-2, 1024x1024 at high quality: 7,024).

    Attributes:
        edges: the number of parts into which the longer side of an image is divided, by quality.
        presets: by name, the widths and heights in pixels that fal may use for the preset.
        text: US dollars per million text tokens of the input.
        reference: US dollars per million tokens of a reference image.
        image: US dollars per million tokens of an image that is made.
        quality: the endpoint's default. `auto` is a range over all qualities.
        image_size: the endpoint's default. `auto` is a range over all sizes.
        step: US dollars; fal rounds the cost of a whole request up to the next multiple of it.
    """

    edges: Mapping[str, int]
    presets: Mapping[str, tuple[tuple[int, int], ...]]
    text: Decimal = Decimal(5)
    reference: Decimal = Decimal(8)
    image: Decimal = Decimal(30)
    quality: str = "high"
    image_size: str = "landscape_4_3"
    step: Decimal = MICRO
    unit: ClassVar[str] = "tokens, by quality and pixels"

    def __call__(self, arguments: Mapping[str, Json]) -> Price:
        """Return the price of one request."""
        words, size = _text_size(arguments)
        references = reference_count(arguments)
        about = (arguments.get("quality", self.quality), str(arguments.get("image_size", self.image_size)))
        low, high = self._images.get(about) or self._worked_out(about, arguments)
        count, most = _count(arguments), MOST_LOW_TOKENS + MOST_HIGH_TOKENS
        # fal documents no number of tokens per word: it is at least one, and never more than the word's bytes.
        least = self.image * low * count + self.text * words + self.reference * LEAST_TOKENS * references
        worst = self.image * high * count + self.text * max(_TOKENS_PER_WORD * words, size)
        worst += self.reference * most * references
        return Price(*((amount / _MILLION).quantize(self.step, ROUND_CEILING) for amount in (least, worst)))

    def square_tokens(self, quality: str) -> int | None:
        """Return the tokens of an image of 1024x1024 at a quality; None for `auto` and for unknown qualities."""
        edge = self.edges.get(quality)
        return None if edge is None else _image_tokens(edge, 1024, 1024)

    @cached_property
    def _images(self) -> dict[tuple[object, str], Tokens]:
        """Tokens of one image, by quality and size; a table has few different combinations."""
        return {}

    def _worked_out(self, about: tuple[object, str], arguments: Mapping[str, Json]) -> Tokens:
        quality, size = str(about[0]), arguments.get("image_size", self.image_size)
        edges = self.edges.values() if quality == "auto" else (self.edges[quality],)
        tokens = [_image_tokens(edge, *pixels) for edge in edges for pixels in self._sizes(size)]
        if len(self._images) >= CACHED:
            self._images.clear()
        found = self._images[about] = Tokens(min(tokens), max(tokens))
        return found

    def _sizes(self, size: Json) -> tuple[tuple[int, int], ...]:
        if isinstance(size, dict):
            return ((int(str(size["width"])), int(str(size["height"]))),)
        width, _, height = str(size).partition("x")  # as the older models say it, and `check` takes it
        if width.isdecimal() and height.isdecimal():
            return ((int(width), int(height)),)
        return self.presets.get(str(size), _ANY_SIZE)


_ANY_SIZE = ((1376, 480), (1408, 480), (1424, 480), (1440, 480), (2880, 2880))
"""Among all sizes that a request may ask for: those with the fewest and the most tokens, for one quality or another."""


def _image_tokens(edge: int, width: int, height: int) -> int:
    long, short = max(width, height), min(width, height)
    across = (2 * edge * short + long) // (2 * long)
    return -(-edge * across * (2_000_000 + width * height) // 4_000_000)


def text_tokens(arguments: Mapping[str, Json]) -> Tokens:
    """Return the tokens of the prompt: about 4 a word by fal's page.

    Text without spaces has more, at most its bytes.
    """
    words, size = _text_size(arguments)
    return Tokens(_TOKENS_PER_WORD * words, max(_TOKENS_PER_WORD * words, size))


def _text_size(arguments: Mapping[str, Json]) -> tuple[int, int]:
    """Return the numbers of words and of bytes of the prompt."""
    prompt = str(arguments.get("prompt", ""))
    return len(prompt.split()), len(prompt.encode())


def reference_count(arguments: Mapping[str, Json]) -> int:
    """Return the number of images in the input, masks included."""
    images = arguments.get("image_urls")
    masks = sum(name in arguments for name in ("mask_url", "mask_image_url"))
    return (len(images) if isinstance(images, list) else 0) + masks


def _count(arguments: Mapping[str, Json]) -> int:
    return int(str(arguments.get("num_images", 1)))
