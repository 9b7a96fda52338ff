"""GPT Image 2.5, Flare and Sunburst: what fal's pages say of inputs and prices, and what was seen billed."""

from __future__ import annotations

from dataclasses import replace
from decimal import ROUND_CEILING, Decimal
from typing import Any

import pytest

from dagster_gptimg.engine.plan.request_keys import cut
from dagster_gptimg.errors import ArgumentsError
from dagster_gptimg.fal.registry.builtin import get_model
from dagster_gptimg.fal.registry.openai import PRESETS_25
from dagster_gptimg.fal.registry.price_formulas import MICRO, ByTokens, Price
from dagster_gptimg.fal.types import Json

KINDS = ("flare", "sunburst")
FLARE = get_model("gpt-image-2.5-flare")
QUALITIES = ("low", "medium", "high", "xhigh", "max")
REFERENCE = "https://example.com/a.png"

PUBLISHED: dict[tuple[int, int], tuple[str, ...]] = {
    (1024, 768): ("0.00402", "0.00903", "0.03612", "0.06420", "0.14445"),
    (1024, 1024): ("0.00588", "0.01317", "0.05268", "0.09366", "0.21072"),
    (1024, 1536): ("0.00474", "0.01029", "0.04116", "0.07377", "0.16464"),
    (1920, 1080): ("0.00441", "0.01029", "0.03960", "0.07041", "0.15840"),
    (2560, 1440): ("0.00615", "0.01434", "0.05529", "0.09828", "0.22110"),
    (3840, 2160): ("0.01113", "0.02595", "0.10008", "0.17790", "0.40026"),
}
"""fal's pages of all four endpoints: US dollars of one image, by its size and quality."""


def prices(kind: str) -> ByTokens:
    found = get_model(f"gpt-image-2.5-{kind}").price
    assert isinstance(found, ByTokens)
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", PUBLISHED)
@pytest.mark.parametrize("quality", QUALITIES)
def test_an_image_costs_what_fals_page_says_rounded_up_to_a_hundredth_of_a_cent(
    kind: str, size: tuple[int, int], quality: str
) -> None:
    published = Decimal(PUBLISHED[size][QUALITIES.index(quality)])
    asked: dict[str, Json] = {"quality": quality, "image_size": {"width": size[0], "height": size[1]}}
    assert replace(prices(kind), step=MICRO)(asked) == Price(published, published)
    billed = published.quantize(Decimal("0.0001"), ROUND_CEILING)
    assert prices(kind)(asked) == Price(billed, billed)
    assert replace(prices(kind), step=MICRO)({**asked, "num_images": 10}).high == 10 * published


@pytest.mark.parametrize(
    ("quality", "tokens"), [("low", 196), ("medium", 439), ("high", 1756), ("xhigh", 3122), ("max", 7024)]
)
def test_a_square_has_as_many_tokens_as_its_makers_calculator_says(quality: str, tokens: int) -> None:
    square: Json = {"width": 1024, "height": 1024}
    cost = replace(prices("flare"), step=MICRO)({"quality": quality, "image_size": square})
    assert cost.low == cost.high == tokens * Decimal("0.00003")


@pytest.mark.parametrize(
    ("kind", "references", "billed"),
    [("flare", 0, "0.0062"), ("sunburst", 0, "0.0063"), ("flare", 1, "0.0145"), ("sunburst", 1, "0.0146")],
)
def test_what_was_seen_billed_lies_within_the_price(kind: str, references: int, billed: str) -> None:
    asked: dict[str, Json] = {"quality": "low", "image_size": {"width": 1024, "height": 1024}}
    asked |= {"prompt": "a studio photo of a red ceramic cup with its name on it " * 4}
    if references:
        asked["image_urls"] = [REFERENCE] * references
    cost = get_model(f"gpt-image-2.5-{kind}").cost(asked)
    assert cost.low <= Decimal(billed) <= cost.high


def test_what_is_not_said_costs_what_fals_defaults_do_and_auto_is_a_range() -> None:
    assert str(FLARE.cost({})) == "$0.0362"  # high, 1024x768
    assert FLARE.cost({"quality": "max", "image_size": "landscape_4_3"}).high > Decimal("0.14")
    every = FLARE.cost({"quality": "auto", "image_size": "auto"})
    for quality in QUALITIES:
        sizes: list[Json] = [*PRESETS_25, {"width": 1440, "height": 480}, {"width": 2880, "height": 2880}]
        for size in sizes:
            cost = FLARE.cost({"quality": quality, "image_size": size})
            assert every.low <= cost.low <= cost.high <= every.high
    edit = FLARE.cost({"image_urls": [REFERENCE]})  # by default as large as the model likes
    assert edit.high > FLARE.cost({}).high


