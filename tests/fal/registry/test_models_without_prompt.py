"""Models that work on an image alone: what fal's pages say of inputs and prices, and results with one `image`."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from dagster_gptimg.cli.webhook_receiver import images_alone
from dagster_gptimg.engine.collect.result_reads import ended_without_images
from dagster_gptimg.engine.plan.shapes import Shape
from dagster_gptimg.errors import ArgumentsError, UsageError
from dagster_gptimg.fal.registry.builtin import get_model
from dagster_gptimg.fal.registry.model import FalModel
from dagster_gptimg.fal.registry.price_formulas import Price, unknown_price
from dagster_gptimg.fal.types import Json, listed_images
from dagster_gptimg.prompts import PromptSpec

IMAGE = "https://example.com/a.png"
NAMES = ("birefnet-v2", "bria-background-remove", "clarity-upscaler", "topaz-precision")
INFINITE = Decimal("Infinity")

PUBLISHED: list[tuple[str, dict[str, Json], tuple[int, int] | None, str, str]] = [
    # $0 a compute second in one copy of the page, $0.00111 in another, for at most 60 seconds.
    ("birefnet-v2", {}, None, "0", "0.0666"),
    ("birefnet-v2", {"operating_resolution": "2048x2048"}, (4000, 4000), "0", "0.0666"),
    # $0.018 an image.
    ("bria-background-remove", {}, None, "0.018", "0.018"),
    # $0.03 a megapixel, of input or output; it has a million pixels, or 1024x1024, and is rounded up, or not.
    ("clarity-upscaler", {}, (1024, 1024), "0.03", "0.15"),
    ("clarity-upscaler", {"upscale_factor": 4.0}, (1000, 1000), "0.028610", "0.48"),
    ("clarity-upscaler", {"upscale_factor": 1}, (512, 512), "0.0075", "0.03"),
    ("clarity-upscaler", {}, None, "0", "Infinity"),
    # $0.08 for each 24 megapixels of output that are begun.
    ("topaz-precision", {}, (1024, 1024), "0.08", "0.08"),
    ("topaz-precision", {"upscale_factor": 4}, (1024, 1024), "0.08", "0.08"),
    ("topaz-precision", {"upscale_factor": 4}, (2048, 2048), "0.24", "0.24"),
    ("topaz-precision", {"upscale_factor": 1}, (4900, 5000), "0.08", "0.16"),  # 24.5 million are 23.4 times 1024x1024
    ("topaz-precision", {}, None, "0.08", "Infinity"),
]


@pytest.mark.parametrize(("name", "arguments", "size", "low", "high"), PUBLISHED)
def test_a_price_is_by_the_size_of_the_image_that_is_put_in_and_a_range_where_it_is_not_known(
    name: str, arguments: dict[str, Json], size: tuple[int, int] | None, low: str, high: str
) -> None:
    model = get_model(name)
    found = model.cost({"image_url": IMAGE, **arguments}, {IMAGE: size} if size else {})
    assert found == Price(Decimal(low), Decimal(high))
    assert found.is_known == (high != "Infinity")


INPUTS: list[tuple[str, str, list[Any], list[Any]]] = [
    ("birefnet-v2", "model", ["General Use (Heavy)", "Matting"], ["heavy", "General Use"]),
    ("birefnet-v2", "operating_resolution", ["1024x1024", "2048x2048"], ["2304x2304", "512x512"]),
    ("birefnet-v2", "output_format", ["png", "webp", "gif"], ["jpeg"]),
    ("birefnet-v2", "prompt", [], ["a cup"]),
    ("birefnet-v2", "output_mask", [], [True]),
    ("bria-background-remove", "output_format", [], ["png"]),
    ("clarity-upscaler", "upscale_factor", [1, "2.5", 4.0], [0.5, 4.1, True, "twice"]),
    ("clarity-upscaler", "prompt", ["sharp"], [" "]),
    ("clarity-upscaler", "seed", [0, "7"], [-1, True]),
    ("topaz-precision", "model", ["Standard V2", "Faces"], ["Wonder 3"]),
    ("topaz-precision", "strength", [0.01, 1], [0, 1.1, True]),
    ("topaz-precision", "num_images", [], [2]),
]


@pytest.mark.parametrize(("name", "field", "good", "bad"), INPUTS)
def test_inputs_are_those_of_fals_page(name: str, field: str, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        assert field in get_model(name).check({field: value})
    for value in bad:
        with pytest.raises(ArgumentsError) as caught:
            get_model(name).check({field: value})
        assert {name for name, _ in caught.value.problems} == {field}, value
    assert get_model("birefnet-v2").check({"operating_resolution": "2304x2304", "model": "General Use (Dynamic)"})


@pytest.mark.parametrize("name", NAMES)
def test_each_request_has_one_image_that_must_be_given_and_no_prompt(name: str) -> None:
    model = get_model(name)
    assert (model.main_reference, model.most_references, model.needs_prompt) == ("image_url", 1, False)
    assert not model.takes_prompts([""])
    with pytest.raises(ArgumentsError, match="works on an image, but the row has none"):
        model.demand_required({})
    shape = Shape(model, model.check({"image_url": IMAGE}))
    assert (shape.parts(""), shape.images) == ([{"image_url": IMAGE}], [1])


def test_a_template_for_a_model_without_prompts_is_refused() -> None:
    with pytest.raises(UsageError, match="birefnet-v2 takes no prompt, but a template is given"):
        PromptSpec(get_model("birefnet-v2"), template="{a}")
    with pytest.raises(UsageError, match="topaz-precision takes no prompt, but a prompt column is given"):
        PromptSpec(get_model("topaz-precision"), prompt_column="text")
    assert PromptSpec(get_model("clarity-upscaler"), template="{a}").template  # it takes one


FILE: Json = {"url": IMAGE}


@pytest.mark.parametrize(
    ("output", "files"),
    [
        ({"images": [FILE, FILE]}, [FILE, FILE]),
        ({"image": FILE, "seed": 1}, [FILE]),
        ({"images": [], "image": FILE}, [FILE]),
        ({"images": None, "image": FILE}, [FILE]),
        ({"images": []}, []),
        ({"image": None}, None),
        ({"image": "a.png"}, None),
        ({"mask_image": FILE}, None),
        (None, None),
    ],
)
def test_a_result_with_one_image_lists_it(output: dict[str, Json] | None, files: list[Json] | None) -> None:
    assert listed_images(output) == files
    kept = images_alone(output)  # what a receiver of webhooks keeps of it
    assert kept == ({"images": files} if files else None)


def document(required: list[str], **properties: Any) -> dict[str, Any]:
    given = {"type": "object", "required": required, "properties": properties}
    result = {"type": "object", "properties": {"image": {"type": "object"}}}
    ref = {"application/json": {"schema": {"$ref": "#/components/schemas/In"}}}
    done = {"application/json": {"schema": {"$ref": "#/components/schemas/Out"}}}
    return {
        "info": {"x-fal-metadata": {"endpointId": "studio/cut"}},
        "components": {"schemas": {"In": given, "Out": result}},
        "paths": {
            "/studio/cut": {"post": {"requestBody": {"content": ref}}},
            "/studio/cut/requests/{request_id}": {"get": {"responses": {"200": {"content": done}}}},
        },
    }


def test_a_document_of_an_endpoint_that_takes_an_image_alone_makes_a_model() -> None:
    text, number = {"type": "string"}, {"type": "number", "default": 2}
    cut = FalModel.from_openapi(document(["image_url"], image_url=text, scale=number), price=unknown_price)
    assert (cut.needs_prompt, cut.takes_prompt, cut.required) == (False, False, ("image_url",))
    told = FalModel.from_openapi(document(["image_url"], image_url=text, prompt=text), price=unknown_price)
    assert (told.needs_prompt, told.takes_prompt) == (False, True)
    edit = FalModel.from_openapi(document(["image_url", "prompt"], image_url=text, prompt=text), price=unknown_price)
    assert edit.needs_prompt
    plain = FalModel.from_openapi(document([], prompt=text), price=unknown_price)
    assert plain.needs_prompt


def test_a_history_entry_with_one_image_has_not_ended_without_images() -> None:
    from datetime import UTC, datetime

    from dagster_gptimg.fal.types import HistoryItem

    now = datetime(2026, 11, 30, tzinfo=UTC)
    found = HistoryItem("id", "fal-ai/birefnet", now, now, 200, {"image_url": IMAGE}, {"image": FILE})
    assert not ended_without_images(found)
