"""Every way in which the client calls fal, once; and every status that docs/fal-wire.md names, brought about."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx

from dagster_gptimg.fal.http import storage
from dagster_gptimg.fal.http.client import FalClient
from dagster_gptimg.fal.http.connections import InMemory
from dagster_gptimg.fal.request_settings import RequestSettings
from dagster_gptimg.fal.settings import FalSettings
from dagster_gptimg.fal.types import ImageFile
from tests.fal.recorded import ENDPOINT, KEY, LOW, World, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    import pytest

    from dagster_gptimg.fal.types import Submitted
    from tests.fal.recorded import Call

RECEIVER = "dagster-gptimg receive"
NOBODY = "nobody"
BAD_KEY = {"Authorization": "Key bad"}
NO_ADMIN = {"Authorization": "Key key"}
NOWHERE = "http://127.0.0.1:9/hook"
NONE = "0" * 32
BUSY: dict[str, Any] = {"slots": 1, "latency": 60.0, "cancel_stops_running": True}
"""The next request runs until it is cancelled, and those after it wait."""
QUICK: dict[str, Any] = {"slots": 20, "latency": 0.05, "cancel_stops_running": False}
REQUEST = RequestSettings(
    priority="low",
    start_timeout=60,
    lifecycle=3600,
    headers={
        "X-Fal-No-Retry": "1",
        "X-Fal-Runner-Hint": "a",
        "X-Fal-Retry-Config": "{}",
        "X-Fal-Store-IO": "1",
        "x-app-fal-disable-fallback": "1",
    },
    without_guarantee=True,
).with_tags({"team": "ads"})


async def all_calls(folder: Path, patch: pytest.MonkeyPatch) -> list[Call]:
    """Everything, against one world."""
    patch.setattr(storage, "PARTS_ABOVE", 100)
    patch.setattr(storage, "PART", 60)
    async with World(folder).serving() as world:
        await _received(world, patch)
        async with FalClient(FalSettings("admin-key", world.urls), read_attempts=1) as fal:
            for name, drive in DRIVES.items():
                world.by = NOBODY
                handle = await world.submitted()
                await world.reaches(handle, "COMPLETED")
                urls = [handle[url] for url in ("status_url", "response_url", "cancel_url")]
                request = fal.request(ENDPOINT, handle["request_id"], *urls)
                world.by = name
                await drive(fal, request, world)
        world.by = NOBODY
        for bring_about in (_submits, _reads, _cancels, _platform, _uploads):
            await bring_about(world)
        return list(world.calls)


# -- each public method of the client


async def _submit(fal: FalClient, _: Submitted, world: World) -> None:
    await fal.submit(ENDPOINT, LOW, headers=REQUEST, webhook_url=NOWHERE)


async def _cancel(fal: FalClient, request: Submitted, world: World) -> None:
    await fal.cancel(request)


async def _check(fal: FalClient, _: Submitted, world: World) -> None:
    await fal.check(ENDPOINT)


async def _origin(fal: FalClient, _: Submitted, world: World) -> None:
    assert (await fal.origin()).startswith("emulator:")


async def _status(fal: FalClient, request: Submitted, world: World) -> None:
    await fal.status(request, logs=True)


async def _stream(fal: FalClient, request: Submitted, world: World) -> None:
    assert [status async for status in fal.stream_status(request, logs=True)]


async def _result(fal: FalClient, request: Submitted, world: World) -> None:
    await fal.result(request)


async def _subscribe(fal: FalClient, _: Submitted, world: World) -> None:
    assert (await fal.subscribe(ENDPOINT, LOW, logs=True)).images


async def _download(fal: FalClient, request: Submitted, world: World) -> None:
    world.by = NOBODY
    [image] = (await world.http.get(request.response_url)).json()["images"]
    world.by = "download"
    assert await fal.download(image["url"])


async def _fetch(fal: FalClient, request: Submitted, world: World) -> None:
    async def take(size: int) -> None:
        assert size

    sink = InMemory()
    world.by = NOBODY
    [image] = (await world.http.get(request.response_url)).json()["images"]
    world.by = "fetch"
    assert await fal.fetch(ImageFile(image["url"]), sink, take) == "image/png"
    assert sink.found


async def _history(fal: FalClient, _: Submitted, world: World) -> None:
    now = datetime.now(UTC)
    assert [line async for line in fal.history(ENDPOINT, now - timedelta(hours=1), now + timedelta(hours=1))]


async def _lookup(fal: FalClient, request: Submitted, world: World) -> None:
    assert await fal.lookup(ENDPOINT, request.request_id)


async def _delete_payloads(fal: FalClient, request: Submitted, world: World) -> None:
    await fal.delete_payloads(request.request_id)


async def _unit_price(fal: FalClient, _: Submitted, world: World) -> None:
    assert await fal.unit_price(ENDPOINT)


async def _statuses(fal: FalClient, _: Submitted, world: World) -> None:
    assert await fal.statuses([ENDPOINT])


async def _is_gone(fal: FalClient, _: Submitted, world: World) -> None:
    assert not await fal.is_gone(ENDPOINT)
    assert await fal.is_gone("fal-ai/nothing-of-the-kind")


async def _openapi(fal: FalClient, _: Submitted, world: World) -> None:
    assert await fal.openapi(ENDPOINT)


async def _upload(fal: FalClient, _: Submitted, world: World) -> None:
    """Directly, in parts, and in the second way, which is taken when the CDN fails."""
    await fal.upload(b"small", "image/png", "a.png", seconds=60, initial_acl={"default": "allow"})
    await fal.upload(b"large" * 30, "image/png", "b.png", seconds=60)
    world.set(faults={"upload_503_always": 1.0})
    await fal.upload(b"small", "image/png", "c.png", seconds=60)
    world.set(faults={})


DRIVES: dict[str, Callable[[FalClient, Submitted, World], Awaitable[None]]] = {
    "submit": _submit,
    "cancel": _cancel,
    "check": _check,
    "origin": _origin,
    "status": _status,
    "stream_status": _stream,
    "result": _result,
    "subscribe": _subscribe,
    "download": _download,
    "fetch": _fetch,
    "history": _history,
    "lookup": _lookup,
    "delete_payloads": _delete_payloads,
    "unit_price": _unit_price,
    "statuses": _statuses,
    "is_gone": _is_gone,
    "openapi": _openapi,
    "upload": _upload,
}
CALL_NOTHING = {"aclose", "account", "request", "images_of", "clock_offset"}
"""Public methods that send nothing."""


# -- webhooks: fal calls the receiver


async def _received(world: World, patch: pytest.MonkeyPatch) -> None:
    """A callback that could not be put on record, and came again; a refusal; one without a payload; what is refused."""
    world.by = RECEIVER
    blocked = world.store / "d" / "inbox"
    blocked.write_text("not a folder")
    await _with_webhook(world)
    await _answered(world, 503, 1)
    blocked.unlink()
    await _answered(world, 200, 1)
    world.rule("refused")
    await _with_webhook(world)
    await _answered(world, 200, 2)
    world.rule("webhook_no_payload")
    await _with_webhook(world)
    await _answered(world, 200, 3)
    call = next(call for call in world.calls if call.is_fals)
    told = {name: text for name, text in call.sent_headers.items() if name.startswith("x-fal-webhook")}
    url, dead = world.webhook_url, world.webhook_url.replace("/d/", "/e/")
    for target, body in ((url, b"{}"), (url.partition("?")[0], call.sent), (dead, call.sent)):
        await world.http.post(target, content=body, headers=told)
    patch.setattr("dagster_gptimg.cli.http_server.BODY_SECONDS", 0.05)
    for cut_off in (b"x" * (2**20 + 1), _slowly(call.sent)):
        with suppress(httpx.HTTPError):  # it hangs up; what it answered is on record all the same
            await world.http.post(url, content=cut_off, headers=told)


async def _with_webhook(world: World) -> None:
    await world.http.post(f"{world.urls.queue}/{ENDPOINT}", params={"fal_webhook": world.webhook_url}, json=LOW)


async def _answered(world: World, status: int, times: int) -> None:
    await until(lambda: sum(call.status == status for call in world.calls if call.is_fals) >= times)


async def _slowly(body: bytes) -> AsyncIterator[bytes]:
    yield body[:9]
    await asyncio.sleep(0.2)
    yield body[9:]


# -- every status, by calls on nobody's behalf


async def _submits(world: World) -> None:
    url = f"{world.urls.queue}/{ENDPOINT}"
    for code in (201, 202):
        world.set(submit_code=code)
        await world.submitted()
    world.set(submit_code=200, retry_after=1)
    for fault in ("locked", "submit_429", "submit_500", "submit_503", "submit_504"):
        world.rule(fault)
        await world.http.post(url, json=LOW)
    await world.http.post(url, content=b"{")
    await world.http.post(url, json=LOW, headers=BAD_KEY)
    await world.http.post(f"{world.urls.queue}/no-such/app", json=LOW)
    world.set(validates_at_submit=True)
    await world.http.post(url, json={})
    world.set(validates_at_submit=False)


DOT = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAAAQAAAAECAAAAACMmsGiAAAAF0lEQVR4nAXBAQEAAAABoPj/mcpQoUbhG1YCB6KtJoIAAAAASUVORK5CYII="
)
"""A PNG of 4 x 4 pixels."""

OFTEN = 12
"""Results of each: by their ids, one of eight lacks any of the fields that fal's schema lets an image lack."""

