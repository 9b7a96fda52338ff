"""Endpoints that the registry does not know, by fal's OpenAPI document of them. The documents are in fal's shape."""

from __future__ import annotations

import json
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from dagster_gptimg.engine.plan.request_keys import request_key
from dagster_gptimg.errors import ArgumentsError, ReadError, UsageError
from dagster_gptimg.fal.registry.builtin import all_models, get_model, model_at
from dagster_gptimg.fal.registry.model import FalModel
from dagster_gptimg.fal.registry.price_formulas import per_image, unknown_price
from tests.fal.scripted import Connection, client, scripted
from tests.support import ROOT

DOCUMENTS = ROOT / "tests" / "fixtures" / "openapi"


def text(name: str) -> str:
    return (DOCUMENTS / f"{name}.json").read_text(encoding="utf-8")


def document(name: str) -> dict[str, Any]:
    return dict(json.loads(text(name)))


PAINTER = FalModel.from_openapi(text("painter"), price=per_image("0.03"))
RETOUCH = FalModel.from_openapi(document("retouch"), price=unknown_price, name="retouch")


def test_a_document_makes_a_model() -> None:
    assert (PAINTER.name, PAINTER.endpoint) == ("studio/painter/v2", "studio/painter/v2")
    assert (RETOUCH.name, RETOUCH.endpoint) == ("retouch", "studio/retouch")
    assert PAINTER.max_images_per_request == 3
    assert PAINTER.key_defaults == {
        "image_size": "landscape_4_3",
        "style": "natural",
        "steps": 8,
        "guidance_scale": 3.5,
        "num_inference_steps": 28,
        "negative_prompt": "",
        "loras": [],
        "enable_safety_checker": True,
        "sync_mode": False,
        "num_images": 1,
        "output_format": "jpeg",
    }
    assert (PAINTER.required, PAINTER.reference_inputs) == ((), ("image_urls",))
    assert (RETOUCH.required, RETOUCH.reference_inputs) == (("image_url", "mode"), ("image_url", "mask_url"))
    assert (PAINTER.main_reference, RETOUCH.main_reference) == ("image_urls", "image_url")
    assert PAINTER.cost({"num_images": 3}).high == Decimal("0.09")


def test_an_entry_of_the_model_list_holds_the_same_document() -> None:
    entry = {"endpoint_id": "studio/painter/v2", "metadata": {"status": "active"}, "openapi": document("painter")}
    assert FalModel.from_openapi(entry, price=unknown_price).key_digest == PAINTER.key_digest


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"image_size": "square"}, "square"),
        ({"image_size": "1024x768"}, {"width": 1024, "height": 768}),
        ({"image_size": {"width": 640, "height": 480}}, {"width": 640, "height": 480}),
        ({"style": "vivid"}, "vivid"),
        ({"steps": "16"}, 16),
        ({"steps": 4}, 4),
        ({"guidance_scale": "2.5"}, 2.5),
        ({"num_inference_steps": "50"}, 50),
        ({"seed": 7.0}, 7),
        ({"image_urls": "https://example.com/a.png"}, ["https://example.com/a.png"]),
        ({"image_urls": '["a.png", "b.png"]'}, ["a.png", "b.png"]),
        ({"loras": '[{"path": "x", "scale": "0.5"}]'}, [{"path": "x", "scale": 0.5}]),
        ({"enable_safety_checker": "False"}, False),
        ({"num_images": "7"}, 7),
        ({"schema": "x"}, "x"),
        ({"prompt": " abc "}, " abc "),
    ],
)
def test_cells_take_their_types(given: dict[str, Any], found: Any) -> None:
    assert PAINTER.check(given) == dict.fromkeys(given, found)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"prompt": "ab"}, "at least 3 characters"),
        ({"prompt": "    "}, "the prompt is empty"),
        ({"image_size": "huge"}, "'huge' is not one of square_hd, square, portrait_4_3, landscape_4_3"),
        ({"image_size": {"width": 0, "height": 9}}, "width: 0: input should be greater than 0"),
        ({"image_size": {"width": 9, "height": 0}}, "height: 0: input should be greater than 0"),
        ({"image_size": {"width": 9, "height": 9, "depth": 9}}, "depth: 9: extra inputs are not permitted"),
        ({"style": "Vivid"}, "did you mean vivid?"),
        ({"steps": "5"}, "'5' is not one of 4, 8, 16"),
        ({"guidance_scale": 21}, "less than or equal to 20"),
        ({"guidance_scale": True}, "this is not a number"),
        ({"num_inference_steps": 0}, "greater than or equal to 1"),
        ({"seed": "1_0"}, "this is not a whole number"),
        ({"seed": True}, "this is not a whole number"),
        ({"seed": 1, "num_images": 4}, "would make the same images: ask for at most 3"),
        ({"image_urls": ["x"] * 5}, "at most 4 items"),
        ({"image_urls": [""]}, "not empty"),
        ({"loras": [{"scale": 1}]}, "path: "),
        ({"negative_prompt": "x" * 501}, "at most 500 characters"),
        ({"output_format": "webp"}, "'webp' is not one of jpeg, png"),
        ({"sync_mode": True}, "Set without_guarantee"),
        ({"quality": "low"}, "studio/painter/v2 does not have this input"),
    ],
)
def test_what_fal_would_refuse_is_told_once(given: dict[str, Any], why: str) -> None:
    with pytest.raises(ArgumentsError) as caught:
        PAINTER.check(given)
    assert len(caught.value.problems) == 1
    assert why in str(caught.value)


