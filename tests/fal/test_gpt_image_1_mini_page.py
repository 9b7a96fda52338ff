"""fal's page of GPT Image 1 mini, claim by claim, over real HTTP against the emulator; docs/fal.md says how it is done.

What the page says of its inputs stands in `test_models.py`, of files in a table in `tests/e2e/test_edits.py`.
"""

from __future__ import annotations

import base64
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from dagster_gptimg import FalClient, FalSettings, fal_portal, get_model
from dagster_gptimg.errors import RequestFailedError
from dagster_gptimg.fal.settings import FalUrls
from dagster_gptimg.fal.types import Completed, Images, InProgress, Queued, Status
from tests.emulator.receiver import receiving
from tests.harness import until
from tests.support import ROOT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from dagster_gptimg.fal.http.portal import Call
    from tests.harness import Fal

ENDPOINT = "fal-ai/gpt-image-1-mini"
PROMPT = "A serene landscape with mountains reflecting in a crystal-clear lake at sunset, photorealistic style"
LOW = {"prompt": PROMPT, "quality": "low", "image_size": "1024x1024"}


@pytest.fixture
async def client(fal: Fal) -> AsyncIterator[FalClient]:
    async with FalClient(FalSettings("test-key", FalUrls.at(fal.url))) as found:
        yield found


@pytest.fixture
def call(fal: Fal) -> Iterator[Call]:
    with fal_portal(FalSettings("test-key", FalUrls.at(fal.url))) as found:
        yield found


def size_of(data: bytes) -> tuple[str | None, tuple[int, int]]:
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return image.format, image.size


# -- 1. Calling the API, 2. Authentication


def test_submit_a_request_and_be_told_each_update_with_its_log(fal: Fal, call: Call) -> None:
    fal.set(latency=2.0)  # so that it is seen at work on a slow machine, too
    seen: list[Status] = []
    result = call(FalClient.subscribe, ENDPOINT, {"prompt": PROMPT}, seen.append, logs=True)
    assert isinstance(seen[-1], Completed)
    assert any(isinstance(status, InProgress | Queued) for status in seen)
    lines = [line.message for status in seen if isinstance(status, InProgress | Completed) for line in status.logs]
    assert any("started" in line for line in lines)
    assert len(result.images) == 1
    [row] = fal.bill()["rows"]
    assert (row["arguments"], row["outcome"]) == ({"prompt": PROMPT}, "ok")


def test_a_request_that_fails_is_an_error_with_its_id(fal: Fal, call: Call) -> None:
    fal.fail("landscape", "refused")
    with pytest.raises(RequestFailedError, match="content_policy_violation") as caught:
        call(FalClient.subscribe, ENDPOINT, LOW)
    assert caught.value.request_id == fal.bill()["rows"][0]["request_id"]


def test_the_key_comes_from_the_environment_or_is_set_by_hand(fal: Fal) -> None:
    assert FalSettings.from_env(fal.env) == FalSettings("test-key", FalUrls.at(fal.url))
    assert "test-key" not in repr(FalSettings.from_env(fal.env))


# -- 3. Queue


async def test_submit_status_and_result_by_the_requests_id(client: FalClient) -> None:
    submitted = await client.submit(ENDPOINT, LOW)
    request = client.request(ENDPOINT, submitted.request_id)  # another process knows no more than the id
    seen = [status async for status in client.stream_status(request, logs=True)]
    assert isinstance(seen[-1], Completed)
    status = await client.status(request, logs=True)
    assert isinstance(status, Completed)
    assert status.inference_time is not None
    assert status.logs
    answer = await client.result(request)
    assert isinstance(answer, Images)
    # Output: images, each with at least a URL
    assert size_of(await client.download(answer.images[0].url)) == ("PNG", (1024, 1024))


async def test_a_webhook_is_told_the_result(fal: Fal, client: FalClient) -> None:
    with receiving() as receiver:
        request = await client.submit(ENDPOINT, LOW, webhook_url=f"{receiver.url}/for/results?a=b&c=d")
        (came,) = receiver.wait()
    assert came.path == "/for/results?a=b&c=d"
    assert came.told["request_id"] == request.request_id
    assert came.told["payload"]["images"]
    assert fal.bill()["rows"][0]["webhook"]["url"].endswith("/for/results?a=b&c=d")


