"""The queue's wire, byte by byte where clients look (docs/fal-wire.md#submit and the sections after it)."""

from __future__ import annotations

import httpx
import pytest

from tests.emulator.conftest import Start
from tests.emulator.harness import ENDPOINT, Emulator, until

URLS = {"response_url", "status_url", "cancel_url"}


def test_submit(quick: Emulator) -> None:
    reply = quick.post(headers={"Host": "localhost:12345"})
    body = reply.json()
    assert reply.status_code == 200
    assert set(body) == {"status", "request_id", "gateway_request_id", "queue_position", *URLS}
    assert body["status"] == "IN_QUEUE"
    assert body["queue_position"] == 0
    assert reply.headers["x-fal-request-id"] == body["request_id"]
    assert body["response_url"] == f"http://localhost:12345/{ENDPOINT}/requests/{body['request_id']}"
    assert body["status_url"] == body["response_url"] + "/status"
    assert body["cancel_url"] == body["response_url"] + "/cancel"


def test_states(quick: Emulator) -> None:
    quick.set(slots=1, latency=0.5)
    first, second, third = (quick.submit(f"number {n}") for n in range(3))
    running, waiting = quick.http.get(first["status_url"]), quick.http.get(third["status_url"])
    assert (running.status_code, waiting.status_code) == (202, 202)
    assert set(running.json()) == {"status", "request_id", "logs", *URLS}
    assert set(waiting.json()) == {"status", "request_id", "queue_position", *URLS}
    assert (waiting.json()["status"], waiting.json()["queue_position"]) == ("IN_QUEUE", 1)
    assert quick.status(second)["queue_position"] == 0
    early = quick.http.get(first["response_url"])
    assert (early.status_code, early.json()) == (400, {"detail": "Request is still in progress"})
    quick.finished(first)
    ended = quick.http.get(first["status_url"])
    assert ended.status_code == 200
    assert set(ended.json()) == {"status", "request_id", "logs", "metrics", *URLS}


@pytest.mark.parametrize(("logs", "told"), [("1", True), ("true", True), ("0", False), ("false", False), (None, False)])
def test_logs_parameter(logs: str | None, *, told: bool, quick: Emulator) -> None:
    handle = quick.submit()
    quick.finished(handle)
    body = quick.http.get(handle["status_url"], params={"logs": logs} if logs else {}).json()
    assert (body["logs"] is not None) == told
    if told:
        assert set(body["logs"][0]) == {"message", "timestamp", "level", "source"}


def test_result(quick: Emulator) -> None:
    reply = quick.finished(quick.submit(num_images=4))
    assert reply.status_code == 200
    assert reply.headers["x-fal-billable-units"] == "0.03"
    assert reply.headers["x-fal-request-id"]
    assert len(reply.json()["images"]) == 4
    assert all("file_size" not in image for image in reply.json()["images"])


def test_optional_fields_are_missing_now_and_then(quick: Emulator) -> None:
    images = [i for _ in range(12) for i in quick.finished(quick.submit(num_images=4)).json()["images"]]
    assert any("content_type" not in image for image in images)
    assert any(image["width"] is None for image in images)
    assert all(image["url"] for image in images)


@pytest.mark.parametrize("path", [ENDPOINT, f"{ENDPOINT}/edit"])
def test_aliases(path: str, quick: Emulator) -> None:
    handle = quick.submit()
    plain = quick.finished(handle).json()
    one = f"/{path}/requests/{handle['request_id']}"
    assert quick.http.get(f"{one}/status").json()["status"] == "COMPLETED"
    assert quick.http.get(one).json() == quick.http.get(f"{one}/response").json() == plain


def test_an_id_belongs_to_its_app(quick: Emulator) -> None:
    handle = quick.submit()
    for path in (f"/fal-ai/other/requests/{handle['request_id']}", f"/{ENDPOINT}/requests/nobody"):
        for rest in ("", "/status", "/response"):
            reply = quick.http.get(path + rest)
            assert (reply.status_code, reply.json()) == (404, {"status": "NOT_FOUND"})


def test_unknown_app_and_unknown_path(quick: Emulator) -> None:
    assert quick.http.post("/fal-ai/no-such-model", json={}).status_code == 404
    reply = quick.http.post(f"/{ENDPOINT}/nowhere", json={"prompt": "a cat"})
    assert reply.status_code == 200
    ended = quick.finished(reply.json())
    assert (ended.status_code, ended.headers["x-fal-billable-units"]) == (404, "0")


