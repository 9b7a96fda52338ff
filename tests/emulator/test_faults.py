"""Every fault does what its line in the table says, and the same seed does it again."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from dagster_gptimg.emulator.faults import FAULTS, Dice, Phase, check_rates, parse_faults
from tests.emulator.conftest import Start
from tests.emulator.harness import ENDPOINT, Emulator, until


def _accepted(emulator: Emulator) -> int:
    return len(emulator.bill()["rows"])


@pytest.mark.parametrize(("fault", "rows"), [("submit_lost", 1), ("submit_dropped", 0)])
def test_no_byte_of_reply(fault: str, rows: int, quick: Emulator) -> None:
    before = _accepted(quick)
    quick.fault(fault, match=fault)
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        quick.post(fault)
    assert _accepted(quick) == before + rows


def test_submit_cut(quick: Emulator) -> None:
    before = _accepted(quick)
    quick.fault("submit_cut", match="cut")
    received: list[bytes] = []
    with quick.http.stream("POST", f"/{ENDPOINT}", json={"prompt": "cut"}) as reply:
        assert reply.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError):
            received.extend(reply.iter_raw())
    assert 0 < len(b"".join(received)) < int(reply.headers["content-length"])
    assert _accepted(quick) == before + 1


def test_submit_slow(quick: Emulator) -> None:
    before = _accepted(quick)
    quick.fault("submit_slow", match="slow")
    with pytest.raises(httpx.ReadTimeout):
        quick.http.post(f"/{ENDPOINT}", json={"prompt": "slow"}, timeout=0.1)
    assert _accepted(quick) == before + 1
    quick.fault("submit_slow", match="slow")
    reply = quick.post("slow")
    assert reply.status_code == 200
    assert reply.elapsed.total_seconds() >= 0.3


@pytest.mark.parametrize(("fault", "code", "rows"), [("submit_503", 503, 0), ("submit_504", 504, 1)])
def test_gateway_pages(fault: str, code: int, rows: int, quick: Emulator) -> None:
    before = _accepted(quick)
    quick.fault(fault, match=fault)
    reply = quick.post(fault)
    assert reply.status_code == code
    assert reply.headers["content-type"].startswith("text/html")
    assert "nginx" in reply.text
    assert "x-fal-request-id" not in reply.headers
    assert _accepted(quick) == before + rows


@pytest.mark.parametrize(
    ("fault", "code", "error_type"),
    [("submit_429", 429, "concurrent_requests_limit"), ("submit_500", 500, "internal_error"), ("locked", 403, None)],
)
def test_rejections(fault: str, code: int, error_type: str | None, quick: Emulator) -> None:
    before = _accepted(quick)
    quick.fault(fault, match=fault)
    reply = quick.post(fault)
    assert reply.status_code == code
    assert isinstance(reply.json()["detail"], str)
    assert reply.json().get("error_type") == reply.headers.get("x-fal-error-type") == error_type
    assert _accepted(quick) == before
    assert quick.post(fault).status_code == 200


def test_a_locked_account_can_still_read(quick: Emulator) -> None:
    handle = quick.submit("before the lock")
    quick.fault("locked", times=None)
    assert "User is locked" in quick.post().json()["detail"]
    assert quick.finished(handle).status_code == 200


def test_failed_is_a_model_error(quick: Emulator) -> None:
    seen = set()
    for number in range(12):
        quick.fault("failed", match="failed")
        handle = quick.submit(f"failed {number}")
        reply = quick.finished(handle)
        assert reply.status_code == 500
        seen.add(reply.json()["detail"][0]["type"])
        assert "error" not in quick.status(handle)
    assert seen == {"internal_server_error", "downstream_service_unavailable"}


def test_failed_runner_is_told_by_the_status(quick: Emulator) -> None:
    quick.fault("failed_runner", match="runner")
    handle = quick.submit("runner")
    reply = quick.finished(handle)
    assert (reply.status_code, reply.headers["x-fal-error-type"]) == (503, "runner_disconnected")
    status = quick.status(handle)
    assert status["error_type"] == reply.json()["error_type"] == "runner_disconnected"
    assert status["error"] == reply.json()["detail"]


def test_refused(quick: Emulator) -> None:
    quick.fault("refused", match="harmless")
    reply = quick.finished(quick.submit("a harmless cat"))
    assert reply.status_code == 422
    assert reply.json()["detail"][0]["type"] == "content_policy_violation"


def test_requeue(quick: Emulator) -> None:
    quick.set(latency=0.2, requeue_seconds=0.2)
    quick.fault("requeue", match="again")
    handle = quick.submit("again")
    seen: list[str] = []

    def over() -> bool:
        seen.append(quick.status(handle)["status"])
        return seen[-1] == "COMPLETED"

    until(over)
    told = [status for number, status in enumerate(seen) if number == 0 or seen[number - 1] != status]
    assert told == ["IN_PROGRESS", "IN_QUEUE", "IN_PROGRESS", "COMPLETED"]
    assert quick.http.get(handle["response_url"]).status_code == 200
    assert quick.row(handle)["cost_usd"] == "0.01"


def test_no_retry_is_honoured(quick: Emulator) -> None:
    quick.fault("requeue", match="once")
    handle = quick.submit("once", headers={"X-Fal-No-Retry": "1"})
    assert quick.finished(handle).status_code == 503


def test_stuck_does_not_hold_its_slot(start: Start) -> None:
    emulator = start(latency=0.05, slots=1)
    emulator.fault("stuck", match="stuck")
    stuck, next_one = emulator.submit("stuck"), emulator.submit("next")
    assert emulator.finished(next_one).status_code == 200
    assert emulator.status(stuck)["status"] == "IN_PROGRESS"
    emulator.kill()
    emulator.start()
    assert emulator.status(stuck)["status"] == "IN_PROGRESS"
    assert emulator.finished(emulator.submit("after the restart")).status_code == 200


def test_fewer_images(quick: Emulator) -> None:
    quick.fault("fewer_images", match="fewer")
    handle = quick.submit("fewer", num_images=4)
    assert len(quick.finished(handle).json()["images"]) == 3
    assert quick.row(handle)["cost_usd"] == "0.03"


@pytest.mark.parametrize(
    ("fault", "url", "code"),
    [
        ("status_500", "status_url", 500),
        ("status_503", "status_url", 503),
        ("status_drop", "status_url", None),
        ("result_500_gateway", "response_url", 503),
        ("result_drop", "response_url", None),
    ],
)
def test_reads_that_go_wrong_once(fault: str, url: str, code: int | None, quick: Emulator) -> None:
    handle = quick.submit(fault)
    right = quick.finished(handle).status_code
    quick.fault(fault, match=fault)
    if code is None:
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            quick.http.get(handle[url])
    else:
        assert quick.http.get(handle[url]).status_code == code
    assert quick.http.get(handle[url]).status_code == right == 200


@pytest.fixture
def image_url(quick: Emulator) -> str:
    images: list[dict[str, Any]] = quick.finished(quick.submit("an image")).json()["images"]
    return str(images[0]["url"])


@pytest.mark.parametrize("fault", ["image_404", "image_html", "image_empty", "image_short", "image_flipped"])
def test_images_that_go_wrong_once(fault: str, image_url: str, quick: Emulator) -> None:
    right = quick.http.get(image_url)
    quick.fault(fault)
    wrong = quick.http.get(image_url)
    assert quick.http.get(image_url).content == right.content
    assert wrong.status_code == (404 if fault == "image_404" else 200)
    assert wrong.content != right.content
    if fault == "image_html":
        assert wrong.headers["content-type"].startswith("text/html")
    if fault == "image_empty":
        assert wrong.content == b""
    if fault == "image_short":
        assert right.content.startswith(wrong.content)
    if fault == "image_flipped":
        differing = [a ^ b for a, b in zip(right.content, wrong.content, strict=True) if a != b]
        assert [value.bit_count() for value in differing] == [1]


def test_image_truncated(image_url: str, quick: Emulator) -> None:
    quick.fault("image_truncated")
    with pytest.raises(httpx.RemoteProtocolError):
        quick.http.get(image_url)


def test_image_slow(image_url: str, quick: Emulator) -> None:
    right = quick.http.get(image_url).content
    quick.fault("image_slow")
    slow = quick.http.get(image_url)
    assert slow.content == right
    quick.set(slow_seconds=5)
    quick.fault("image_slow")
    with pytest.raises(httpx.ReadTimeout):
        quick.http.get(image_url, timeout=0.2)


def test_history_500(quick: Emulator) -> None:
    quick.fault("history_500")
    reply = quick.http.get("/v1/models/requests/by-endpoint", params={"endpoint_id": ENDPOINT})
    assert (reply.status_code, reply.json()["error"]["type"]) == (500, "server_error")
    assert quick.history()["items"] is not None


def test_rules_count_down_and_are_forgotten(quick: Emulator) -> None:
    quick.fault("locked", match="bag", times=2)
    codes = [quick.post(prompt).status_code for prompt in ("a cat", "a bag", "a bag", "a bag")]
    assert codes == [200, 403, 403, 200]
    quick.fault("locked", times=None)
    assert quick.http.get("/emulator/faults").json()["rules"][-1] == {"match": "", "fault": "locked", "times": None}
    quick.http.delete("/emulator/faults")
    assert quick.post().status_code == 200


def test_rates_at_run_time(quick: Emulator) -> None:
    quick.set(faults={"locked": 1.0})
    assert quick.post().status_code == 403
    quick.set(faults={})
    assert quick.post().status_code == 200


def _pattern(emulator: Emulator, prompts: list[str]) -> dict[str, int]:
    return {prompt: emulator.post(prompt).status_code for prompt in prompts}


def test_the_same_seed_strikes_the_same_requests(start: Start) -> None:
    prompts = [f"number {n}" for n in range(60)]
    faults = {"submit_500": 0.2, "locked": 0.2}
    first = _pattern(start(seed=1, faults=faults), prompts)
    again = _pattern(start(seed=1, faults=faults), prompts[::-1])
    other = _pattern(start(seed=2, faults=faults), prompts)
    assert first == again
    assert first != other
    assert set(first.values()) == {200, 403, 500}


def test_the_same_seed_draws_the_same_latencies(start: Start) -> None:
    def latencies(seed: int, order: int) -> dict[str, float]:
        emulator = start(seed=seed, latency=0.05)
        for prompt in [f"number {n}" for n in range(5)][::order]:
            emulator.finished(emulator.submit(prompt))
        items = emulator.history(expand="payloads")["items"]
        return {item["json_input"]["prompt"]: round(item["duration"], 4) for item in items}

    assert latencies(1, 1) == latencies(1, -1) != latencies(2, 1)


def test_rates_are_about_right_and_reads_are_drawn_per_call() -> None:
    dice = Dice(0, {"status_500": 0.3})
    hits = [dice.strike(Phase.STATUS, "one request", "") for _ in range(2000)]
    assert 0.26 < hits.count("status_500") / len(hits) < 0.34


def test_always_is_drawn_once_per_image() -> None:
    dice = Dice(0, {"image_404_always": 0.5})
    struck = {key: {dice.strike(Phase.IMAGE, key, "") for _ in range(5)} for key in map(str, range(40))}
    assert all(len(answers) == 1 for answers in struck.values())
    assert {frozenset(answers) for answers in struck.values()} == {frozenset({None}), frozenset({"image_404"})}


def test_one_rate_does_not_shift_the_draws_of_another() -> None:
    alone = Dice(0, {"locked": 0.3})
    beside = Dice(0, {"locked": 0.3, "submit_lost": 0.5})
    for key in [str(number % 50) for number in range(400)]:
        first, second = alone.strike(Phase.SUBMIT, key, ""), beside.strike(Phase.SUBMIT, key, "")
        assert second in {first, "submit_lost"}


def test_the_table_in_the_docs_is_complete() -> None:
    from dagster_gptimg.emulator import faults

    documented = [line.split("`")[1] for line in (faults.__doc__ or "").splitlines() if line.startswith("| `")]
    assert documented == list(FAULTS)


def test_rates_on_the_command_line() -> None:
    assert parse_faults(["submit_lost=0.1", "locked=1"]) == {"submit_lost": 0.1, "locked": 1.0}
    for text in ("locked", "locked=often", "flood=0.1", "locked=2", ""):
        with pytest.raises(ValueError, match="fault"):
            parse_faults([text])


@pytest.mark.parametrize("rates", [{"flood": 0.1}, {"locked": 1.5}, {"locked": "often"}, {"locked_always": 0.1}])
def test_bad_rates(rates: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="fault"):
        check_rates(rates)
