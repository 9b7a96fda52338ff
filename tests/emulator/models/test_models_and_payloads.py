"""What fal publishes of its models; tags, lifecycles and headers of requests; payloads that are deleted."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from dagster_gptimg.emulator.models.models import MODELS
from dagster_gptimg.emulator.models.openapi import component
from tests.emulator.harness import ADMIN, ENDPOINT, Emulator, until
from tests.emulator.models.test_one_image import ONE_IMAGE

OPENAPI = "/api/openapi/queue/openapi.json"
ESTIMATE = "/v1/models/pricing/estimate"
EVENTS = "/v1/models/billing-events"


# -- OpenAPI


@pytest.mark.parametrize("endpoint_id", list(MODELS))
def test_a_document_is_complete(endpoint_id: str, quick: Emulator) -> None:
    document = httpx.get(f"{quick.url}{OPENAPI}", params={"endpoint_id": endpoint_id}).json()
    about = document["info"]["x-fal-metadata"]
    assert about["endpointId"] == endpoint_id
    from_images = "edit" in endpoint_id or endpoint_id in ONE_IMAGE
    assert about["category"] == ("image-to-image" if from_images else "text-to-image")
    assert document["servers"] == [{"url": quick.url}]
    schemas, name = document["components"]["schemas"], component(endpoint_id)
    post = document["paths"][f"/{endpoint_id}"]["post"]
    reference = post["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    assert reference == f"#/components/schemas/{name}Input"
    result = document["paths"][f"/{endpoint_id}/requests/{{request_id}}"]["get"]["responses"]["200"]
    assert result["content"]["application/json"]["schema"]["$ref"] == f"#/components/schemas/{name}Output"
    assert set(document["paths"]) == {
        f"/{endpoint_id}{rest}"
        for rest in ("", "/requests/{request_id}", "/requests/{request_id}/status", "/requests/{request_id}/cancel")
    }
    for target in _references(document):
        assert target.removeprefix("#/components/schemas/") in schemas


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if "$ref" in value else []
        return own + [found for item in value.values() for found in _references(item)]
    return [found for item in value for found in _references(item)] if isinstance(value, list) else []


def test_the_inputs_of_a_document(quick: Emulator) -> None:
    schemas = _schemas(quick, ENDPOINT)
    inputs = schemas["GptImage1MiniInput"]
    assert inputs["required"] == ["prompt"]
    assert inputs["x-fal-order-properties"] == list(inputs["properties"])
    assert inputs["properties"]["quality"] == {
        "title": "Quality",
        "description": "Quality for the generated image",
        "default": "auto",
        "type": "string",
        "enum": ["auto", "low", "medium", "high"],
    }
    number = inputs["properties"]["num_images"]
    assert [number[name] for name in ("type", "minimum", "maximum", "default")] == ["integer", 1, 4, 1]
    assert inputs["properties"]["sync_mode"]["default"] is False
    edit = _schemas(quick, "fal-ai/gpt-image-1.5/edit")["GptImage15EditInput"]
    assert edit["required"] == ["prompt", "image_urls"]
    assert edit["properties"]["image_urls"]["items"] == {"type": "string"}
    assert edit["properties"]["mask_image_url"]["type"] == "string"
    assert "default" not in edit["properties"]["mask_image_url"]


def test_a_size_is_a_preset_or_two_numbers(quick: Emulator) -> None:
    schemas = _schemas(quick, "openai/gpt-image-2")
    size = schemas["GptImage2Input"]["properties"]["image_size"]
    assert size["anyOf"][0] == {"$ref": "#/components/schemas/ImageSize"}
    assert "landscape_4_3" in size["anyOf"][1]["enum"]
    assert set(schemas["ImageSize"]["properties"]) == {"width", "height"}


def _schemas(emulator: Emulator, endpoint_id: str) -> dict[str, Any]:
    reply = emulator.http.get(OPENAPI, params={"endpoint_id": endpoint_id})
    return dict(reply.json()["components"]["schemas"])


def test_documents_in_the_list_of_models(quick: Emulator) -> None:
    params = {"endpoint_id": ENDPOINT, "expand": "openapi-3.0"}
    (model,) = quick.http.get("/v1/models", params=params).json()["models"]
    assert model["openapi"] == quick.http.get(OPENAPI, params={"endpoint_id": ENDPOINT}).json()
    assert "openapi" not in quick.http.get("/v1/models").json()["models"][0]
    assert quick.http.get(OPENAPI, params={"endpoint_id": "fal-ai/other"}).status_code == 404
    assert quick.http.get(OPENAPI).status_code == 400


# -- estimates


def test_estimates_by_units_and_by_calls(quick: Emulator) -> None:
    def estimate(kind: str, name: str, quantity: float, endpoint: str = ENDPOINT) -> Any:
        body = {"estimate_type": kind, "endpoints": {endpoint: {name: quantity}}}
        return quick.http.post(ESTIMATE, json=body).raise_for_status().json()

    assert estimate("unit_price", "unit_quantity", 250) == {
        "estimate_type": "unit_price",
        "total_cost": 250.0,
        "currency": "USD",
    }
    other = "fal-ai/gpt-image-1/edit-image"
    usual = estimate("historical_api_price", "call_quantity", 10, other)["total_cost"]
    assert usual == pytest.approx(0.6), "nobody has called it yet: a medium square and its reference"
    bill = quick.bill()
    for prompt in ("one", "two", "gore"):
        quick.finished(quick.submit(prompt, quality="medium", num_images=2))
    mini = [row for row in quick.bill()["rows"] if row["endpoint_id"] == ENDPOINT and row["cost_usd"] != "0.00"]
    mean = sum(float(row["cost_usd"]) for row in mini) / len(mini)
    assert len(quick.bill()["rows"]) == len(bill["rows"]) + 3
    assert estimate("historical_api_price", "call_quantity", 10)["total_cost"] == pytest.approx(10 * mean)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, 400),
        ([], 400),
        ({"estimate_type": "guess", "endpoints": {ENDPOINT: {"unit_quantity": 1}}}, 400),
        ({"estimate_type": "unit_price", "endpoints": {ENDPOINT: {"call_quantity": 1}}}, 400),
        ({"estimate_type": "unit_price", "endpoints": {ENDPOINT: {"unit_quantity": 0}}}, 400),
        ({"estimate_type": "unit_price", "endpoints": {ENDPOINT: {"unit_quantity": "x"}}}, 400),
        ({"estimate_type": "unit_price", "endpoints": {}}, 400),
        ({"estimate_type": "unit_price", "endpoints": {"fal-ai/other": {"unit_quantity": 1}}}, 404),
    ],
)
def test_bad_estimates(body: Any, code: int, quick: Emulator) -> None:
    assert quick.http.post(ESTIMATE, json=body).status_code == code


# -- tags and headers


def test_the_bill_shows_what_a_request_was_sent_with(quick: Emulator) -> None:
    headers = {
        "X-Fal-Queue-Priority": "low",
        "X-Fal-Request-Start-Timeout": "30",
        "X-Fal-Object-Lifecycle-Preference": '{"expiration_duration_seconds": 3600}',
        "X-Fal-Tags": "team=a,run=7",
        "x-app-fal-disable-fallback": "true",
    }
    row = quick.row(quick.submit("settings", headers=headers))
    assert row["headers"] == {name.lower(): value for name, value in headers.items()}
    assert row["tags"] == {"team": "a", "run": "7"}
    assert row["webhook"] is None
    assert "id:secret" not in str(row)
    plain = quick.row(quick.submit("none"))
    assert (plain["headers"], plain["tags"]) == ({}, {})


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a=1,b=x y=z", {"a": "1", "b": "x y=z"}),
        ("A=1,fal.a=2,=3,d=,e,f=4", {"f": "4"}),
        (f"{'k' * 65}=1,{'k' * 64}=1,v={'v' * 257}", {"k" * 64: "1"}),
        (",".join(f"k{n}=v" for n in range(12)), {f"k{n}": "v" for n in range(10)}),
        (f"a={'v' * 250},b={'v' * 250},c={'v' * 250},d={'v' * 250},e={'v' * 250}", None),
        ("tab=a\tb,ok=1", {"ok": "1"}),
    ],
)
def test_bad_tags_are_dropped_without_a_word(text: str, kept: dict[str, str] | None, quick: Emulator) -> None:
    row = quick.row(quick.submit("tagged", headers={"X-Fal-Tags": text}))
    if kept is None:
        assert list(row["tags"]) == ["a", "b", "c", "d"], "1024 bytes"
    else:
        assert row["tags"] == kept


def test_billing_events_by_tag(quick: Emulator) -> None:
    quick.set(tagged_billing=True)
    for tags in ("x.y=1,run=a", "x.y=1,run=b", "x.y=2,run=a", ""):
        quick.finished(quick.submit("tagged", headers={"X-Fal-Tags": tags} if tags else None))

    def events(**params: Any) -> list[dict[str, str]]:
        given = {"source": "tagged-billed", "limit": 4, **params}
        found = quick.http.get(EVENTS, params=given, headers=ADMIN).raise_for_status().json()["billing_events"]
        return [event["tags"] for event in found]

    assert events() == [{}, {"x.y": "2", "run": "a"}, {"x.y": "1", "run": "b"}, {"x.y": "1", "run": "a"}]
    assert events(tag="x.y=2") == [{"x.y": "2", "run": "a"}]
    assert events(tag=["x.y=1", "run=b"]) == [{"x.y": "1", "run": "b"}], "different keys: all of them"
    assert len(events(tag=["run=a", "run=b"])) == 3, "one key: any of its values"
    plain = quick.http.get(EVENTS, params={"limit": 1}, headers=ADMIN).json()["billing_events"]
    assert "tags" not in plain[0]


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"source": "tagged-billed"}, 403),
        ({"source": "other"}, 400),
        ({"tag": "a=1"}, 400),
        ({"source": "tagged-billed", "tag": "a"}, 400),
        ({"source": "tagged-billed", "tag": 'a"=1'}, 400),
    ],
)
def test_bad_questions_for_tags(params: dict[str, str], code: int, quick: Emulator) -> None:
    quick.set(tagged_billing="tag" in params)
    assert quick.http.get(EVENTS, params=params, headers=ADMIN).status_code == code


# -- lifecycles and deletions


def image_code(emulator: Emulator, handle: dict[str, Any]) -> int:
    return emulator.http.get(emulator.finished(handle).json()["images"][0]["url"]).status_code


@pytest.mark.parametrize(
    ("lifecycle", "code"),
    [
        ('{"expiration_duration_seconds": 0}', 404),
        ('{"expiration_duration_seconds": 3600}', 200),
        ('{"expiration_duration_seconds": null}', 200),
        ("{}", 404),
        (None, 404),
    ],
)
def test_files_end_when_the_request_or_the_account_says(lifecycle: str | None, code: int, quick: Emulator) -> None:
    quick.set(media_seconds=0.0)
    headers = {"X-Fal-Object-Lifecycle-Preference": lifecycle} if lifecycle else None
    handle = quick.submit("short-lived", headers=headers)
    assert image_code(quick, handle) == code
    settings = quick.http.get("/v1/storage/settings").json()
    assert settings["expiration_duration_seconds"] == 0.0
    quick.set(media_seconds=None)
    assert image_code(quick, handle) == (404 if lifecycle and '"expiration_duration_seconds": 0' in lifecycle else 200)


def test_files_end_on_time(quick: Emulator) -> None:
    quick.set(media_seconds=60.0)
    handle = quick.submit("soon")
    assert image_code(quick, handle) == 200
    quick.set(media_seconds=0.5)
    until(lambda: image_code(quick, handle) == 404)


@pytest.mark.parametrize(
    "text", ["1", "{", '{"expiration_duration_seconds": -1}', '{"expiration_duration_seconds": "1h"}']
)
def test_a_malformed_lifecycle_is_refused(text: str, quick: Emulator) -> None:
    reply = quick.post(headers={"X-Fal-Object-Lifecycle-Preference": text})
    assert (reply.status_code, reply.json()["error_type"]) == (400, "bad_request")


def test_payloads_are_deleted_for_good(quick: Emulator) -> None:
    handle = quick.submit("erase me", num_images=2)
    images = quick.finished(handle).json()["images"]
    url = f"/v1/models/requests/{handle['request_id']}/payloads"
    assert quick.http.delete(url).status_code == 403
    reply = quick.http.delete(url, headers=ADMIN)
    assert reply.json() == {"cdn_delete_results": [{"link": image["url"], "exception": None} for image in images]}
    assert quick.http.delete(url, headers=ADMIN).json() == reply.json()
    assert [quick.http.get(image["url"]).status_code for image in images] == [404, 404]
    assert quick.http.get(handle["response_url"]).status_code == 404
    (item,) = quick.history(request_id=handle["request_id"], expand="payloads")["items"]
    assert (item["status_code"], item["json_input"], item["json_output"]) == (200, None, None)
    assert quick.row(handle)["cost_usd"] == "0.02", "it stays on the bill"


def test_only_what_has_ended_can_be_deleted(quick: Emulator) -> None:
    quick.set(latency=60)
    for request_id in (quick.submit("runs")["request_id"], "00000000-0000-0000-0000-000000000000"):
        assert quick.http.delete(f"/v1/models/requests/{request_id}/payloads", headers=ADMIN).status_code == 404
