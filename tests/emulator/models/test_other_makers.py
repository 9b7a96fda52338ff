"""Google's, ByteDance's and Black Forest Labs' models: prices, units and results as fal's pages and recordings say."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import fal_client
import httpx
import pytest

from dagster_gptimg.emulator.models.models import MODELS
from tests.emulator.account.test_edits_and_storage import data_uri, ended
from tests.emulator.harness import Emulator
from tests.emulator.test_fal_client import _closing

PATHS = {
    "fal-ai/nano-banana-2": "fal-ai/nano-banana-2/edit",
    "fal-ai/nano-banana-pro": "fal-ai/nano-banana-pro/edit",
    "bytedance/seedream/v5/pro/text-to-image": "bytedance/seedream/v5/pro/edit",
    "bytedance/seedream/v5/lite/text-to-image": "bytedance/seedream/v5/lite/edit",
    "fal-ai/flux-2": "fal-ai/flux-2/edit",
    "fal-ai/flux-2-pro": "fal-ai/flux-2-pro/edit",
}
"""Endpoints, and those for their edits."""
NANO, PRO, SEEDREAM, LITE, FLUX, FLUX_PRO = PATHS
SMALL: dict[str, Any] = {"image_size": {"width": 512, "height": 512}}
LARGE: dict[str, Any] = {"image_size": {"width": 2048, "height": 2048}}
RED = "data:red"

BILLED: list[tuple[str, dict[str, Any], str, str]] = [
    (NANO, {}, "0.08", "1.0"),  # as it was recorded
    (NANO, {"resolution": "4K"}, "0.16", "2.0"),
    (NANO, {"resolution": "0.5K", "num_images": 2}, "0.12", "1.5"),
    (NANO, {"enable_web_search": True, "thinking_level": "high"}, "0.097", "1.2125"),
    (f"{NANO}/edit", {"image_urls": [RED]}, "0.08", "1.0"),
    (PRO, {"resolution": "4K", "num_images": 2}, "0.60", "4"),
    (f"{PRO}/edit", {"image_urls": [RED, RED]}, "0.15", "1"),
    (SEEDREAM, {"image_size": "square_hd"}, "0.135", "2.0"),  # as it was recorded
    (SEEDREAM, {"image_size": {"width": 1024, "height": 1024}}, "0.0675", "1.0"),
    (PATHS[SEEDREAM], {"image_size": "square", "image_urls": [RED, RED]}, "0.072", "1.066667"),
    (LITE, {"num_images": 3}, "0.105", "3"),
    (PATHS[LITE], {"image_urls": [RED]}, "0.035", "1"),
    (FLUX, {}, "0.012", "1"),
    (FLUX, {**LARGE, "num_images": 2}, "0.096", "8"),
    (PATHS[FLUX], {"image_urls": [RED]}, "0.024", "2"),
    (FLUX_PRO, {"image_size": {"width": 1920, "height": 1080}}, "0.045", "1.5"),
    (PATHS[FLUX_PRO], {"image_urls": [RED]}, "0.045", "1.5"),
]


@pytest.mark.parametrize(("endpoint_id", "arguments", "dollars", "units"), BILLED)
def test_units_times_their_price_are_what_is_billed(
    endpoint_id: str, arguments: dict[str, Any], dollars: str, units: str, quick: Emulator
) -> None:
    if "image_urls" in arguments:
        arguments = {**arguments, "image_urls": [data_uri("red") for _ in arguments["image_urls"]]}
    result = ended(quick, endpoint_id, {"prompt": "a red bag", **arguments})
    assert Decimal(quick.bill()["rows"][-1]["cost_usd"]) == Decimal(dollars)
    assert result.headers["x-fal-billable-units"] == units
    (price,) = quick.http.get("/v1/models/pricing", params={"endpoint_id": endpoint_id}).json()["prices"]
    assert Decimal(units) * Decimal(str(price["unit_price"])) == pytest.approx(
        Decimal(dollars), abs=Decimal("0.000001")
    )
    assert price["unit"] == ("images" if "flux" not in endpoint_id else price["unit"])


def test_every_endpoint_is_estimated(quick: Emulator) -> None:
    for endpoint_id in MODELS:
        body = {"estimate_type": "historical_api_price", "endpoints": {endpoint_id: {"call_quantity": 1}}}
        found = quick.http.post("/v1/models/pricing/estimate", json=body)
        assert (found.status_code, found.json()["total_cost"] > 0) == (200, True), endpoint_id


def test_results_are_those_of_public_recordings(quick: Emulator) -> None:
    def result(endpoint_id: str, **arguments: Any) -> dict[str, Any]:
        return dict(ended(quick, endpoint_id, {"prompt": "a red bag", **arguments}).json())

    nothing = {"file_size": None, "width": None, "height": None}
    for openai in ("fal-ai/gpt-image-1.5", "openai/gpt-image-2"):
        assert result(openai, quality="low")["images"][0].items() >= nothing.items()
    nano = result(NANO)
    assert nano["description"] == ""
    assert nano["images"][0].items() >= nothing.items()
    pro = result(SEEDREAM, image_size="square")
    assert set(pro) == {"images"}
    assert (pro["images"][0]["width"], pro["images"][0]["height"]) == (None, None)
    lite = result(LITE, image_size="square")
    assert set(lite) == {"images", "seed"}
    assert isinstance(lite["seed"], int)
    flux = result(FLUX, seed=7, num_images=2, **SMALL)
    assert (flux["seed"], flux["has_nsfw_concepts"], flux["prompt"]) == (7, [False, False], "a red bag")
    assert flux["timings"]["inference"] > 0
    assert set(result(FLUX_PRO, **SMALL)) == {"images", "seed"}


def images(quick: Emulator, endpoint_id: str, **arguments: Any) -> list[bytes]:
    found = ended(quick, endpoint_id, {"prompt": "a red bag", **arguments}).json()["images"]
    return [httpx.get(image["url"]).content for image in found]


def test_one_seed_gives_one_image_of_googles_models_and_several_of_others(quick: Emulator) -> None:
    for arguments, different in (({"seed": 7}, 1), ({}, 2)):
        found = images(quick, NANO, resolution="0.5K", num_images=2, **arguments)
        assert len(set(found)) == different
    assert len(set(images(quick, FLUX, seed=7, num_images=2, **SMALL))) == 2


def test_each_generation_may_give_several_images_and_each_is_billed(quick: Emulator) -> None:
    counts = set()
    for number in range(12):
        asked = {"prompt": f"a red bag, {number}", "num_images": 2, "max_images": 2, "image_size": "square"}
        result = ended(quick, LITE, asked)
        counts.add(count := len(result.json()["images"]))
        assert Decimal(result.headers["x-fal-billable-units"]) == count
    assert counts == {2, 3, 4}


def test_more_images_than_asked_for_are_billed(quick: Emulator) -> None:
    quick.fault("more_images", match="more than asked")
    result = ended(quick, LITE, {"prompt": "more than asked for", "num_images": 2, "max_images": 2})
    assert (len(result.json()["images"]), result.headers["x-fal-billable-units"]) == (5, "5")


@pytest.mark.parametrize(
    ("endpoint_id", "wrong", "name", "kind"),
    [
        (NANO, {"prompt": "ab"}, "prompt", "string_too_short"),
        (NANO, {"aspect_ratio": "7:3"}, "aspect_ratio", "literal_error"),
        (NANO, {"safety_tolerance": 4}, "safety_tolerance", "literal_error"),
        (NANO, {"seed": "x"}, "seed", "int_parsing"),
        (PRO, {"resolution": "0.5K"}, "resolution", "literal_error"),
        (SEEDREAM, {"num_images": 7}, "num_images", "less_than_equal"),
        (SEEDREAM, {**SMALL}, "image_size", "value_error"),
        (LITE, {"max_images": 7}, "max_images", "less_than_equal"),
        (FLUX, {"guidance_scale": 20.5}, "guidance_scale", "less_than_equal"),
        (FLUX, {"guidance_scale": "much"}, "guidance_scale", "float_parsing"),
        (FLUX, {"guidance_scale": True}, "guidance_scale", "float_type"),
        (FLUX, {"image_size": {"width": 500, "height": 512}}, "image_size", "greater_than_equal"),
        (FLUX_PRO, {"image_size": "auto"}, "image_size", "literal_error"),
    ],
)
def test_wrong_inputs_are_refused_and_free(
    endpoint_id: str, wrong: dict[str, Any], name: str, kind: str, quick: Emulator
) -> None:
    result = ended(quick, endpoint_id, {"prompt": "a red bag", **wrong})
    assert result.status_code == 422
    assert [(entry["loc"][-1], entry["type"]) for entry in result.json()["detail"]] == [(name, kind)]
    assert quick.bill()["rows"][-1]["cost_usd"] == "0.00"


@pytest.mark.parametrize("endpoint_id", PATHS)
def test_fals_own_python_client_generates_and_edits(
    endpoint_id: str, quick: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fal_client.client, "QUEUE_URL_FORMAT", f"{quick.url}/")
    app = "/".join(endpoint_id.split("/")[:2])
    with _closing(fal_client.SyncClient(key="id:secret")) as fal:
        handle = fal.submit(endpoint_id, {"prompt": "a red bag"})
        assert f"/{app}/requests/{handle.request_id}" in handle.status_url
        assert len(handle.get()["images"]) == 1
        assert fal.result(endpoint_id, handle.request_id) == handle.get()
        edited = fal.subscribe(PATHS[endpoint_id], {"prompt": "a red bag", "image_urls": [data_uri("red")]})
        assert len(edited["images"]) == 1
    assert [row["endpoint_id"] for row in quick.bill()["rows"][-2:]] == [endpoint_id, PATHS[endpoint_id]]
