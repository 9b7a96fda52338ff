"""The wire: what one POST can come to, and that it is one. Real sockets; bytes chosen by the test."""

from __future__ import annotations

import asyncio
import json
import socket
from dataclasses import astuple
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import pytest

from dagster_gptimg.errors import (
    AccountLockedError,
    AmbiguousSubmitError,
    GoneError,
    KeyRejectedError,
    MissingKeyError,
    NotSentError,
    ReadError,
    RejectedError,
    SubmitError,
    UnreachableError,
    UsageError,
)
from dagster_gptimg.fal.http import connections
from dagster_gptimg.fal.settings import FalSettings, FalUrls
from dagster_gptimg.fal.types import Completed, Failure, Images, InProgress, Pending, Queued
from tests.fal.scripted import Connection, Server, client, scripted

if TYPE_CHECKING:
    from tests.fal.scripted import Script

MODEL = "fal-ai/some-model/edit"
DETAIL = json.dumps({"detail": "no"}).encode()
NGINX = b"<html><center>nginx</center></html>"


def accepted(server: Server, **more: Any) -> bytes:
    base = f"{server.url}/fal-ai/some-model/requests/r-1"
    body = {"status": "IN_QUEUE", "request_id": "r-1", "queue_position": 0, "status_url": f"{base}/status"}
    return json.dumps({**body, "response_url": base, "cancel_url": f"{base}/cancel", **more}).encode()


async def submit(script: Script, *, seconds: float = 5.0) -> tuple[Any, Server]:
    """What one submit comes to (its value or its error), and what the server saw."""
    async with scripted(script) as server, client(server.url, submit_timeout=seconds) as fal:
        try:
            return await fal.submit(MODEL, {"prompt": "x"}), server
        except SubmitError as error:
            return error, server


def answering(status: int, body: bytes, *headers: str, length: int | None = None) -> Script:
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.reply(status, body, *headers, length=length)

    return script


@pytest.mark.parametrize("status", [400, 401, 404, 413, 422, 429])
async def test_fal_itself_rejects(status: int) -> None:
    error, server = await submit(answering(status, DETAIL))
    assert (type(error), error.status_code, len(server.requests)) == (RejectedError, status, 1)


async def test_a_locked_account_is_a_rejection_of_its_own() -> None:
    error, _ = await submit(answering(403, b'{"detail": "User is locked. Reason: Exhausted balance."}'))
    assert isinstance(error, AccountLockedError)
    assert "Exhausted balance" in str(error)


async def test_retry_after_is_told() -> None:
    error, _ = await submit(answering(429, DETAIL, "Retry-After: 7"))
    assert error.retry_after == 7.0


AMBIGUOUS_STATUS = [301, 302, 307, 308, 402, 405, 408, 409, 418, 425, 499, 500, 502, 503, 504, 520]


@pytest.mark.parametrize("status", AMBIGUOUS_STATUS)
async def test_every_other_status_is_ambiguous_whatever_its_body(status: int) -> None:
    error, server = await submit(answering(status, DETAIL, "Location: /elsewhere"))
    assert (type(error), len(server.requests)) == (AmbiguousSubmitError, 1)


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 413, 422, 429])
@pytest.mark.parametrize("body", [b"", NGINX, b"[]", b'{"message": "blocked by the firewall"}', b'{"detail'])
async def test_a_foreign_body_is_ambiguous_whatever_its_status(status: int, body: bytes) -> None:
    error, server = await submit(answering(status, body))
    assert (type(error), len(server.requests)) == (AmbiguousSubmitError, 1)


@pytest.mark.parametrize("request_id", ["", None, 7, "../../etc", "a/b", "a.b", "x" * 200, "ä"])
async def test_an_id_that_cannot_be_one_is_ambiguous(request_id: object) -> None:
    error, _ = await submit(answering(200, json.dumps({"request_id": request_id}).encode()))
    assert isinstance(error, AmbiguousSubmitError)


async def _read_and_close(connection: Connection) -> None:
    await connection.request()


