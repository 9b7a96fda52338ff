"""Google's, ByteDance's and Black Forest Labs' models: what fal's pages say of inputs and prices."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from dagster_gptimg.engine.plan.shapes import Shape
from dagster_gptimg.errors import ArgumentsError
from dagster_gptimg.fal.registry.builtin import get_model
from dagster_gptimg.fal.registry.model import FalModel
from dagster_gptimg.fal.registry.price_formulas import Price, images_of, per_image
from dagster_gptimg.fal.types import Json

REFERENCE = "https://example.com/a.png"
NAMES = ("nano-banana-2", "nano-banana-pro", "seedream-5-pro", "seedream-5-lite", "flux-2", "flux-2-pro")


def sized(width: int, height: int) -> dict[str, Json]:
    return {"image_size": {"width": width, "height": height}}


def edited(images: int = 1) -> dict[str, Json]:
    return {"image_urls": [REFERENCE] * images}


def refused(name: str, **arguments: Any) -> set[str]:
    with pytest.raises(ArgumentsError) as caught:
        get_model(name).check(arguments)
    return {field for field, _ in caught.value.problems}


PUBLISHED: list[tuple[str, dict[str, Json], str, str]] = [
    # fal's page: $0.08 an image, 1.5 and 2 times that at 2K and 4K, 0.75 times at 0.5K; search $0.015, thinking $0.002.
    ("nano-banana-2", {}, "0.08", "0.08"),
    ("nano-banana-2", {"resolution": "0.5K"}, "0.06", "0.06"),
    ("nano-banana-2", {"resolution": "2K"}, "0.12", "0.12"),
    ("nano-banana-2", {"resolution": "4K", "num_images": 3}, "0.48", "0.48"),
    ("nano-banana-2", {**edited(14)}, "0.08", "0.08"),
    ("nano-banana-2", {"enable_web_search": True}, "0.08", "0.095"),  # it may search, and need not
    ("nano-banana-2", {"enable_web_search": True, "num_images": 2}, "0.16", "0.19"),  # for a request, or an image
    ("nano-banana-2", {"thinking_level": "high", "num_images": 2}, "0.162", "0.164"),
    ("nano-banana-2", {"thinking_level": "minimal"}, "0.08", "0.08"),
    ("nano-banana-2", {"limit_generations": False}, "0.08", "0.32"),  # the prompt decides how many
    # $0.15 an image, twice that at 4K. Its `limit_generations` is false by default.
    ("nano-banana-pro", {"limit_generations": True}, "0.15", "0.15"),
    ("nano-banana-pro", {"limit_generations": True, "resolution": "2K"}, "0.15", "0.15"),
    ("nano-banana-pro", {"limit_generations": True, "resolution": "4K", "num_images": 4}, "1.20", "1.20"),
    ("nano-banana-pro", {}, "0.15", "0.60"),
    ("nano-banana-pro", {"num_images": 4}, "0.60", "0.60"),
    # $0.0675 an image up to 1536x1536, $0.135 above; $0.0045 for each further image that goes in.
    ("seedream-5-pro", {**sized(1536, 1536)}, "0.0675", "0.0675"),
    ("seedream-5-pro", {**sized(1537, 1536)}, "0.135", "0.135"),
    ("seedream-5-pro", {**sized(2048, 2048), "num_images": 6}, "0.81", "0.81"),
    ("seedream-5-pro", {}, "0.0675", "0.135"),  # how many pixels auto_2K has is not published
    ("seedream-5-pro", {"image_size": "square_hd"}, "0.0675", "0.135"),  # one was billed 2 units
    ("seedream-5-pro", {**sized(1024, 1024), **edited(1)}, "0.0675", "0.0675"),
    ("seedream-5-pro", {**sized(1024, 1024), **edited(3), "num_images": 2}, "0.153", "0.153"),
    # $0.035 an image.
    ("seedream-5-lite", {}, "0.035", "0.035"),
    ("seedream-5-lite", {"num_images": 2, "max_images": 3}, "0.07", "0.21"),
    ("seedream-5-lite", {**edited(10), "image_size": "auto_4K"}, "0.035", "0.035"),
    # $0.012 a megapixel; whether it is rounded up is not published.
    ("flux-2", {}, "0.009", "0.012"),
    ("flux-2", {"image_size": "square_hd"}, "0.012", "0.012583"),
    ("flux-2", {**sized(2048, 2048), "num_images": 4}, "0.192", "0.201327"),
    ("flux-2", {"image_size": "square_hd", **edited(2)}, "0.012", "0.036583"),
    ("flux-2", {**edited(1)}, "0.003", "0.06"),  # whose size is not known
    # $0.03 for the first megapixel, $0.015 for each further one; the page's own three examples.
    ("flux-2-pro", {**sized(1024, 1024)}, "0.03", "0.03"),
    ("flux-2-pro", {**sized(1920, 1080)}, "0.045", "0.045"),
    ("flux-2-pro", {**sized(512, 512)}, "0.03", "0.03"),
    ("flux-2-pro", {**sized(2048, 2048)}, "0.075", "0.075"),
    ("flux-2-pro", {**sized(1024, 1024), **edited(1)}, "0.045", "0.09"),  # its maker: from $0.045
    ("flux-2-pro", {**edited(1)}, "0.045", "0.135"),
]


@pytest.mark.parametrize(("name", "arguments", "low", "high"), PUBLISHED)
def test_a_price_is_what_fals_page_says_and_a_range_where_it_does_not(
    name: str, arguments: dict[str, Json], low: str, high: str
) -> None:
    model = get_model(name)
    assert model.check({"prompt": "a red cup", **arguments})
    assert model.cost(arguments) == Price(Decimal(low), Decimal(high))


@pytest.mark.parametrize("name", NAMES)
def test_a_row_with_a_reference_goes_to_the_models_endpoint_for_edits(name: str) -> None:
    model = get_model(name)
    assert model.edit is not None
    found = model.check({"prompt": "a red cup", "image_urls": f" {REFERENCE} "})
    assert model.variant(found) is model.edit is get_model(model.edit.endpoint)
    assert model.variant({"prompt": "a red cup"}) is model
    assert model.main_reference == "image_urls"


INPUTS: list[tuple[str, str, list[Any], list[Any]]] = [
    ("nano-banana-2", "aspect_ratio", ["auto", "21:9", "1:8"], ["7:3", "auto_2K", "1x1"]),
    ("nano-banana-2", "resolution", ["0.5K", "4K"], ["1k", "8K", 1]),
    ("nano-banana-2", "seed", [0, "17", 17.0, -1], [True, "x", 1.5]),
    ("nano-banana-2", "safety_tolerance", ["1", "6", 6], ["7", 0, True]),
    ("nano-banana-2", "thinking_level", ["minimal", "high"], ["low"]),
    ("nano-banana-2", "num_images", [1, 4, 5, 1000], [0, 1001]),
    ("nano-banana-2", "image_urls", [[REFERENCE] * 14], [[REFERENCE] * 15]),
    ("nano-banana-2", "prompt", ["cup", "x" * 50_000], ["ab", "x" * 50_001, "   "]),
    ("nano-banana-2", "image_size", [], ["square_hd"]),
    ("nano-banana-pro", "aspect_ratio", ["9:16"], ["8:1"]),
    ("nano-banana-pro", "resolution", ["1K"], ["0.5K"]),
    ("nano-banana-pro", "thinking_level", [], ["high"]),
    (
        "seedream-5-pro",
        "image_size",
        ["auto_2K", "1024x1024", {"width": 4096, "height": 1024}],
        ["auto_3K", "1023x1024"],
    ),
    ("seedream-5-pro", "image_size", ["4096x256"], ["8192x500", "2049x2048"]),
    ("seedream-5-pro", "output_format", ["jpeg", "png"], ["webp"]),
    ("seedream-5-pro", "max_images", [], [2]),
    ("seedream-5-pro", "seed", [], [7]),
    ("seedream-5-pro", "image_urls", [[REFERENCE] * 10], [[REFERENCE] * 11]),
    ("seedream-5-lite", "image_size", ["auto_4K", "100x100"], ["auto", "0x5", "14143x1"]),
    ("seedream-5-lite", "max_images", [1, 6, "3"], [0, 7, True]),
    ("seedream-5-lite", "seed", [], [7]),
    ("flux-2", "image_size", ["landscape_16_9", "512x2048"], ["auto", "511x512", "2049x512"]),
    ("flux-2", "guidance_scale", [0, 20, "2.5", 3.5], [-0.1, 20.1, True, "much"]),
    ("flux-2", "num_inference_steps", [4, 50], [3, 51, 4.5]),
    ("flux-2", "acceleration", ["none", "regular", "high"], ["low"]),
    ("flux-2", "image_urls", [[REFERENCE] * 4], [[REFERENCE] * 5]),
    ("flux-2-pro", "num_images", [], [2]),
    ("flux-2-pro", "safety_tolerance", ["5"], ["6"]),
    ("flux-2-pro", "output_format", ["jpeg", "png"], ["webp"]),
    ("flux-2-pro", "image_size", ["1920x1080"], ["auto", "2049x64", "63x64"]),
    ("flux-2-pro", "image_urls", [[REFERENCE] * 9], [[REFERENCE] * 10]),
]


@pytest.mark.parametrize(("name", "field", "good", "bad"), INPUTS)
def test_inputs_are_those_of_fals_page(name: str, field: str, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        assert field in get_model(name).check({field: value})
    for value in bad:
        assert refused(name, **{field: value}) == {field}, value


def test_a_prompt_that_is_too_short_is_found_in_every_way_of_looking() -> None:
    model = get_model("nano-banana-2")
    assert model.takes_prompts(["cup", "a red cup"])
    assert not model.takes_prompts(["cup", "ab"])
    assert "at least 3 characters" in (model.wrong_prompt("ab") or "")
    assert model.wrong_prompt("cup") is None


@pytest.mark.parametrize("name", ["nano-banana-2", "nano-banana-pro"])
def test_a_seed_with_several_images_is_refused_where_they_would_be_the_same(name: str) -> None:
    model = get_model(name)
    for more in ({}, {"image_urls": [REFERENCE]}):
        assert model.check({"seed": 7, **more})["seed"] == 7
        with pytest.raises(
            ArgumentsError, match=r"seed: with one seed it makes the same image .*billed.*fal-js/issues/213"
        ):
            model.check({"seed": 7, "num_images": 2, **more})
    assert model.check({"num_images": 4})


def test_a_seed_may_have_several_images_in_one_request_where_they_differ() -> None:
    model = get_model("flux-2")
    assert model.check({"seed": 7, "num_images": 4})["num_images"] == 4
    with pytest.raises(
        ArgumentsError, match="seed: every request of a row would make the same images: ask for at most 4"
    ):
        model.check({"seed": 7, "num_images": 5})


@pytest.mark.parametrize(
    ("name", "arguments", "images"),
    [
        ("seedream-5-lite", {}, [1]),
        ("seedream-5-lite", {"num_images": 8}, [6, 2]),
        ("seedream-5-lite", {"num_images": 8, "max_images": 3}, [18, 6]),
        ("flux-2", {"num_images": 5}, [4, 1]),
        ("flux-2-pro", {}, [1]),
        ("nano-banana-2", {"num_images": 9}, [4, 4, 1]),
    ],
)
def test_a_row_is_cut_by_num_images_and_keeps_as_many_as_may_come(
    name: str, arguments: dict[str, Json], images: list[int]
) -> None:
    shape = Shape(get_model(name), arguments)
    assert shape.images == images
    assert [images_of(part).high for part in shape.parts("a red cup")] == images


def test_a_price_of_your_own_counts_what_may_come() -> None:
    assert per_image("0.03")({"num_images": 2, "max_images": 3}) == Price(Decimal("0.06"), Decimal("0.18"))
    assert per_image("0.03", "0.04")({}) == Price(Decimal("0.03"), Decimal("0.04"))


FROZEN = {
    "nano-banana-2": "bd0ffa848e8a97e5",
    "nano-banana-pro": "7410af9061227ac0",
    "seedream-5-pro": "d0c687ae26d6f0f1",
    "seedream-5-lite": "122edf7b29bb66ed",
    "flux-2": "facfa71ee1799a2b",
    "flux-2-pro": "3593dd675126dc92",
}
"""Of each entry's defaults and largest `num_images`: never another."""


@pytest.mark.parametrize("name", NAMES)
def test_what_request_keys_rest_on_is_frozen(name: str) -> None:
    assert get_model(name).key_digest == FROZEN[name]


@pytest.mark.parametrize("name", NAMES)
def test_a_range_of_the_defaults_is_explained(name: str) -> None:
    model = get_model(name)
    parts: list[FalModel] = [model, *([model.edit] if model.edit else [])]
    for part in parts:
        cost = part.price(edited() if part.required else {})
        assert cost.low == cost.high or part.unverified, part.name