def test_what_an_endpoint_needs_must_be_given() -> None:
    RETOUCH.demand_required({"image_url": "x", "mode": "erase"})
    with pytest.raises(ArgumentsError) as caught:
        RETOUCH.demand_required(RETOUCH.check({"prompt": "x"}))
    assert dict(caught.value.problems) == {
        "image_url": "studio/retouch edits images, but the row has none: name at least one reference image",
        "mode": "studio/retouch requires this input: give it for all rows, or in a column of this name",
    }


def test_its_own_document_makes_the_registrys_model() -> None:
    """The same inputs, the same defaults, the same keys: written from fal's page, and read from fal's schema."""
    own = get_model("gpt-image-1-mini")
    read = FalModel.from_openapi(text("gpt-image-1-mini"), price=own.price)
    assert dict(read.key_defaults) == dict(own.key_defaults)
    assert read.max_images_per_request == own.max_images_per_request
    for given in ({"quality": "low", "num_images": "6"}, {"image_size": "1024x1536", "background": "opaque"}):
        assert read.check(given) == own.check(given)
        asked = {"prompt": "x", **own.check(given)}
        assert request_key(read, asked, 0) == request_key(own, asked, 0)
    wrongs: list[dict[str, Any]] = [
        {"quality": "hihg"},
        {"num_images": 0},
        {"image_size": "1x1"},
        {"imge_size": "auto"},
    ]
    for wrong in [*wrongs, {"background": "transparent", "output_format": "jpeg"}]:
        told = []
        for model in (own, read):
            with pytest.raises(ArgumentsError) as caught:
                model.check(wrong)
            told.append(str(caught.value).replace(model.name, "it"))
        assert told[0] == told[1]


def test_a_document_that_cannot_be_used_is_told() -> None:
    with pytest.raises(UsageError, match="not an OpenAPI document of the kind that fal writes"):
        FalModel.from_openapi({"openapi": "3.0.4"}, price=unknown_price)
    with pytest.raises(UsageError, match="not an OpenAPI document of the kind that fal writes"):
        FalModel.from_openapi("<html>", price=unknown_price)
    broken = document("painter")
    broken["components"]["schemas"].pop("PromptField")
    with pytest.raises(UsageError, match="PromptField"):
        FalModel.from_openapi(broken, price=unknown_price)
    mute = document("painter")
    mute["components"]["schemas"]["PainterV2Input"]["properties"].pop("prompt")
    with pytest.raises(UsageError, match="takes neither a prompt nor an image"):
        FalModel.from_openapi(mute, price=unknown_price)
    film = document("painter")
    film["components"]["schemas"]["PainterV2Output"]["properties"] = {"video": {"type": "object"}}
    with pytest.raises(UsageError, match="returns neither `images` nor an `image`"):
        FalModel.from_openapi(film, price=unknown_price)