async def _read_and_reset(connection: Connection) -> None:
    await connection.request()
    connection.reset()


async def _close_at_once(connection: Connection) -> None:
    connection.writer.close()


async def _reset_at_once(connection: Connection) -> None:
    connection.reset()


async def _cut_reply(connection: Connection) -> None:
    await connection.request()
    await connection.reply(200, accepted(connection.server)[:40], length=400)


async def _never(connection: Connection) -> None:
    await connection.request()
    await asyncio.sleep(3)


@pytest.mark.parametrize(
    "script", [_read_and_close, _read_and_reset, _close_at_once, _reset_at_once, _cut_reply, _never]
)
async def test_a_connection_that_breaks_once_it_stood_is_ambiguous(script: Script) -> None:
    # httpx-aiohttp calls each of these httpx.ConnectTimeout: by its class, they would be sent again, and paid twice
    error, server = await submit(script, seconds=0.5)
    assert isinstance(error, AmbiguousSubmitError)
    assert len(server.requests) <= 1


async def test_a_kept_connection_that_the_server_closes_is_ambiguous() -> None:
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.reply(200, accepted(connection.server))
        await connection.request()

    async with scripted(script) as server, client(server.url) as fal:
        await fal.submit(MODEL, {"prompt": "one"})
        with pytest.raises(AmbiguousSubmitError):
            await fal.submit(MODEL, {"prompt": "two"})
        assert len(server.requests) == 2


async def test_a_refused_connection_was_never_sent_and_never_made_ready() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ready: list[int] = []

    async def note() -> None:
        ready.append(1)

    async with client(f"http://127.0.0.1:{port}") as fal:
        with pytest.raises(NotSentError):
            await fal.submit(MODEL, {}, note)
    async with client("http://no-such-host.invalid") as fal:
        with pytest.raises(NotSentError):
            await fal.submit(MODEL, {}, note)
    assert not ready


async def test_nothing_can_be_accepted_before_ready() -> None:
    seen: list[int] = []

    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.reply(200, accepted(connection.server))

    async with scripted(script) as server, client(server.url) as fal:

        async def ready() -> None:
            await asyncio.sleep(0.1)
            seen.append(len(server.requests))

        request = await fal.submit(MODEL, {"prompt": "ä"}, ready)
    assert seen == [0]
    assert request.request_id == "r-1"
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert json.loads(body) == {"prompt": "ä"}
    assert b"authorization: key the-key" in head.lower()
    assert head.startswith(b"POST /fal-ai/some-model/edit HTTP/1.1")


async def test_what_ready_raises_ends_the_submit_unsent() -> None:
    class TakenError(Exception):
        pass

    async def ready() -> None:
        raise TakenError

    async with scripted(_read_and_close) as server, client(server.url) as fal:
        with pytest.raises(TakenError):
            await fal.submit(MODEL, {"prompt": "x"}, ready)
        await asyncio.sleep(0.05)
        assert server.requests == []


async def test_a_connection_that_breaks_while_the_intent_is_made_is_no_cancellation() -> None:
    async def script(connection: Connection) -> None:
        await connection.reader.readuntil(b"\r\n\r\n")
        connection.reset()

    async def ready() -> None:
        await asyncio.sleep(0.5)

    async with scripted(script) as server, client(server.url) as fal:
        with pytest.raises(SubmitError):
            await fal.submit(MODEL, {"prompt": "x"}, ready)
        assert server.requests == []


async def test_urls_that_point_elsewhere_are_not_followed_with_the_key() -> None:
    async with scripted(_read_and_close) as thief:

        async def script(connection: Connection) -> None:
            while b"POST" in await connection.request():
                urls = dict.fromkeys(("status_url", "response_url", "cancel_url"), f"{thief.url}/x")
                await connection.reply(200, accepted(connection.server, **urls))
            await connection.reply(200, b'{"status": "IN_PROGRESS", "logs": null}')

        async with scripted(script) as server, client(server.url) as fal:
            request = await fal.submit(MODEL, {"prompt": "x"})
            assert request.status_url == f"{server.url}/fal-ai/some-model/requests/r-1/status"
            assert await fal.status(request) == InProgress()
        assert thief.requests == []


