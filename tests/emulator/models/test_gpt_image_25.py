"""GPT Image 2.5: inputs, document, prices and results as fal's pages and recordings of it say."""

from __future__ import annotations

from typing import Any

import fal_client
import pytest

from tests.emulator.account.test_edits_and_storage import data_uri, ended
from tests.emulator.harness import Emulator
from tests.emulator.test_fal_client import _closing

ROOTS = ("openai/gpt-image-2.5/flare", "openai/gpt-image-2.5/sunburst")
SQUARE = {"image_size": {"width": 1024, "height": 1024}}


@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.parametrize(
    ("path", "arguments", "dollars"),
    [
        # Published: $0.00588, 0.01317, 0.05268, 0.09366, 0.21072, and the tokens of three words.
        ("text-to-image", {**SQUARE, "quality": "low"}, "0.006"),
        ("text-to-image", {**SQUARE, "quality": "medium"}, "0.0133"),
        ("text-to-image", {**SQUARE, "quality": "high"}, "0.0528"),
        ("text-to-image", {**SQUARE, "quality": "xhigh"}, "0.0938"),
        ("text-to-image", {**SQUARE, "quality": "max"}, "0.2108"),
        ("text-to-image", {**SQUARE, "quality": "low", "num_images": 10}, "0.0589"),
        ("text-to-image", {}, "0.0362"),  # high, 1024x768: $0.03612
        ("text-to-image", {"image_size": {"width": 3840, "height": 2160}, "quality": "max"}, "0.4004"),
        ("edit", {**SQUARE, "quality": "low"}, "0.0143"),  # seen: $0.0145, with a longer prompt
        ("edit", {}, "0.0611"),
    ],
)
def test_prices_are_rounded_up_to_a_hundredth_of_a_cent(
    root: str, path: str, arguments: dict[str, Any], dollars: str, quick: Emulator
) -> None:
    more = {"image_urls": [data_uri("red")]} if path == "edit" else {}
    result = ended(quick, f"{root}/{path}", {"prompt": "a red bag", **arguments, **more})
    assert float(quick.bill()["rows"][-1]["cost_usd"]) == float(dollars)
    assert float(result.headers["x-fal-billable-units"]) == pytest.approx(float(dollars))


@pytest.mark.parametrize(("reading", "dollars"), [("printed", "0.006"), ("always", "0.01"), ("never", "0.00594")])
def test_rounding_by_each_reading(reading: str, dollars: str, quick: Emulator) -> None:
    quick.set(rounding=reading)
    ended(quick, f"{ROOTS[0]}/text-to-image", {"prompt": "a red bag", **SQUARE, "quality": "low"})
    assert float(quick.bill()["rows"][-1]["cost_usd"]) == float(dollars)


@pytest.mark.parametrize("root", ROOTS)
def test_sizes_are_null_in_the_result_and_right_in_the_picture(root: str, quick: Emulator) -> None:
    result = ended(
        quick, f"{root}/text-to-image", {"prompt": "a red bag", **SQUARE, "quality": "low", "num_images": 10}
    )
    images = result.json()["images"]
    assert len(images) == 10
    assert {(image["file_size"], image["width"], image["height"]) for image in images} == {(None, None, None)}


@pytest.mark.parametrize(
    ("wrong", "name", "kind"),
    [
        ({"prompt": ""}, "prompt", "string_too_short"),
        ({"prompt": "x" * 32_001}, "prompt", "string_too_long"),
        ({"num_images": 11}, "num_images", "less_than_equal"),
        ({"quality": "ultra"}, "quality", "literal_error"),
        ({"background": "white"}, "background", "literal_error"),
        ({"output_compression": 101}, "output_compression", "less_than_equal"),
        ({"output_compression": -1}, "output_compression", "greater_than_equal"),
        ({"image_size": {"width": 1000, "height": 1000}}, "image_size", "multiple_of"),
        ({"image_size": "1024x1024"}, "image_size", "literal_error"),
    ],
)
def test_wrong_inputs_are_refused_and_free(wrong: dict[str, Any], name: str, kind: str, quick: Emulator) -> None:
    result = ended(quick, f"{ROOTS[0]}/text-to-image", {"prompt": "x", **wrong})
    assert result.status_code == 422
    assert [(entry["loc"][-1], entry["type"]) for entry in result.json()["detail"]] == [(name, kind)]
    assert quick.bill()["rows"][-1]["cost_usd"] == "0.00"


def test_what_is_not_known_is_taken_and_no_compression_may_be_null(quick: Emulator) -> None:
    more = {"output_compression": None, "output_format": "webp", "seed": 7}
    assert ended(quick, f"{ROOTS[0]}/text-to-image", {"prompt": "x", **SQUARE, **more}).status_code == 200
    assert ended(quick, f"{ROOTS[0]}/edit", {"prompt": "x"}).status_code == 422
    too_many = {"prompt": "x", "image_urls": [data_uri("red")] * 17}
    assert ended(quick, f"{ROOTS[0]}/edit", too_many).status_code == 422


def test_the_document_has_the_inputs_in_fals_order_with_their_bounds(quick: Emulator) -> None:
    endpoint_id = f"{ROOTS[1]}/text-to-image"
    document = quick.http.get("/api/openapi/queue/openapi.json", params={"endpoint_id": endpoint_id}).json()
    inputs = document["components"]["schemas"]["GptImage25SunburstTextToImageInput"]
    assert list(inputs["properties"]) == [
        *("prompt", "image_size", "background", "quality"),
        *("num_images", "output_format", "output_compression", "sync_mode"),
    ]
    assert (inputs["properties"]["prompt"]["minLength"], inputs["properties"]["prompt"]["maxLength"]) == (1, 32_000)
    number, nothing = inputs["properties"]["output_compression"]["anyOf"]
    assert (number["minimum"], number["maximum"], nothing) == (0, 100, {"type": "null"})
    assert inputs["properties"]["quality"]["default"] == "high"
    assert inputs["required"] == ["prompt"]


@pytest.mark.parametrize("root", ROOTS)
def test_fals_own_python_client_generates_and_edits(
    root: str, quick: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fal_client.client, "QUEUE_URL_FORMAT", f"{quick.url}/")
    asked = {"prompt": "a red bag", **SQUARE, "quality": "low"}
    with _closing(fal_client.SyncClient(key="id:secret")) as fal:
        handle = fal.submit(f"{root}/text-to-image", asked)
        assert f"/openai/gpt-image-2.5/requests/{handle.request_id}" in handle.status_url
        assert len(handle.get()["images"]) == 1
        assert fal.result(f"{root}/text-to-image", handle.request_id) == handle.get()
        edited = fal.subscribe(
            f"{root}/edit", {**asked, "image_urls": [data_uri("red")], "mask_url": data_uri("white")}
        )
        assert len(edited["images"]) == 1
    assert [row["endpoint_id"] for row in quick.bill()["rows"][-2:]] == [f"{root}/text-to-image", f"{root}/edit"]