WITH_DETAILS: dict[str, dict[str, Any]] = {
    "fal-ai/birefnet/v2": {"image_url": DOT},
    "fal-ai/flux-2": {"image_size": "square"},
    "fal-ai/nano-banana-2": {"aspect_ratio": "1:1"},
}
"""Models whose results have one image, or fields besides their images; with inputs."""


async def _reads(world: World) -> None:
    get = world.http.get
    for endpoint, inputs in WITH_DETAILS.items():
        for _ in range(OFTEN):
            told = await world.submitted(endpoint, **inputs)
            await world.reaches(told, "COMPLETED")
            await get(told["response_url"])
    done = await world.submitted()
    await world.reaches(done, "COMPLETED")
    world.set(**BUSY)
    running = await world.submitted()
    await get(running["status_url"])
    for code in (400, 202):
        world.set(result_before_end=code)
        await get(running["response_url"])
    await world.http.put(running["cancel_url"])
    world.set(**QUICK)
    unknown = done["response_url"].rpartition("/")[0] + "/nobody"
    for suffix in ("/status", "/status/stream", ""):
        await get(done["response_url"] + suffix, headers=BAD_KEY)
        await get(unknown + suffix)
        world.set(stored_seconds=0, expired="gone")
        await get(done["response_url"] + suffix)
        world.set(stored_seconds=3600, expired="not_found")
    for fault in ("status_500", "status_503"):
        world.rule(fault)
        await get(done["status_url"])
    await _ends(world)