async def test_urls_of_another_request_are_not_followed() -> None:
    async with client("http://127.0.0.1:9") as fal:
        base = f"{fal.urls.queue}/owner/app/requests"
        own = (f"{base}/mine/status", f"{base}/mine/response", f"{base}/mine/cancel")
        assert astuple(fal.request("owner/app/edit", "mine", *own))[2:] == own
        others = [url.replace("mine", "other") for url in own]
        for wrong in (others, [own[1], own[0], own[0]], (f"{base}/mine/status?x", f"{base}/mine/", "")):
            built = fal.request("owner/app/edit", "mine", *wrong)
            assert astuple(built)[2:] == (f"{base}/mine/status", f"{base}/mine", f"{base}/mine/cancel")


async def test_an_image_may_come_within_its_url() -> None:
    async with client("http://127.0.0.1:9") as fal:
        assert await fal.download("data:image/png;base64,AAEC") == bytes([0, 1, 2])
        for wrong in ("data:image/png;base64,A", "data:image/png,x", "data:"):
            with pytest.raises(ReadError, match="a data URI that is not an image"):
                await fal.download(wrong)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://fal.media/x.png",
        "http://v3.fal.media/x.png",
        "https://localhost/x",
        "https://127.0.0.1/x",
        "https://10.0.0.1/x",
        "https://169.254.169.254/latest",
        "https://[::1]/x",
        "https://metadata.internal/x",
        "https://intranet/x",
        "data:text/html,x",
    ],
)
async def test_image_urls_that_no_result_has_are_not_fetched(url: str) -> None:
    async with client("http://127.0.0.1:9") as fal:
        with pytest.raises(ReadError, match=r"not a public https address|not an image"):
            await fal.download(url)


async def test_images_are_fetched_whole_without_the_key_and_up_to_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(connection: Connection) -> None:
        while True:
            path = (await connection.request()).split(b" ")[1]
            status, body, length = {
                b"/whole": (200, b"x" * 5000, None),
                b"/cut": (200, b"x" * 10, 5000),
                b"/gone": (404, b"", None),
                b"/busy": (503, NGINX, None),
            }[path]
            await connection.reply(status, body, length=length)
            if length:
                return

    async with scripted(script) as server, client(server.url) as fal:
        assert len(await fal.download(f"{server.url}/whole")) == 5000
        with pytest.raises(GoneError):
            await fal.download(f"{server.url}/gone")
        for bad in ("busy", "cut"):
            with pytest.raises(ReadError):
                await fal.download(f"{server.url}/{bad}")
        monkeypatch.setattr(connections, "MAX_IMAGE_BYTES", 4000)
        with pytest.raises(ReadError, match="the limit is 4000"):
            await fal.download(f"{server.url}/whole")
    assert not any(b"the-key" in request for request in server.requests)