def test_a_schema_that_refers_to_itself_ends() -> None:
    endless = document("painter")
    schemas = endless["components"]["schemas"]
    schemas["LoraWeight"]["properties"]["next"] = {
        "anyOf": [{"$ref": "#/components/schemas/LoraWeight"}, {"type": "null"}]
    }
    model = FalModel.from_openapi(endless, price=unknown_price)
    assert model.check({"loras": [{"path": "a", "next": {"path": "b"}}]})


def test_a_newer_document_with_other_defaults_is_another_recipe() -> None:
    newer = document("painter")
    newer["components"]["schemas"]["PainterV2Input"]["properties"]["style"]["default"] = "vivid"
    assert FalModel.from_openapi(newer, price=unknown_price).key_digest != PAINTER.key_digest
    larger = document("painter")
    larger["components"]["schemas"]["PainterV2Input"]["properties"]["num_images"]["maximum"] = 4
    assert FalModel.from_openapi(larger, price=unknown_price).key_digest != PAINTER.key_digest


def with_input(name: str, schema: dict[str, Any] | None) -> FalModel:
    """The model of a document in which one input is another one, or is left out."""
    made = document("gpt-image-2.6")
    inputs = made["components"]["schemas"]["GptImage26Input"]["properties"]
    inputs.pop(name) if schema is None else inputs.update({name: schema})
    return FalModel.from_openapi(made, price=per_image("0.05"))


@pytest.mark.parametrize(
    ("schema", "most"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 10, "default": 1}, 10),
        ({"anyOf": [{"type": "integer", "minimum": 1, "maximum": 6}, {"type": "null"}], "default": 1}, 6),
        ({"type": "integer", "minimum": 1, "maximum": 9_999}, 1000),
        ({"type": "integer", "minimum": 1, "default": 1}, 1),
        ({"type": "integer", "enum": [1, 2, 4], "default": 1}, 1),
        (None, 1),
    ],
)
def test_a_request_has_one_image_unless_the_document_names_a_larger_number(
    schema: dict[str, Any] | None, most: int
) -> None:
    assert with_input("num_images", schema).max_images_per_request == most


def test_a_size_of_two_numbers_is_width_and_height_and_one_purchase_however_written() -> None:
    size = document("gpt-image-2.6")["components"]["schemas"]["GptImage26Input"]["properties"]["image_size"]
    default = with_input("image_size", {**size, "default": {"height": 2048, "width": 2048}})
    written = ("2048x2048", '{"width": 2048, "height": 2048}', {"height": 2048, "width": 2048}, None)
    keys = {request_key(default, {"prompt": "x", **default.check({"image_size": one})}, 0) for one in written}
    assert len(keys) == 1
    assert default.asked_size({}) == (2048, 2048)
    named = with_input("image_size", {"anyOf": [*size["anyOf"], {"type": "string", "enum": ["1024x1024"]}]})
    assert named.check({"image_size": "1024x1024"}) == {"image_size": "1024x1024"}
    assert named.check({"image_size": "1024x768"}) == {"image_size": {"width": 1024, "height": 768}}


def test_a_price_that_nobody_knows_is_no_price() -> None:
    price = RETOUCH.cost({"num_images": 4})
    assert not price.is_known
    assert str(price) == "an unknown price"


def test_the_model_behind_an_endpoint_is_found_whatever_the_run_is_about() -> None:
    mini, other = get_model("gpt-image-1-mini"), get_model("gpt-image-2")
    assert model_at("fal-ai/gpt-image-1-mini/edit", mini) is mini
    assert model_at("fal-ai/gpt-image-1-mini/edit", other) is mini.edit
    assert model_at(RETOUCH.endpoint, RETOUCH) is RETOUCH
    assert not model_at("gone/for-good", mini).cost({}).is_known