# -- 4. Files


def red() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(file, "PNG")
    return file.getvalue()


async def test_files_may_be_uploaded_or_come_as_data_uris(fal: Fal, client: FalClient) -> None:
    url = await client.upload(red(), "image/png", "hello.png", 86400)
    assert await client.download(url) == red()
    uri = f"data:image/png;base64,{base64.b64encode(red()).decode()}"
    for reference in (url, uri):
        images = await client.subscribe(f"{ENDPOINT}/edit", {**LOW, "image_urls": [reference]})
        assert len(images.images) == 1
    assert {row["endpoint_id"] for row in fal.charged()} == {f"{ENDPOINT}/edit"}


# -- 5. Schema


@pytest.mark.parametrize(
    ("given", "form", "size", "count"),
    [
        ({}, "PNG", None, 1),
        ({"image_size": "1024x1024", "output_format": "png"}, "PNG", (1024, 1024), 1),
        ({"image_size": "1536x1024", "output_format": "jpeg"}, "JPEG", (1536, 1024), 1),
        ({"image_size": "1024x1536", "output_format": "webp", "num_images": 2}, "WEBP", (1024, 1536), 2),
        ({"background": "transparent", "quality": "low", "image_size": "1024x1024"}, "PNG", (1024, 1024), 1),
        ({"background": "opaque", "quality": "medium", "num_images": 4}, "PNG", None, 4),
        ({"background": "auto", "quality": "high"}, "PNG", None, 1),
    ],
)
async def test_inputs_do_what_they_say(
    client: FalClient, given: dict[str, Any], form: str, size: tuple[int, int] | None, count: int
) -> None:
    model = get_model(ENDPOINT)
    arguments = model.check({"prompt": PROMPT, **given})
    result = await client.subscribe(ENDPOINT, arguments)
    assert len(result.images) == count
    for image in result.images:
        found = size_of(await client.download(image.url))
        assert found[0] == form
        assert size in {None, found[1]}
        assert image.width in {None, found[1][0]}
        assert image.content_type in {None, f"image/{form.lower()}"}


async def test_with_sync_mode_the_media_is_a_data_uri_and_not_in_the_history(client: FalClient) -> None:
    result = await client.subscribe(ENDPOINT, {**LOW, "sync_mode": True})
    assert result.images[0].url.startswith("data:image/png;base64,")
    assert size_of(await client.download(result.images[0].url)) == ("PNG", (1024, 1024))


async def test_what_was_submitted_is_in_the_history_with_its_inputs_and_outputs(fal: Fal, client: FalClient) -> None:
    request = await client.submit(ENDPOINT, LOW)
    _ = [status async for status in client.stream_status(request)]
    item = await client.lookup(ENDPOINT, request.request_id)
    assert item is not None
    assert item.json_input == LOW
    assert item.json_output is not None
    assert "images" in json.dumps(item.json_output)


def test_each_part_of_the_page_has_its_line_in_the_docs() -> None:
    text = (ROOT / "docs" / "fal.md").read_text(encoding="utf-8")
    table = text.partition("## The page of GPT Image 1 mini, line by line")[2].partition("\n## ")[0]
    told = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")]
    parts = ["Install the client", "Setup your API key", "Submit a request", "Authentication", "result.requestId"]
    parts += ["Queue: submit", "Queue: fetch request status", "Queue: get the result"]
    parts += ["Files: data URI", "Files: hosted files", "Files: uploading files"]
    parts += ["Output `images`", "ImageFile", "EditImageRequestMini", "EditImageResponseMini", "webhookUrl"]
    for part in parts:
        assert any(part in line for line in told), part
    for name in get_model(ENDPOINT).inputs.model_fields:
        assert any(line.startswith(f"Input `{name}`") for line in told), name


def test_pictures_come_until_the_last_one(fal: Fal, call: Call) -> None:
    """Many at once: no update is lost, and each request is one POST."""
    requests = [call(FalClient.submit, ENDPOINT, {**LOW, "prompt": f"number {n}"}) for n in range(5)]
    until("all have ended", lambda: all(row["status"] == "COMPLETED" for row in fal.bill()["rows"]))
    answers = [call(FalClient.result, request) for request in requests]
    assert all(isinstance(answer, Images) for answer in answers)
    assert len(fal.bill()["rows"]) == 5
