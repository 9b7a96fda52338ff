"""Each open question of fal's documents, in its other positions: what goes over the wire then."""

from __future__ import annotations

import dataclasses
import json
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import httpx
import pytest

from dagster_gptimg.emulator.open_questions import Readings
from dagster_gptimg.emulator.settings import Settings
from tests.emulator.account.test_edits_and_storage import EDIT, data_uri, picture
from tests.emulator.harness import ADMIN, ENDPOINT, Emulator, until

BLOCKED = {"slots": 1, "latency": 60}


def history(emulator: Emulator, handle: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    return list(emulator.history(request_id=handle["request_id"], expand="payloads", **more)["items"])


@pytest.mark.parametrize("code", [200, 201, 202])
def test_submit_code(code: int, quick: Emulator) -> None:
    quick.set(submit_code=code)
    assert quick.post().status_code == code


def test_wrong_inputs_are_refused_by_the_post_itself(quick: Emulator) -> None:
    before = quick.bill()["rows"]
    quick.set(validates_at_submit=True)
    reply = quick.post(quality="best")
    assert (reply.status_code, reply.json()["detail"][0]["type"]) == (422, "literal_error")
    assert quick.bill()["rows"] == before
    assert quick.post().status_code == 200


def test_urls_with_the_full_id(quick: Emulator) -> None:
    quick.set(full_id_urls=True)
    handle = quick.http.post(f"/{EDIT}", json={"prompt": "x", "image_urls": [data_uri("red")]}).json()
    one = f"{quick.url}/{EDIT}/requests/{handle['request_id']}"
    assert [handle[name] for name in ("response_url", "status_url", "cancel_url")] == [
        f"{one}/response",
        f"{one}/status",
        f"{one}/cancel",
    ]
    assert quick.finished(handle).json()["images"]
    assert quick.status(handle)["response_url"] == f"{one}/response"


def test_bodies_of_401(quick: Emulator) -> None:
    def body() -> Any:
        return httpx.post(f"{quick.url}/{ENDPOINT}", json={}, headers={"Authorization": "Key bad"}).json()

    assert body() == {"detail": "No user found for Key ID and Secret"}
    quick.set(unauthorized="word")
    assert body() == {"detail": "Unauthorized"}


def test_retry_hints(quick: Emulator) -> None:
    quick.set(faults={"submit_429": 1.0})
    assert quick.post().headers["x-fal-needs-retry"] == "1"
    assert "retry-after" not in quick.post().headers
    quick.set(retry_hint="X-Fal-Retryable", retry_after=7)
    reply = quick.post()
    assert (reply.headers["x-fal-retryable"], reply.headers["retry-after"]) == ("true", "7")
    assert "x-fal-needs-retry" not in reply.headers
    quick.set(faults={"submit_500": 1.0})
    assert quick.post().headers["x-fal-retryable"] == "false"
    quick.set(faults={"failed_runner": 1.0})
    assert quick.finished(quick.submit()).headers["x-fal-retryable"] == "true"
    quick.set(faults={})
    assert "x-fal-retryable" not in quick.finished(quick.submit("gore")).headers


def test_a_status_may_tell_model_errors(quick: Emulator) -> None:
    handle = quick.submit("gore")
    quick.finished(handle)
    assert "error" not in quick.status(handle)
    quick.set(status_tells_model_errors=True)
    assert quick.status(handle)["error_type"] == "content_policy_violation"
    assert quick.status(handle)["error"]


def test_a_result_asked_for_too_early(quick: Emulator) -> None:
    quick.set(**BLOCKED)
    handle = quick.submit()
    reply = quick.http.get(handle["response_url"])
    assert (reply.status_code, reply.json()) == (400, {"detail": "Request is still in progress"})
    quick.set(result_before_end=202)
    reply = quick.http.get(handle["response_url"])
    assert (reply.status_code, reply.json()["status"]) == (202, "IN_PROGRESS")


@pytest.mark.parametrize(
    ("reading", "status", "result"), [("not_found", 404, 404), ("gone", 410, 410), ("completed", 200, 404)]
)
def test_what_has_expired(reading: str, status: int, result: int, quick: Emulator) -> None:
    quick.set(expired=reading)
    handle = quick.submit()
    quick.finished(handle)
    quick.set(stored_seconds=0.0)
    assert quick.http.get(handle["status_url"]).status_code == status
    assert quick.http.get(handle["response_url"]).status_code == result
    unknown = f"/{ENDPOINT}/requests/00000000-0000-0000-0000-000000000000"
    assert quick.http.get(unknown).status_code == 404


@pytest.mark.parametrize(
    ("reading", "code", "body"),
    [
        ("OK", 200, {"status": "OK"}),
        ("CANCELLATION_REQUESTED", 202, {"status": "CANCELLATION_REQUESTED"}),
        ("success", 200, {"success": True}),
    ],
)
def test_answers_to_a_cancel_in_the_queue(reading: str, code: int, body: dict[str, Any], quick: Emulator) -> None:
    quick.set(**BLOCKED, cancel_answer=reading)
    quick.submit("in front")
    handle = quick.submit()
    reply = quick.http.put(handle["cancel_url"])
    assert (reply.status_code, reply.json()) == (code, body)
    assert quick.row(handle)["outcome"] == "cancelled"
    assert quick.http.put(handle["cancel_url"]).json() == {"status": "ALREADY_COMPLETED"}


@pytest.mark.parametrize(("billed", "dollars"), [(True, "0.01"), (False, "0.00")])
def test_a_stopped_request_is_billed_or_not(quick: Emulator, dollars: str, *, billed: bool) -> None:
    quick.set(**BLOCKED, cancel_stops_running=True, stopped_billed=billed)
    handle = quick.submit()
    quick.http.put(handle["cancel_url"])
    assert quick.row(handle)["cost_usd"] == dollars


def test_errors_as_text(quick: Emulator) -> None:
    quick.set(error_details="text")
    refused, invalid = quick.finished(quick.submit("gore")), quick.finished(quick.submit(quality="best"))
    assert "content checker" in refused.json()["detail"]
    assert invalid.json()["detail"][0]["type"] == "literal_error", "the schema's errors are FastAPI's own"


def test_downstream_errors(quick: Emulator) -> None:
    quick.fault("failed_downstream", match="down")
    handle = quick.submit("down")
    assert quick.finished(handle).status_code == 500
    quick.set(downstream_error_code=400)
    reply = quick.finished(handle)
    assert (reply.status_code, reply.json()["detail"][0]["type"]) == (400, "downstream_service_error")
    assert quick.row(handle)["cost_usd"] == "0.00"
    assert history(quick, handle)[0]["status_code"] == 400
    assert history(quick, handle, status="user_error")
    assert not history(quick, handle, status="error")


@pytest.mark.parametrize(("reading", "good", "bad"), [("all", True, True), ("successes", True, False), ("none",) * 3])
def test_units(reading: str, good: object, bad: object, quick: Emulator) -> None:
    quick.set(units_told=reading)
    for prompt, told in (("a cat", good), ("gore", bad)):
        reply = quick.finished(quick.submit(prompt))
        assert ("x-fal-billable-units" in reply.headers) is (told is True)


def test_retries_are_billed_or_not(quick: Emulator) -> None:
    quick.set(requeue_seconds=0.02)
    for billed, dollars in ((False, "0.01"), (True, "0.02")):
        quick.set(retries_billed=billed)
        quick.fault("requeue", match="again")
        handle = quick.submit("again")
        assert quick.finished(handle).headers["x-fal-billable-units"] == dollars
        assert quick.row(handle)["cost_usd"] == dollars


@pytest.mark.parametrize(
    ("reading", "mini", "newer"),
    [("printed", "0.01", "0.00904"), ("always", "0.01", "0.01"), ("never", "0.005016", "0.00904")],
)
def test_rounding(reading: str, mini: str, newer: str, quick: Emulator) -> None:
    quick.set(rounding=reading)
    arguments = {"prompt": "a cat", "quality": "low", "image_size": "1024x1024"}
    for endpoint, dollars in ((ENDPOINT, mini), ("fal-ai/gpt-image-1.5", newer)):
        handle = quick.http.post(f"/{endpoint}", json=arguments).json()
        assert quick.row(handle)["cost_usd"] == dollars
        assert Decimal(quick.finished(handle).headers["x-fal-billable-units"]) == Decimal(dollars)


@pytest.mark.parametrize(
    ("quality", "size", "dollars"),
    [("low", "1024x1024", "0.01"), ("medium", "1536x1024", "0.02"), ("high", "1024x1536", "0.06")],
)
def test_what_auto_is_billed_as(quality: str, size: str, dollars: str, quick: Emulator) -> None:
    quick.set(auto_quality=quality, auto_size=size)
    assert quick.row(quick.submit(quality="auto", image_size="auto"))["cost_usd"] == dollars
    assert quick.row(quick.submit())["cost_usd"] == "0.01", "what is said counts as it is said"


def test_the_history_of_what_waits(quick: Emulator) -> None:
    quick.set(**BLOCKED)
    running, waiting = quick.submit("runs"), quick.submit("waits")
    quick.set(history_queued=True)
    assert history(quick, running) == []
    (item,) = history(quick, waiting)
    assert (item["ended_at"], item["status_code"], item["started_at"]) == (None, None, item["sent_at"])
    quick.set(history_in_progress=True)
    assert len(history(quick, running)) == len(history(quick, waiting)) == 1


def test_the_time_of_the_history(quick: Emulator) -> None:
    quick.set(latency=0.2)
    handle = quick.submit()
    quick.finished(handle)
    (item,) = history(quick, handle)
    assert len(history(quick, handle, start=item["ended_at"])) == 1
    quick.set(history_time="sent")
    assert history(quick, handle, start=item["ended_at"]) == []
    assert history(quick, handle, end=item["ended_at"], start=item["sent_at"]) == [item]


def test_the_inputs_of_the_history(quick: Emulator) -> None:
    given = {"prompt": "x", "quality": "low", "image_urls": [data_uri("red")]}
    handle = quick.http.post(f"/{EDIT}", json=given).json()
    quick.finished(handle)

    def shown() -> dict[str, Any]:
        page = quick.history(endpoint_id=EDIT, request_id=handle["request_id"], expand="payloads")
        return dict(page["items"][0]["json_input"])

    assert shown() == given
    quick.set(history_input="processed")
    processed = shown()
    (url,) = processed.pop("image_urls")
    assert processed == {
        "prompt": "x",
        "quality": "low",
        "image_size": "auto",
        "background": "auto",
        "num_images": 1,
        "output_format": "png",
        "sync_mode": False,
    }
    file = httpx.get(url)
    assert url.startswith(f"{quick.url}/files/")
    assert (file.status_code, file.headers["content-type"]) == (200, "image/png")
    assert file.content == picture("red")
    assert shown()["image_urls"] == [url]


def test_billing_events_may_be_late(quick: Emulator) -> None:
    quick.set(billing_lag=60.0)
    handle = quick.submit("late")
    quick.finished(handle)

    def events() -> Any:
        params = {"request_id": handle["request_id"]}
        return quick.http.get("/v1/models/billing-events", params=params, headers=ADMIN).json()["billing_events"]

    assert events() == []
    quick.set(billing_lag=0.2)
    until(events)


def test_every_reading_is_explained() -> None:
    page = (Path(__file__).parents[2] / "docs" / "emulator.md").read_text()
    rows = [line.split("|")[1:3] for line in page.splitlines() if line.startswith("| `")]
    told = {name.strip(" `"): positions.split(",") for name, positions in rows}
    fields = {field.name: field.default for field in dataclasses.fields(Readings)}
    assert fields.keys() <= told.keys()
    for name, default in fields.items():
        shown = json.dumps(default) if isinstance(default, bool | float | None) else str(default)
        assert told[name][0].strip(" `") == shown.removesuffix(".0"), "the default comes first"
        kind = get_type_hints(Readings)[name]
        if get_origin(kind) is Literal:
            assert {position.strip(" `") for position in told[name]} == {str(value) for value in get_args(kind)}


def test_every_reading_is_checked() -> None:
    hints = get_type_hints(Readings)
    assert set(hints) == {field.name for field in dataclasses.fields(Readings)}
    for name, kind in hints.items():
        if get_origin(kind) is Literal:
            assert len(get_args(kind)) > 1
        with pytest.raises(ValueError, match=name):
            Settings().changed({name: "nonsense"})
