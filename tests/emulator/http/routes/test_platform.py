"""The platform API: history, prices, models."""

from __future__ import annotations

from typing import Any

import pytest

from tests.emulator.conftest import Start
from tests.emulator.harness import ENDPOINT, Emulator, until

HISTORY = "/v1/models/requests/by-endpoint"


@pytest.fixture(scope="module")
def many(start_shared: Start) -> Emulator:
    """25 ended requests: 20 good, 5 refused."""
    emulator = start_shared(latency=0.02, slots=3)
    handles = [emulator.submit(f"{'gore' if n % 5 == 0 else 'number'} {n}") for n in range(25)]
    for handle in handles:
        emulator.finished(handle)
    return emulator


def _walk(emulator: Emulator, **params: Any) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    while True:
        page = emulator.history(**params)
        items += page["items"]
        assert len(items) <= 25, "pages overlap"
        assert page["has_more"] == (page["next_cursor"] is not None)
        if not page["has_more"]:
            return items
        assert len(page["items"]) == params["limit"]
        params["cursor"] = page["next_cursor"]


@pytest.mark.parametrize("limit", [1, 10, 25, 100])
@pytest.mark.parametrize("sort_by", ["ended_at", "duration"])
def test_pages(limit: int, sort_by: str, many: Emulator) -> None:
    items = _walk(many, limit=limit, sort_by=sort_by)
    assert len({item["request_id"] for item in items}) == len(items) == 25
    keys = [item[sort_by] for item in items]
    assert keys == sorted(keys, reverse=True)


def test_new_requests_do_not_shift_pages(start: Start) -> None:
    emulator = start(latency=0.01)
    for number in range(4):
        emulator.finished(emulator.submit(f"number {number}"))
    first = emulator.history(limit=2)
    emulator.finished(emulator.submit("in between"))
    second = emulator.history(limit=2, cursor=first["next_cursor"])
    assert len({item["request_id"] for item in first["items"] + second["items"]}) == 4


def test_an_item(many: Emulator) -> None:
    plain, full = many.history(limit=1)["items"][0], many.history(limit=1, expand="payloads")["items"][0]
    assert set(plain) == {
        "request_id",
        "endpoint_id",
        "started_at",
        "sent_at",
        "ended_at",
        "status_code",
        "duration",
    }
    assert set(full) - set(plain) == {"json_input", "json_output"}
    assert full["json_input"]["quality"] == "low"
    assert full["json_output"]["images"][0]["url"].startswith(many.url)


def test_filters(many: Emulator) -> None:
    everything = many.history(limit=100)["items"]
    assert len(many.history(status="success")["items"]) == 20
    refused = many.history(status="user_error")["items"]
    assert [item["status_code"] for item in refused] == [422] * 5
    assert many.history(status="error")["items"] == []
    one = everything[7]
    assert many.history(request_id=one["request_id"])["items"] == [one]
    start = many.history(start=one["ended_at"], limit=100)["items"]
    end = many.history(end=one["ended_at"], limit=100)["items"]
    assert start == everything[:8]
    assert end == everything[8:]
    assert many.history(start="2020-01-01", end="2020-01-02")["items"] == []
    assert len(many.history(endpoint_id=f"fal-ai/other,{ENDPOINT}", limit=100)["items"]) == 25
    assert many.history(endpoint_id="fal-ai/other")["items"] == []


def test_what_is_told_can_be_asked_for(many: Emulator) -> None:
    for item in many.history(limit=100)["items"]:
        one = many.history(request_id=item["request_id"], start=item["ended_at"])["items"]
        assert one == [item], "`start` is inclusive, to the microsecond"