def test_auto_holds_every_size_that_may_be_asked_for() -> None:
    sides, cost = range(480, 3841, 16), replace(prices("flare"), step=MICRO)
    wide = [(w, h) for w in sides for h in sides if h <= w <= 3 * h and 655_360 <= w * h <= 8_294_400]
    for quality in QUALITIES:
        costs = [cost({"quality": quality, "image_size": {"width": w, "height": h}}) for w, h in wide]
        assert cost({"quality": quality, "image_size": "auto"}) == (min(costs).low, max(each.high for each in costs))


def test_a_prompt_has_a_token_a_word_at_least_and_never_more_than_it_has_bytes() -> None:
    asked: dict[str, Json] = {"quality": "low", "image_size": {"width": 1024, "height": 1024}}
    exact = replace(prices("flare"), step=MICRO)
    for prompt, low, high in (("a red cup", 3, 12), ("看" * 1000, 1, 3000), ("understandable " * 10, 10, 150)):
        cost, base = exact({**asked, "prompt": prompt}), Decimal("0.00588")
        assert (cost.low - base, cost.high - base) == (low * Decimal("0.000005"), high * Decimal("0.000005"))


@pytest.mark.parametrize("kind", KINDS)
def test_the_endpoint_for_edits_lies_beside_the_other(kind: str) -> None:
    model = get_model(f"gpt-image-2.5-{kind}")
    root = f"openai/gpt-image-2.5/{kind}"
    assert model.endpoints == (f"{root}/text-to-image", f"{root}/edit")
    assert get_model(f"{root}/edit") is model.edit
    assert model.reference_inputs == ("image_urls", "mask_url")
    assert model.sunset is None


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("quality", ["auto", *QUALITIES], ["hd", "standard"]),
        ("background", ["auto", "transparent", "opaque"], ["white"]),
        ("output_format", ["jpeg", "png", "webp"], ["gif", "svg"]),
        ("output_compression", [0, 100, "85", 85.0], [-1, 101, True, "strong", 1.5]),
        ("num_images", [1, 10, 11, 1000], [0, 1001]),
        ("image_size", ["auto", "square_hd", "1024x1536", {"width": 1440, "height": 480}], ["1000x1000", "100x100"]),
        ("image_urls", [REFERENCE, [REFERENCE] * 16], [[REFERENCE] * 17, []]),
        ("seed", [], [1]),
        ("input_fidelity", [], ["high"]),
    ],
)
def test_inputs_are_those_of_fals_page(name: str, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        assert name in FLARE.check({name: value})
    for value in bad:
        with pytest.raises(ArgumentsError) as caught:
            FLARE.check({name: value})
        assert {field for field, _ in caught.value.problems} == {name}


def test_sizes_are_said_as_the_older_models_say_them() -> None:
    assert FLARE.check({"image_size": " 1024x1024 "}) == {"image_size": {"width": 1024, "height": 1024}}
    said = FLARE.cost({"quality": "low", "image_size": "1024x1024"})
    assert said == FLARE.cost({"quality": "low", "image_size": {"width": 1024, "height": 1024}})
    assert FLARE.asked_size(FLARE.check({"image_size": "1536x1024"})) == (1536, 1024)


def test_a_level_of_compression_without_effect_is_refused_before_anything_is_bought() -> None:
    found = FLARE.check({"prompt": "x", "output_compression": 80, "output_format": "webp"})
    FLARE.demand_required(found)
    for form in ({}, {"output_format": "png"}):
        with pytest.raises(ArgumentsError, match="output_compression: png has no compression levels"):
            FLARE.demand_required(FLARE.check({"prompt": "x", "output_compression": 80, **form}))


def test_a_row_is_cut_into_requests_of_ten() -> None:
    assert FLARE.max_images_per_request == 10
    assert cut(25, FLARE.max_images_per_request) == [10, 10, 5]
    for kind in KINDS:
        assert get_model(f"gpt-image-2.5-{kind}").key_digest == "a4eec6042e371fe7"  # frozen: never another