async def _ends(world: World) -> None:
    """Each way in which a request ends without images, told by status, stream and result."""
    ended = [
        await world.submitted(f"{ENDPOINT}/nothing"),
        await world.submitted(f"{ENDPOINT}/edit", image_urls=[NOWHERE]),
        await world.submitted(quality="best"),
    ]
    for fault in ("refused", "failed", "failed_runner", "failed_downstream"):
        world.rule(fault)
        ended.append(await world.submitted(prompt=fault))
    for handle in ended:
        await world.reaches(handle, "COMPLETED")
    world.set(**BUSY)
    holds, late = await world.submitted(), await world.submitted(headers={"X-Fal-Request-Start-Timeout": "0.2"})
    cancelled = await world.submitted()
    await world.http.put(cancelled["cancel_url"])
    await world.reaches(late, "COMPLETED")
    await world.http.put(holds["cancel_url"])
    world.set(**QUICK)
    for details in ("text", "list"):
        world.set(error_details=details)
        for handle in (*ended, late, cancelled):
            for url in (handle["status_url"], f"{handle['status_url']}/stream", handle["response_url"]):
                await world.http.get(url, params={"logs": "1"} if "status" in url else None)


async def _cancels(world: World) -> None:
    put, done = world.http.put, await world.submitted()
    await world.reaches(done, "COMPLETED")
    await put(done["cancel_url"])
    await put(done["cancel_url"], headers=BAD_KEY)
    await put(done["cancel_url"].replace(done["request_id"], "nobody"))
    world.set(**BUSY)
    holds = await world.submitted()
    for reading in ("success", "CANCELLATION_REQUESTED", "OK"):
        world.set(cancel_answer=reading)
        await put((await world.submitted())["cancel_url"])
    await put(holds["cancel_url"])
    world.set(**QUICK)


async def _platform(world: World) -> None:
    get, api = world.http.get, f"{world.urls.api}/v1"
    history = f"{api}/models/requests/by-endpoint?endpoint_id={ENDPOINT}"
    for one in ("start=2026-01-01", f"request_id={NONE}"):
        await get(f"{history}&{one}&limit=0")
        await get(f"{history}&{one}", headers=BAD_KEY)
        world.rule("history_500")
        await get(f"{history}&{one}")
    world.set(**BUSY, history_in_progress=True)
    running = await world.submitted()
    for page in ("limit=1", "limit=100&expand=payloads"):
        await get(f"{history}&start=2026-01-01&{page}")
    await world.http.put(running["cancel_url"])
    world.set(**QUICK)
    await get(f"{api}/models?status=x")
    await get(f"{api}/models?expand=openapi-3.0&status=x")
    await get(f"{api}/models?expand=openapi-3.0")
    await get(f"{api}/models/pricing")
    await get(f"{api}/models/pricing?endpoint_id={ENDPOINT}", headers=BAD_KEY)
    await get(f"{api}/models/pricing?endpoint_id=no-such/app")
    payloads = f"{api}/models/requests/{NONE}/payloads"
    for headers in (BAD_KEY, NO_ADMIN, KEY):
        await world.http.delete(payloads, headers=headers)


async def _uploads(world: World) -> None:
    """Failing steps of an upload, each at the URL of one that went well."""
    done = {(call.method, call.url): call for call in world.calls if call.by == "upload" and call.status == 200}
    for (method, url), call in done.items():
        right = {"Authorization": call.sent_headers.get("authorization", "")}
        if right["Authorization"]:
            await world.http.request(method, url, params=call.query, content=call.sent, headers=BAD_KEY)
        if right["Authorization"].startswith("Bearer"):
            world.rule("upload_503")
            await world.http.request(method, url, content=call.sent, headers=right)
        if method == "PUT" or url.endswith("/complete"):
            with _forgotten(world.uploads):
                await world.http.request(method, url, content=call.sent, headers=right)
    [image] = [call for call in world.calls if call.by == "download"]
    world.rule("image_404")
    await world.http.get(image.url)


@contextmanager
def _forgotten(uploads: Path) -> Iterator[None]:
    """As if no upload had ever been begun."""
    away = uploads.rename(uploads.with_name("away"))
    yield
    away.rename(uploads)