def test_offsets_in_queries(many: Emulator) -> None:
    moment = many.history(limit=10)["items"][-1]["ended_at"].replace("Z", "+00:00")
    quoted = many.history(start=moment, limit=100)["items"]
    raw = many.http.get(f"{HISTORY}?endpoint_id={ENDPOINT}&limit=100&start={moment}").json()["items"]
    assert quoted == raw
    assert len(raw) == 10


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"endpoint_id": [f"owner/app{n}" for n in range(51)]},
        {"endpoint_id": ENDPOINT, "limit": "0"},
        {"endpoint_id": ENDPOINT, "limit": "101"},
        {"endpoint_id": ENDPOINT, "limit": "ten"},
        {"endpoint_id": ENDPOINT, "start": "yesterday"},
        {"endpoint_id": ENDPOINT, "status": "fine"},
        {"endpoint_id": ENDPOINT, "sort_by": "price"},
        {"endpoint_id": ENDPOINT, "cursor": "nonsense"},
    ],
)
def test_bad_queries(params: dict[str, Any], many: Emulator) -> None:
    reply = many.http.get(HISTORY, params=params)
    assert (reply.status_code, reply.json()["error"]["type"]) == (400, "validation_error")


def test_store_io_0_and_sync_mode_stay_out_of_the_payloads(quick: Emulator) -> None:
    hidden, in_line = quick.submit("hidden", headers={"X-Fal-Store-IO": "0"}), quick.submit("in line", sync_mode=True)
    for handle in (hidden, in_line):
        assert quick.finished(handle).status_code == 200

    def item(handle: dict[str, Any]) -> Any:
        return quick.history(expand="payloads", request_id=handle["request_id"])["items"][0]

    assert (item(hidden)["json_input"], item(hidden)["json_output"]) == (None, None)
    assert item(in_line)["json_input"]["prompt"] == "in line"
    assert item(in_line)["json_output"] is None


def test_only_ended_requests_are_listed(quick: Emulator) -> None:
    quick.set(slots=1, latency=30)
    running, waiting = quick.submit("runs"), quick.submit("waits")

    def listed(handle: dict[str, Any]) -> list[Any]:
        return list(quick.history(request_id=handle["request_id"])["items"])

    assert listed(running) == listed(waiting) == []
    quick.set(history_in_progress=True)
    (item,) = listed(running)
    assert (item["ended_at"], item["status_code"], item["duration"]) == (None, None, None)
    assert item["started_at"]
    assert listed(waiting) == []
    assert quick.history(status="success", request_id=running["request_id"])["items"] == []


def test_history_lag(quick: Emulator) -> None:
    quick.set(history_lag=0.4)
    handle = quick.submit("late")
    quick.finished(handle)
    assert quick.history(request_id=handle["request_id"])["items"] == []
    until(lambda: quick.history(request_id=handle["request_id"])["items"])


def test_models(quick: Emulator) -> None:
    found = quick.http.get("/v1/models", params={"endpoint_id": ENDPOINT}).json()["models"]
    assert found[0]["metadata"]["status"] == "active"
    assert quick.http.get("/v1/models", params={"endpoint_id": "fal-ai/other"}).json()["models"] == []
    assert quick.http.get("/v1/models", params={"status": "deprecated"}).json()["models"] == []
    assert quick.http.get("/v1/models", params={"q": "mini", "category": "text-to-image"}).json()["models"] == found


def test_pricing(quick: Emulator) -> None:
    reply = quick.http.get("/v1/models/pricing", params={"endpoint_id": ENDPOINT}).json()
    assert reply["prices"] == [{"endpoint_id": ENDPOINT, "unit_price": 1.0, "unit": "units", "currency": "USD"}]
    assert quick.http.get("/v1/models/pricing").status_code == 400
    assert quick.http.get("/v1/models/pricing", params={"endpoint_id": "fal-ai/other"}).status_code == 404


def test_meta(quick: Emulator) -> None:
    told = quick.http.get("/v1/meta").json()
    assert isinstance(told["webhook_ip_ranges"], list)
    assert told["emulator"]["version"] == 1
    assert told["emulator"]["id"] == quick.bill()["origin"]