@pytest.mark.parametrize("key", [None, "Key", "Key bad-one", "Basic aWQ6c2VjcmV0"])
def test_keys_that_are_refused(key: str | None, quick: Emulator) -> None:
    headers = {"Authorization": key} if key else {}
    with httpx.Client(base_url=quick.url, headers=headers) as nobody:
        for method, path in (("POST", f"/{ENDPOINT}"), ("GET", f"/{ENDPOINT}/requests/x/status")):
            reply = nobody.request(method, path)
            assert reply.status_code == 401
            assert isinstance(reply.json()["detail"], str)
        platform = nobody.get("/v1/models/pricing", params={"endpoint_id": ENDPOINT})
        assert (platform.status_code, platform.json()["error"]["type"]) == (401, "authorization_error")
        assert nobody.get("/v1/meta").status_code == 200


def test_bearer_tokens_are_good(quick: Emulator) -> None:
    assert quick.post(headers={"Authorization": "Bearer token"}).status_code == 200


@pytest.mark.parametrize("body", [b"{", b"", b'{"prompt": NaN}', b"\xff\xfe"])
def test_what_is_no_json_is_refused_at_once(body: bytes, quick: Emulator) -> None:
    before = len(quick.bill()["rows"])
    reply = quick.http.post(f"/{ENDPOINT}", content=body)
    assert reply.status_code == 400
    assert reply.json()["error_type"] == reply.headers["x-fal-error-type"] == "bad_request"
    assert len(quick.bill()["rows"]) == before


@pytest.mark.parametrize("body", [b"[]", b"null", b'"text"', b'{"prompt": 1}', b'{"prompt": "a", "num_images": true}'])
def test_what_the_model_cannot_take_is_accepted_and_422(body: bytes, quick: Emulator) -> None:
    reply = quick.http.post(f"/{ENDPOINT}", content=body)
    ended = quick.finished(reply.json())
    assert (ended.status_code, ended.headers["x-fal-billable-units"]) == (422, "0")
    assert isinstance(ended.json()["detail"], list)


def test_strange_prompts_come_back(quick: Emulator) -> None:
    reply = quick.http.post(f"/{ENDPOINT}", content=b'{"prompt": "lone \\ud800 surrogate, gore"}')
    ended = quick.finished(reply.json())
    assert ended.json()["detail"][0]["type"] == "content_policy_violation"
    assert quick.history(limit=1, expand="payloads")["items"][0]["json_input"]["prompt"].startswith("lone \ud800")


def test_max_queue_length(quick: Emulator) -> None:
    quick.set(slots=1, latency=30)
    for number in range(3):
        quick.submit(f"number {number}")

    def post(limit: str) -> httpx.Response:
        return quick.http.post(f"/{ENDPOINT}", params={"fal_max_queue_length": limit}, json={"prompt": "one more"})

    before = len(quick.bill()["rows"])
    assert (post("1").status_code, post("many").status_code) == (429, 400)
    assert len(quick.bill()["rows"]) == before
    assert post("2").status_code == 200


def test_low_priority_waits_for_the_others(quick: Emulator) -> None:
    quick.set(slots=1, latency=30)
    quick.submit("in front")
    low = quick.submit("later", headers={"X-Fal-Queue-Priority": "low"})
    quick.submit("sooner")
    assert quick.status(low)["queue_position"] == 1


@pytest.mark.parametrize("value", ["0.1", "soon", "nan", "-1"])
def test_bad_start_timeouts(value: str, quick: Emulator) -> None:
    reply = quick.post(headers={"X-Fal-Request-Start-Timeout": value})
    assert (reply.status_code, reply.json()["error_type"]) == (400, "bad_request")


def test_the_new_name_of_the_start_timeout_wins(quick: Emulator) -> None:
    quick.set(slots=1, latency=0.4)
    quick.submit("in front")
    both = {"X-Fal-Request-Start-Timeout": "9", "X-Fal-Request-Timeout": "0.15"}
    patient, hasty = quick.submit(headers=both), quick.submit(headers={"X-Fal-Request-Timeout": "0.15"})
    assert quick.finished(hasty).status_code == 504
    assert quick.finished(patient).status_code == 200