RESULTS: list[tuple[int, Any, tuple[str, ...], Any]] = [
    (200, {"images": [{"url": "u", "width": 5}]}, ("X-Fal-Billable-Units: 2",), Images),
    (200, {"images": [{"url": "u"}]}, ("X-Fal-Billable-Units: lots",), Images),
    (200, {"images": []}, (), "ended"),
    (200, {"images": [{"url": 5}]}, (), ReadError),
    (200, {"images": {"url": "u"}}, (), ReadError),
    (200, {"other": 1}, (), ReadError),
    (202, {"status": "IN_QUEUE"}, (), Pending),
    (400, {"detail": "Request is still in progress"}, (), Pending),
    (
        422,
        {"detail": [{"loc": ["body"], "msg": "no", "type": "content_policy_violation", "input": "SECRET"}]},
        (),
        "refused",
    ),
    (422, {"detail": [{"loc": [], "msg": "no", "type": "file_download_error"}]}, (), "free"),
    (422, {"detail": [{"loc": [], "msg": "no", "type": "image_load_error"}]}, (), "free"),
    (422, {"detail": "no", "error_type": "something_new"}, (), "ended"),
    (422, {"detail": "no", "error_type": "something_new"}, ("X-Fal-Billable-Units: 0",), "free"),
    (400, {"detail": [{"loc": [], "msg": "no", "type": "downstream_service_error"}]}, (), "ended"),
    (
        400,
        {"detail": [{"loc": [], "msg": "", "type": "downstream_service_error"}]},
        ("X-Fal-Billable-Units: 0",),
        "free",
    ),
    (400, {"detail": "bad", "error_type": "bad_request"}, (), "ended"),
    (499, {"detail": "cancelled", "error_type": "client_cancelled"}, (), "ended"),
    (429, {"detail": "Too many requests", "error_type": "concurrent_requests_limit"}, (), ReadError),
    (403, {"detail": "no", "error_type": "forbidden"}, (), ReadError),
    (408, {"detail": "late", "error_type": "request_timeout"}, (), ReadError),
    (401, {"detail": "no", "error_type": "unauthorized"}, (), ReadError),
    (404, {"message": "no Route matched"}, (), ReadError),
    (404, {"detail": "no", "error_type": "not_found"}, (), GoneError),
    (500, {"detail": [{"loc": [], "msg": "broke", "type": "internal_server_error"}]}, (), "free"),
    (503, {"detail": "gone", "error_type": "runner_disconnected"}, (), "free"),
    (504, {"detail": "late"}, ("X-Fal-Error-Type: request_timeout",), "free"),
    (504, {"detail": "late"}, ("X-Fal-Request-Timeout-Type: user",), "free"),
    (504, {"detail": "late"}, (), ReadError),
    (503, {"detail": "upstream connect error"}, (), ReadError),
    (503, {"message": "service unavailable"}, (), ReadError),
    (422, {"detail": "flagged"}, ("X-Fal-Request-Id: r-1",), "refused"),
    (422, {"detail": "blocked by the firewall"}, (), ReadError),
    (500, {"detail": "broke"}, ("X-Fal-Request-Id: r-1",), ReadError),
    (404, {"status": "NOT_FOUND"}, (), GoneError),
    (410, {"status": "NOT_FOUND"}, (), GoneError),
    (410, None, (), ReadError),
    (404, None, (), ReadError),
    (502, None, (), ReadError),
    (200, None, (), ReadError),
]


@pytest.mark.parametrize(("status", "body", "headers", "kind"), RESULTS)
async def test_what_a_result_says(status: int, body: Any, headers: tuple[str, ...], kind: Any) -> None:
    sent = NGINX if body is None else json.dumps(body).encode()
    async with scripted(answering(status, sent, *headers)) as server, client(server.url) as fal:
        request = fal.request(MODEL, "r-1")
        if isinstance(kind, type) and issubclass(kind, Exception):
            with pytest.raises(kind) as caught:
                await fal.result(request)
            assert type(caught.value) is kind
            return
        answer = await fal.result(request)
    if isinstance(answer, Failure):
        assert answer.kind == kind
        assert "SECRET" not in repr(answer)
        return
    assert isinstance(answer, kind)
    if isinstance(answer, Images):
        assert str(answer.billable_units) == ("2" if "2" in headers[0] else "None")


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (202, {"status": "IN_QUEUE", "queue_position": 3}, Queued(3)),
        (202, {"status": "IN_QUEUE"}, Queued(None)),
        (202, {"status": "IN_PROGRESS", "logs": None}, InProgress()),
        (200, {"status": "COMPLETED", "error": "x", "error_type": "y"}, Completed("x", "y")),
        (200, {"status": "DONE"}, ReadError),
        (404, {"status": "NOT_FOUND"}, GoneError),
        (410, {"status": "NOT_FOUND"}, GoneError),
        (503, {"status": "COMPLETED"}, ReadError),
    ],
)
async def test_what_a_status_says(status: int, body: dict[str, Any], expected: Any) -> None:
    async with scripted(answering(status, json.dumps(body).encode())) as server, client(server.url) as fal:
        request = fal.request(MODEL, "r-1")
        if isinstance(expected, type):
            with pytest.raises(expected):
                await fal.status(request)
        else:
            assert await fal.status(request) == expected


