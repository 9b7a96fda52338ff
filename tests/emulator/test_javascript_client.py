"""The judge of fidelity: fal's own JavaScript client, in Node. What it is, and its version: javascript/package.json."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from dagster_gptimg.testing import NO_TLS
from tests.emulator.account.test_edits_and_storage import EDIT, corner, picture
from tests.emulator.harness import ENDPOINT, Emulator, until
from tests.emulator.models.test_one_image import ONE_IMAGE, opened, product
from tests.emulator.models.test_other_makers import PATHS
from tests.emulator.receiver import receiving, signed_by
from tests.node_packages import installed

HERE = Path(__file__).parent / "javascript"
LOW = {"prompt": "a red bag", "quality": "low", "image_size": "1024x1024"}

Judge = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def node() -> str:
    """Node, with the client installed beside the judge; once for all workers."""
    found = shutil.which("node")
    assert found, "the emulator is judged by fal's JavaScript client: install Node 18 or newer"
    installed(HERE, "@fal-ai/client")
    return found


@pytest.fixture
def judge(node: str, quick: Emulator) -> Judge:
    """Runs one scenario of javascript/judge.mjs; `then` is called when it has told its first update."""

    def run(scenario: str, then: Callable[[], object] | None = None, **given: Any) -> dict[str, Any]:
        command = [node, str(HERE / "judge.mjs"), quick.url, scenario, json.dumps(given)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            if then is not None:
                assert process.stderr.readline() == "first update\n"
                then()
            stdout, stderr = process.communicate(timeout=60)
        assert process.returncode == 0, stderr
        return dict(json.loads(stdout))

    return run


def several(judge: Judge, *calls: tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """What scenarios come to that are run one after the other in one process."""
    return list(judge("several", of=calls)["found"])


def accepted(emulator: Emulator) -> list[dict[str, Any]]:
    """The requests on the bill that ended well."""
    return [row for row in emulator.bill()["rows"] if row["outcome"] == "ok"]


@pytest.mark.parametrize("mode", ["polling", "streaming"])
def test_subscribe_tells_the_whole_way(mode: str, judge: Judge, quick: Emulator) -> None:
    quick.set(slots=1, latency=60, cancel_stops_running=True)
    front = quick.submit("in front")
    quick.set(latency=1.0)
    images = {**LOW, "num_images": 2}
    told = judge(
        "subscribe", lambda: quick.http.put(front["cancel_url"]), endpoint=ENDPOINT, input=images, logs=True, mode=mode
    )
    assert told["enqueued"] == told["result"]["requestId"] == quick.bill()["rows"][-1]["request_id"]
    assert len(told["result"]["data"]["images"]) == 2
    states = [update["status"] for update in told["updates"]]
    assert list(dict.fromkeys(states)) == ["IN_QUEUE", "IN_PROGRESS", "COMPLETED"]
    assert told["updates"][0]["queue_position"] == 0
    assert [line["message"] for line in told["updates"][-1]["logs"]] == [
        "Request started (attempt 1)",
        "Half of the work is done",
        "Request ended: ok",
    ]
    asked = sum(call.endswith("/status") for call in told["calls"])
    assert (asked == 0) is (mode == "streaming")


def test_subscribe_to_something_quick(judge: Judge) -> None:
    modes = ("polling", "streaming")
    for told in several(judge, *(("subscribe", {"endpoint": ENDPOINT, "input": LOW, "mode": mode}) for mode in modes)):
        assert told["result"]["data"]["images"]


def test_the_stream_of_a_status(judge: Judge, quick: Emulator) -> None:
    quick.set(latency=0.6)
    told = judge("stream", endpoint=ENDPOINT, input=LOW)
    assert told["events"][-1] == told["last"]
    assert told["last"]["status"] == "COMPLETED"
    messages = [line["message"] for event in told["events"] for line in event["logs"]]
    assert messages == ["Request started (attempt 1)", "Half of the work is done", "Request ended: ok"]
    assert told["requestId"] == quick.bill()["rows"][-1]["request_id"]


def test_submit_status_result(judge: Judge, quick: Emulator) -> None:
    told = judge("queue", endpoint=ENDPOINT, input=LOW)
    assert told["submitted"]["status_url"].startswith(quick.url)
    last = told["statuses"][-1]
    assert last["metrics"]["inference_time"] > 0
    assert told["result"]["requestId"] == last["request_id"]
    image = told["result"]["data"]["images"][0]
    assert quick.http.get(image["url"]).status_code == 200


@pytest.mark.parametrize("kind", ["flare", "sunburst"])
def test_gpt_image_25(kind: str, judge: Judge, quick: Emulator) -> None:
    root, low = f"openai/gpt-image-2.5/{kind}", {**LOW, "image_size": {"width": 1024, "height": 1024}}
    image, create = base64.b64encode(picture("lime")).decode(), f"{root}/text-to-image"
    told, edited, wrong = several(
        judge,
        ("queue", {"endpoint": create, "input": {**low, "num_images": 10}}),
        ("edit", {"endpoint": f"{root}/edit", "input": low, "images": [image]}),
        ("failing", {"endpoint": create, "input": {**low, "quality": "best", "num_images": 11}}),
    )
    assert len(told["result"]["data"]["images"]) == 10
    assert corner(quick, httpx.Response(200, json=edited["data"])) == (0, 255, 0)
    assert dict(wrong["fields"]) == {"quality": "literal_error", "num_images": "less_than_equal"}
    assert [row["endpoint_id"] for row in accepted(quick)[-2:]] == [create, f"{root}/edit"]


@pytest.mark.parametrize("endpoint_id", PATHS)
def test_other_makers_models(endpoint_id: str, judge: Judge, quick: Emulator) -> None:
    asked, image = {"prompt": "a red bag"}, base64.b64encode(picture("lime")).decode()
    told, edited, wrong = several(
        judge,
        ("queue", {"endpoint": endpoint_id, "input": asked}),
        ("edit", {"endpoint": PATHS[endpoint_id], "input": asked, "images": [image]}),
        ("failing", {"endpoint": endpoint_id, "input": {**asked, "sync_mode": "perhaps"}}),
    )
    assert len(told["result"]["data"]["images"]) == 1
    assert httpx.get(edited["data"]["images"][0]["url"]).status_code == 200
    first, second = accepted(quick)[-2:]
    assert [first["endpoint_id"], second["endpoint_id"]] == [endpoint_id, PATHS[endpoint_id]]
    assert httpx.get(second["arguments"]["image_urls"][0]).content == picture("lime")
    assert dict(wrong["fields"]) == {"sync_mode": "bool_parsing"}


def test_endpoints_that_take_an_image_and_no_prompt(judge: Judge, quick: Emulator) -> None:
    found = judge("fromImage", endpoints=ONE_IMAGE, image=base64.b64encode(product()).decode())["found"]
    for endpoint_id in ONE_IMAGE:
        assert opened(found[endpoint_id]["data"]["image"]).size in ((64, 48), (128, 96))
        wrong = found[endpoint_id]["wrong"]
        assert (wrong["name"], wrong["fields"]) == ("ValidationError", [["image_url", "missing"]])
    rows = accepted(quick)[-len(ONE_IMAGE) :]
    assert [row["endpoint_id"] for row in rows] == list(ONE_IMAGE)
    assert httpx.get(rows[0]["arguments"]["image_url"]).content == product()


def test_cancel(judge: Judge, quick: Emulator) -> None:
    quick.set(slots=1, latency=30)
    quick.submit("in front")
    told = judge("cancel", endpoint=ENDPOINT, input=LOW)
    assert told["status"]["error_type"] == "client_cancelled"
    assert (told["result"]["name"], told["result"]["status"]) == ("ApiError", 499)
    assert (told["again"]["status"], told["again"]["body"]) == (400, {"status": "ALREADY_COMPLETED"})


def test_what_a_request_is_sent_with(judge: Judge, quick: Emulator) -> None:
    with receiving() as receiver:
        options = {"priority": "low", "startTimeout": 30, "hint": "here", "headers": {"X-Fal-Tags": "run=7"}}
        storage = {"expiresIn": "1h"}
        url = f"{receiver.url}/hook"
        judge("submit", endpoint=ENDPOINT, input=LOW, webhookUrl=url, storageSettings=storage, **options)
        (came,) = receiver.wait()
        until(lambda: quick.bill()["rows"][-1]["webhook"]["ended"])
    row = quick.bill()["rows"][-1]
    assert row["headers"] == {
        "x-fal-queue-priority": "low",
        "x-fal-request-timeout": "30",
        "x-fal-runner-hint": "here",
        "x-fal-object-lifecycle-preference": '{"expiration_duration_seconds":3600}',
        "x-fal-tags": "run=7",
    }
    assert (row["tags"], row["webhook"]["url"]) == ({"run": "7"}, url)
    assert (came.told["request_id"], came.told["status"]) == (row["request_id"], "OK")
    assert signed_by(quick, came) == [0]


@pytest.mark.parametrize("size", [1_000, 91 * 1024 * 1024])
def test_upload(size: int, judge: Judge) -> None:
    told = judge("upload", size=size, type="image/png", name="a bag.png")
    found = httpx.get(told["url"])
    assert (len(found.content), found.headers["content-type"]) == (size, "image/png")
    assert found.content[:600] == bytes(place % 251 for place in range(600))
    assert found.content[-1] == (size - 1) % 251
    parts = [call for call in told["calls"] if call.startswith("PUT")]
    assert len(parts) == (10 if size > 90 * 1024 * 1024 else 1)


def test_an_upload_ends_when_its_lifecycle_says(judge: Judge) -> None:
    told = judge("upload", size=10, type="text/plain", name="a.txt", lifecycle={"expiresIn": 1})
    until(lambda: httpx.get(told["url"], verify=NO_TLS).status_code == 404)


def test_a_blob_in_the_input_is_uploaded_and_shown_in_the_edit(judge: Judge, quick: Emulator) -> None:
    image = base64.b64encode(picture("lime")).decode()
    told = judge("edit", endpoint=EDIT, input=LOW, images=[image])
    assert corner(quick, httpx.Response(200, json=told["data"])) == (0, 255, 0)
    (url,) = quick.bill()["rows"][-1]["arguments"]["image_urls"]
    assert httpx.get(url).content == picture("lime")


def test_errors(judge: Judge, quick: Emulator) -> None:
    wrong = judge("failing", endpoint=ENDPOINT, input={**LOW, "quality": "best", "num_images": 5})
    assert (wrong["name"], wrong["status"]) == ("ValidationError", 422)
    assert dict(wrong["fields"]) == {"quality": "literal_error", "num_images": "less_than_equal"}
    refused = judge("failing", endpoint=ENDPOINT, input={**LOW, "prompt": "lots of gore"})
    assert (refused["name"], refused["fields"]) == ("ValidationError", [["prompt", "content_policy_violation"]])
    assert refused["requestId"] == quick.bill()["rows"][-1]["request_id"]
    stranger = judge("failing", endpoint=ENDPOINT, input=LOW, key="bad")
    assert (stranger["name"], stranger["status"]) == ("ApiError", 401)
    quick.set(slots=1, latency=30)
    quick.submit("in front")
    late = judge("failing", endpoint=ENDPOINT, input=LOW, startTimeout=1.1)
    assert (late["status"], late["isUserTimeout"]) == (504, True)


def test_errors_as_text_are_understood(judge: Judge, quick: Emulator) -> None:
    quick.set(error_details="text")
    refused = judge("failing", endpoint=ENDPOINT, input={**LOW, "prompt": "lots of gore"})
    assert refused["fields"] == [["body", "value_error"]]


def test_a_lost_submit_is_paid_twice(judge: Judge, quick: Emulator) -> None:
    quick.fault("submit_lost", match="lost by JavaScript")
    before = quick.bill()["requests"]
    told = judge("submit", endpoint=ENDPOINT, input={**LOW, "prompt": "lost by JavaScript"})
    first, second = quick.bill()["rows"][-2:]
    assert quick.bill()["requests"] == before + 2
    assert (second["request_id"], second["twin_of"]) == (told["request_id"], first["request_id"])