def test_cancel_table(quick: Emulator) -> None:
    quick.set(slots=1, latency=0.5)
    running, waiting = quick.submit("runs"), quick.submit("waits")

    def cancel(handle: dict[str, str]) -> tuple[int, str]:
        reply = quick.http.put(handle["cancel_url"])
        return reply.status_code, reply.json()["status"]

    assert cancel(running) == (202, "CANCELLATION_REQUESTED")
    assert cancel(waiting) == (200, "OK")
    assert cancel(waiting) == (400, "ALREADY_COMPLETED")
    assert cancel({"cancel_url": f"{quick.url}/{ENDPOINT}/requests/nobody/cancel"}) == (404, "NOT_FOUND")
    assert quick.finished(running).status_code == 200
    assert (quick.row(running)["cost_usd"], quick.row(waiting)["cost_usd"]) == ("0.01", "0.00")


def test_other_readings_of_cancel(quick: Emulator) -> None:
    quick.set(slots=1, latency=30, cancel_stops_running=True, cancelled_is_gone=True)
    running, waiting = quick.submit("runs"), quick.submit("waits")
    assert quick.http.put(waiting["cancel_url"]).status_code == 200
    assert quick.http.get(waiting["status_url"]).status_code == 404
    assert quick.http.put(running["cancel_url"]).status_code == 202
    assert quick.finished(running).status_code == 499
    assert quick.row(running)["cost_usd"] == "0.01"
    assert quick.status(quick.submit("next"))["status"] == "IN_PROGRESS"


def test_slots_are_respected(start: Start) -> None:
    emulator = start(latency=0.1, slots=3)
    handles = [emulator.submit(f"number {n}") for n in range(18)]
    emulator.finished(handles[-1])
    until(lambda: emulator.bill()["in_flight"] == 0)
    rows = emulator.bill()["rows"]
    edges = sorted([(row["completed_at"], -1) for row in rows] + [(row["started_at"], 1) for row in rows])
    busy = most = 0
    for _, step in edges:
        busy += step
        most = max(most, busy)
    assert most == 3
    starts = [row["started_at"] for row in rows]
    assert starts == sorted(starts), "first come, first served"


def test_more_slots_at_run_time(start: Start) -> None:
    emulator = start(latency=60, slots=1)
    handles = [emulator.submit(f"number {n}") for n in range(3)]
    emulator.set(slots=3)
    assert all(emulator.status(handle)["status"] == "IN_PROGRESS" for handle in handles)


def test_results_expire(start: Start) -> None:
    emulator = start(latency=0.01, result_seconds=30, large_result_seconds=0.05, stored_seconds=3600)
    long = "nsfw " + "x" * 10_000
    unstored = {"X-Fal-Store-IO": "0"}
    kept, small = emulator.submit(long), emulator.submit("small", headers=unstored)
    for handle in (kept, small):
        emulator.finished(handle)
    large = [emulator.submit(long, headers=unstored), emulator.submit("a data URI", sync_mode=True)]
    for handle in large:
        url = handle["status_url"]
        until(lambda url=url: emulator.http.get(url).status_code == 404)  # type: ignore[misc]
        assert emulator.http.get(handle["response_url"]).json() == {"status": "NOT_FOUND"}
    assert emulator.http.get(kept["response_url"]).status_code == 422
    assert emulator.http.get(small["response_url"]).status_code == 200
    emulator.set(result_seconds=0)
    assert emulator.http.get(small["response_url"]).status_code == 404


def test_control_refuses_nonsense(quick: Emulator) -> None:
    for path, body in (
        ("/emulator/settings", {"slots": 0}),
        ("/emulator/settings", {"latency": "long"}),
        ("/emulator/settings", {"speed": 1}),
        ("/emulator/settings", {"faults": {"flood": 0.1}}),
        ("/emulator/faults", {"fault": "flood"}),
        ("/emulator/faults", {"fault": "locked", "times": -1}),
        ("/emulator/faults", {"fault": "locked_always"}),
        ("/emulator/faults", {}),
    ):
        assert quick.http.post(path, json=body).status_code == 400, (path, body)
    broken = quick.http.post("/emulator/faults", content=b"{", headers={"Content-Type": "application/json"})
    assert broken.status_code == 400