@pytest.mark.parametrize(
    ("status", "answer", "removed"),
    [
        (200, {"status": "OK"}, True),
        (202, {"status": "CANCELLATION_REQUESTED"}, False),
        (202, {"status": "OK"}, False),
        (200, {"success": True}, False),
        (400, {"status": "ALREADY_COMPLETED"}, False),
        (404, {"status": "NOT_FOUND"}, False),
    ],
)
async def test_a_cancel_is_only_a_wish(status: int, answer: dict[str, Any], *, removed: bool) -> None:
    async with scripted(answering(status, json.dumps(answer).encode())) as server, client(server.url) as fal:
        assert (await fal.cancel(fal.request(MODEL, "r-1"))).removed is removed
        assert server.requests[0].startswith(b"PUT /fal-ai/some-model/requests/r-1/cancel")


async def test_check_and_origin_tell_what_is_wrong() -> None:
    async with scripted(answering(401, DETAIL)) as server, client(server.url) as fal:
        with pytest.raises(KeyRejectedError, match="set FAL_KEY"):
            await fal.check(MODEL)
    async with client("http://127.0.0.1:9") as fal:
        for call in (fal.check(MODEL), fal.origin()):
            with pytest.raises(UnreachableError, match=r"http://127\.0\.0\.1:9"):
                await call


async def test_a_history_page_with_a_line_that_cannot_be_read_says_so_and_has_the_others() -> None:
    page = {"items": [{"request_id": "r", "sent_at": "2026-01-01T00:00:00Z"}, {"sent_at": "x"}], "has_more": False}
    async with scripted(answering(200, json.dumps(page).encode())) as server, client(server.url) as fal:
        from datetime import UTC, datetime

        [found] = [page async for page in fal.history(MODEL, datetime.now(UTC))]
    assert ([item.request_id for item in found.items], found.is_whole) == (["r"], False)


def test_settings_hide_the_key_and_say_what_to_set() -> None:
    settings = FalSettings.from_env(
        {"FAL_KEY": "id:secret\n", "FAL_BASE_URL": "http://h:1/", "FAL_CDN_URL": "https://c"}
    )
    assert settings.key == "id:secret"
    assert "secret" not in repr(settings)
    assert (settings.urls.queue, settings.urls.cdn) == ("http://h:1", "https://c")
    assert settings.account("a") != settings.account("b")
    with pytest.raises(MissingKeyError, match="set FAL_KEY"):
        FalSettings.from_env({})
    with pytest.raises(MissingKeyError):
        FalSettings.from_env({"FAL_KEY": "a\nb"})
    with pytest.raises(UsageError, match="FAL_BASE_URL"):
        FalUrls.from_env({"FAL_BASE_URL": "localhost:9"})
    assert FalUrls.from_env({}).is_fal


async def test_fals_clock_is_the_middle_of_its_latest_answers_also_when_this_machines_is_set() -> None:
    here, dates = [datetime(2026, 11, 24, 12, tzinfo=UTC)], iter([0, -9, 0, 0, 0, 0])

    async def script(connection: Connection) -> None:
        await connection.request()
        date = format_datetime(datetime(2026, 11, 24, 12, tzinfo=UTC) + timedelta(hours=next(dates)), usegmt=True)
        await connection.reply(200, b'{"status": "IN_PROGRESS", "logs": null}', f"Date: {date}")

    async with scripted(script) as server, client(server.url) as fal:
        fal._wire._wall_clock = lambda: here[0]
        assert fal.clock_offset is None
        for _ in range(5):
            await fal.status(fal.request("owner/app", "r-1"))
            assert fal.clock_offset == pytest.approx(0.5, abs=5.0)
        here[0] += timedelta(hours=2)
        assert fal.clock_offset == pytest.approx(-7200.0, abs=5.0), "no answer was needed to see that"