async def test_the_client_fetches_a_document_and_what_fal_says_of_a_model() -> None:
    async def fal(connection: Connection) -> None:
        while True:
            path = (await connection.request()).split()[1].decode()
            entry: dict[str, Any] = {"endpoint_id": "studio/painter/v2", "metadata": {"status": "deprecated"}}
            if "expand=openapi-3.0" in path:
                entry["openapi"] = document("painter")
            if "nothing" in path:
                entry = {"endpoint_id": "studio/nothing", "openapi": {"error": {"code": "expansion_failed"}}}
            body = json.dumps({"models": [entry], "next_cursor": None, "has_more": False}).encode()
            await connection.reply(200, body, "Content-Type: application/json")

    async with scripted(fal) as server, client(server.url) as asked:
        assert await asked.openapi("studio/painter/v2") == document("painter")
        assert await asked.statuses(["studio/painter/v2", "studio/b"]) == {"studio/painter/v2": "deprecated"}
        assert await asked.statuses(["studio/nothing"]) == {}
        with pytest.raises(ReadError, match="no OpenAPI document for studio/nothing"):
            await asked.openapi("studio/nothing")
    first = server.requests[1].split()[1]
    assert first == b"/v1/models?endpoint_id=studio/painter/v2&endpoint_id=studio/b"


def test_a_model_that_ends_is_told_from_sixty_days_before() -> None:
    for model in all_models():
        if model.sunset is None:
            assert model.notice(date(2030, 1, 1)) is None
            continue
        assert model.notice(model.sunset - timedelta(days=61)) is None
        near, after = model.notice(model.sunset - timedelta(days=60)), model.notice(model.sunset)
        assert near is not None
        assert after is not None
        assert f"{model.name} ends on {model.sunset} according to its maker's page; move to {model.successor}" in near
        assert f"ended on {model.sunset}" in after
    told = get_model("gpt-image-2").notice(date(2026, 1, 1), ["active", "deprecated"])
    assert told == "gpt-image-2 is deprecated at fal; choose another model"
    both = get_model("gpt-image-1-mini").notice(date(2026, 11, 25), ["deprecated"])
    assert both is not None
    assert "is deprecated at fal and ends on 2026-12-01" in both


def test_schemas_that_refer_to_one_another_are_refused_and_not_followed_for_ever() -> None:
    loops: list[dict[str, Any]] = [
        {"A": {"$ref": "#/components/schemas/A"}},
        {"A": {"allOf": [{"$ref": "#/components/schemas/B"}]}, "B": {"allOf": [{"$ref": "#/components/schemas/A"}]}},
        {"A": {"anyOf": [{"$ref": "#/components/schemas/A"}, {"type": "null"}]}},
        {f"N{n}": {"allOf": [{"$ref": f"#/components/schemas/N{n + 1}"}] * 9} for n in range(40)}
        | {"A": {"$ref": "#/components/schemas/N0"}, "N40": {"type": "string"}},
    ]
    for schemas in loops:
        made = document("painter")
        made["components"]["schemas"] |= schemas
        [post] = [at["post"] for at in made["paths"].values() if "post" in at]
        post["requestBody"]["content"]["application/json"]["schema"] = {"$ref": "#/components/schemas/A"}
        with pytest.raises(UsageError, match="not an OpenAPI document"):
            FalModel.from_openapi(made, price=per_image("0.03"))


@pytest.mark.parametrize("most", [0, -4, "none", None, float("nan"), float("inf"), [], {}])
def test_an_endpoint_that_gives_no_images_is_refused(most: object) -> None:
    made = document("painter")
    for schema in made["components"]["schemas"].values():
        if "num_images" in schema.get("properties", {}):
            schema["properties"]["num_images"]["maximum"] = most
    with pytest.raises(UsageError):
        FalModel.from_openapi(made, price=per_image("0.03"))
