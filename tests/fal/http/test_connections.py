"""Streams, uploads, request settings and the portal, over real sockets."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from dagster_gptimg.base.retry_policies import STATUS_STREAM
from dagster_gptimg.emulator.http.parse_submission import tags_of
from dagster_gptimg.errors import (
    GoneError,
    MissingKeyError,
    NotSentError,
    ReadError,
    RequestFailedError,
    UnreachableError,
    UsageError,
)
from dagster_gptimg.fal.http import storage as upload
from dagster_gptimg.fal.http.client import FalClient
from dagster_gptimg.fal.http.portal import fal_portal
from dagster_gptimg.fal.request_settings import RequestSettings, tags_text, with_as_many
from dagster_gptimg.fal.settings import FalSettings, FalUrls
from dagster_gptimg.fal.types import Completed, Images, InProgress, LogLine, Queued, Status, Submitted
from tests.fal.scripted import Connection, Server, client, scripted

if TYPE_CHECKING:
    from collections.abc import Mapping

QUEUED = {"status": "IN_QUEUE", "queue_position": 3}
RUNNING = {"status": "IN_PROGRESS", "logs": [{"message": "drawing", "timestamp": "now", "level": "INFO"}, "x"]}
DONE = {"status": "COMPLETED", "logs": None, "metrics": {"inference_time": 1.5}}
STREAM = "HTTP/1.1 200 X\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
PICTURE = b"\x89PNG\r\n\x1a\n" + b"x" * 100


def event(body: Mapping[str, Any]) -> bytes:
    return f"data: {json.dumps(body)}\n\n".encode()


def request(server: Server) -> Submitted:
    base = f"{server.url}/fal-ai/x/requests/r"
    return Submitted(
        request_id="r", endpoint="fal-ai/x", status_url=f"{base}/status", response_url=base, cancel_url=f"{base}/cancel"
    )


async def followed(*streams: bytes, logs: bool = True) -> tuple[list[Status], Server]:
    left = list(streams)

    async def script(connection: Connection) -> None:
        await connection.request()
        connection.writer.write(STREAM.encode() + left.pop(0))
        await connection.writer.drain()

    async with scripted(script) as server, client(server.url) as fal:
        return [status async for status in fal.stream_status(request(server), logs=logs)], server


async def test_a_stream_tells_every_change() -> None:
    found, server = await followed(event(QUEUED) + b": keep-alive\n\n" + event(RUNNING) + event(DONE))
    log = (LogLine("drawing", "now", "INFO"),)
    assert found == [Queued(3), InProgress(log), Completed(inference_time=1.5)]
    assert b"GET /fal-ai/x/requests/r/status/stream?logs=1 " in server.requests[0]


async def test_a_stream_that_breaks_off_is_opened_again() -> None:
    found, server = await followed(event(QUEUED), event(RUNNING) + b"data: {", event(DONE), logs=False)
    assert [type(status) for status in found] == [Queued, InProgress, Completed]
    assert len(server.requests) == 3
    assert all(b"logs=0" in line for line in server.requests)


async def test_a_request_that_is_gone_is_told_and_not_asked_for_again() -> None:
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.reply(404, b'{"status": "NOT_FOUND"}', "Content-Type: application/json")

    async with scripted(script) as server, client(server.url) as fal:
        with pytest.raises(GoneError):
            await anext(fal.stream_status(request(server)))
    assert len(server.requests) == 1


async def test_a_server_that_does_not_stream_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    twice = replace(STATUS_STREAM, tries=2)
    monkeypatch.setattr("dagster_gptimg.fal.http.status_stream.STATUS_STREAM", twice)

    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.reply(200, json.dumps(DONE).encode(), "Content-Type: application/json")

    async with scripted(script) as server, client(server.url) as fal:
        with pytest.raises(ReadError, match="were cut off"):
            await anext(fal.stream_status(request(server)))
    assert len(server.requests) == 2


class Storage:
    """fal's storage, as a script; `broken` are the paths that answer 500."""

    def __init__(self, *broken: str) -> None:
        self.broken = broken

    async def __call__(self, connection: Connection) -> None:
        while True:
            head = (await connection.request()).partition(b"\r\n\r\n")[0].decode()
            path, url = head.split()[1], connection.server.url
            if any(word in path for word in self.broken):
                await connection.reply(500, b"{}")
                continue
            answers: dict[str, dict[str, str]] = {
                "/storage/auth/token": {"token": "t", "token_type": "Bearer", "base_url": url, "expires_at": self.ends},
                "/files/upload/multipart": {"access_url": f"{url}/files/big.png", "uploadId": "u"},
                "/files/upload": {"access_url": f"{url}/files/a.png"},
                "/storage/upload/initiate": {"upload_url": f"{url}/put", "file_url": f"{url}/files/b.png"},
            }
            body = answers.get(path.partition("?")[0], {})
            tag = path.rpartition("/")[2]
            await connection.reply(200, json.dumps(body).encode(), f"ETag: e{tag}")

    ends = "2100-01-01T00:00:00+00:00"


async def uploaded(storage: Storage, data: bytes = PICTURE, times: int = 1) -> tuple[str, list[str]]:
    async with scripted(storage) as server, client(server.url) as fal:
        fal._uploads._again = fal._wire.again
        url = ""
        for _ in range(times):
            url = await fal.upload(data, "image/png", "a.png", 3600, {"default": "forbid"})
        return url.removeprefix(server.url), [r.decode("latin-1") for r in server.requests]


async def test_an_upload_goes_to_the_cdn_with_a_token_and_never_with_the_key() -> None:
    url, seen = await uploaded(Storage(), times=2)
    assert url == "/files/a.png"
    token, *uploads = seen
    assert "authorization: key the-key" in token.lower()
    assert len(uploads) == 2  # the token is used again
    for text in uploads:
        assert "the-key" not in text
        assert "authorization: bearer t" in text.lower()
        lifecycle = '{"expiration_duration_seconds": 3600, "initial_acl": {"default": "forbid"}}'
        assert f"x-fal-object-lifecycle: {lifecycle}\r\n" in text.lower()
        assert f"x-fal-object-lifecycle-preference: {lifecycle}\r\n" in text.lower()
        assert text.endswith("x" * 100)


async def test_a_token_is_renewed_before_it_ends() -> None:
    storage = Storage()
    storage.ends = "2020-01-01T00:00:00+00:00"
    _, seen = await uploaded(storage, times=2)
    assert sum("/storage/auth/token" in text for text in seen) == 2


async def test_a_cdn_that_fails_is_gone_round_and_the_key_stays_at_fals_rest_service() -> None:
    url, seen = await uploaded(Storage("/files/upload"))
    assert url == "/files/b.png"
    (put,) = (text for text in seen if text.startswith("PUT /put"))
    assert "the-key" not in put
    assert "authorization" not in put.lower()


async def test_storage_that_does_not_work_is_told() -> None:
    with pytest.raises(ReadError, match="HTTP 500"):
        await uploaded(Storage("/files/upload", "/storage/upload"))


async def test_large_files_go_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "PARTS_ABOVE", 50)
    monkeypatch.setattr(upload, "PART", 40)
    url, seen = await uploaded(Storage())
    assert url == "/files/big.png"
    parts = {text.split()[1]: text.partition("\r\n\r\n")[2] for text in seen if text.startswith("PUT ")}
    assert sorted(parts) == [f"/files/big.png/multipart/u/{n}" for n in (1, 2, 3)]
    assert "".join(parts[name] for name in sorted(parts)).encode("latin-1") == PICTURE
    done = json.loads(seen[-1].partition("\r\n\r\n")[2])
    assert done == {"parts": [{"partNumber": n, "etag": f"e{n}"} for n in (1, 2, 3)]}


def test_request_settings_become_fals_headers() -> None:
    settings = RequestSettings(
        priority="low", start_timeout=30, tags={"team": "ads"}, lifecycle=86400, headers={"x-fal-no-retry": "1"}
    )
    assert settings.with_tags({"dataset": "cups"}) == {
        "X-Fal-No-Retry": "1",
        "X-Fal-Queue-Priority": "low",
        "X-Fal-Request-Start-Timeout": "30",
        "X-Fal-Object-Lifecycle-Preference": '{"expiration_duration_seconds": 86400}',
        "X-Fal-Tags": "dataset=cups,team=ads",
    }
    assert RequestSettings().with_tags({}) == {}
    forced = RequestSettings(headers={"x-fal-store-io": "0"}, without_guarantee=True)
    assert forced.with_tags({}) == {"X-Fal-Store-IO": "0"}


def test_settings_go_over_those_of_a_resource() -> None:
    base = RequestSettings(
        priority="low",
        start_timeout=30,
        tags={"team": "ads", "x": "1"},
        lifecycle=86400,
        headers={"X-Fal-No-Retry": "1"},
    )
    assert RequestSettings().over(base) == base
    own = RequestSettings(
        priority="normal", start_timeout=60, tags={"x": "2"}, lifecycle=7200, headers={"X-Fal-Runner-Hint": "a"}
    )
    assert own.over(base) == RequestSettings(
        priority="normal",
        start_timeout=60,
        tags={"team": "ads", "x": "2"},
        lifecycle=7200,
        headers={"X-Fal-No-Retry": "1", "X-Fal-Runner-Hint": "a"},
    )
    many = RequestSettings(tags={**{str(n): "x" for n in range(7)}, "dataset": "mine"})
    assert tags_text({"dataset": "d", "key": "k", "partition": "p", **many.tags}).count(",") == 9, "fal gets them all"
    with pytest.raises(UsageError, match=r"there are 8 tags, and fal accepts at most 10.* give 7 at most"):
        RequestSettings(tags={"mine": "1"}).over(many)
    forced = RequestSettings(headers={"X-Fal-Store-IO": "0"}, without_guarantee=True)
    assert forced.over(base).without_guarantee
    with pytest.raises(UsageError, match="could not be found in its history"):
        RequestSettings().over(forced)


def test_tags_are_written_as_fal_takes_them() -> None:
    assert tags_text({"Team Name": "a,b", "fal.x": "schöne Bilder\n", "": "x", "y": ""}) == (
        "team-name=a%2Cb,xfal.x=sch%C3%B6ne Bilder%0A"
    )
    assert tags_text({"k": "ü" * 300}) == f"k={'%C3%BC' * 42}", "whole characters, in 256 bytes"
    assert RequestSettings(tags={"fal.x": "a,b"}).with_tags({})["X-Fal-Tags"] == "xfal.x=a%2Cb"


def test_the_longest_tags_that_are_accepted_reach_fal_with_those_of_the_run() -> None:
    own = {f"t{n}": "v" * 57 for n in range(6)} | {"longest": "v" * 49}
    longest = {"dataset": "d" * 300, "key": "k" * 64, "partition": "p" * 300}
    text = RequestSettings(tags=own).with_tags(longest)["X-Fal-Tags"]
    assert len(text) == 1024
    assert tags_of(text).keys() == longest.keys() | own.keys()
    with pytest.raises(UsageError, match=r"can have 1,025 bytes.* shorten yours by 1 bytes"):
        RequestSettings(tags=own | {"t0": "v" * 58})


def test_as_many_tags_are_added_as_fal_takes() -> None:
    settings = RequestSettings(tags={"team": "ads", "campaign": "c" * 200})
    more = {"asset": "a" * 300, "Team": "x", "empty": "", "team": "other", "group": "g" * 150, "tier": "gold"}
    assert with_as_many(settings, more).tags == {**settings.tags, "group": "g" * 150, "tier": "gold"}
    assert with_as_many(RequestSettings(), {"asset": "ü" * 300}).tags == {"asset": "ü" * 42}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"priority": "high"}, "it must be normal or low"),
        ({"start_timeout": 1}, "more than 1 second"),
        ({"lifecycle": 60}, "a whole number, 3600 or more"),
        ({"tags": {str(n): "x" for n in range(11)}}, "11 tags, and fal accepts at most 10"),
        ({"tags": {str(n): "x" * 100 for n in range(5)}}, "bytes, with dataset, key, partition.* fal accepts 1,024"),
        ({"tags": {"team": ""}}, "the tag 'team' needs a name and a value"),
        ({"tags": {"": "ads"}}, "the tag '' needs a name and a value"),
        ({"tags": {"t" * 65: "ads"}}, "more than 64 characters"),
        ({"tags": {"team": "ü" * 43}}, "the tag 'team' has more than 256 bytes"),
        ({"tags": {"Team": "a", "team": "b"}}, "the tags 'Team' and 'team' have one name at fal, team: rename one"),
        ({"tags": {"Key": "a"}}, "the tags 'key' and 'Key' have one name at fal"),
        ({"headers": {"X-Fal-Store-IO": "0"}}, "could not be found in its history"),
        ({"headers": {"Authorization": "Key x"}}, "the key comes from FAL_KEY"),
        ({"headers": {"X-Fal-Tags": "a=b"}}, "it has a setting of its own: tags"),
        ({"headers": {"Cookie": "x"}}, "only X-Fal-Runner-Hint"),
    ],
)
def test_what_would_void_the_guarantee_or_is_not_fals_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        RequestSettings(**given)


def test_a_header_cannot_smuggle_another() -> None:
    with pytest.raises(UsageError, match="are not valid in a header"):
        RequestSettings(headers={"X-Fal-Runner-Hint": "a\r\nCookie: x"}).with_tags({})


def test_the_key_may_come_in_two_parts() -> None:
    assert FalSettings.from_env({"FAL_KEY_ID": "id", "FAL_KEY_SECRET": "word"}).key == "id:word"
    assert FalSettings.from_env({"FAL_KEY": "whole", "FAL_KEY_ID": "id", "FAL_KEY_SECRET": "word"}).key == "whole"
    with pytest.raises(MissingKeyError):
        FalSettings.from_env({"FAL_KEY_ID": "id"})


ACCEPTED = b'{"request_id": "r"}'


async def fal_of_one(connection: Connection) -> None:
    """A submit, a stream that completes, and a result that is an error for prompts with "bad" in them."""
    bad = False
    while True:
        asked = await connection.request()
        kind = "Content-Type: application/json"
        if asked.startswith(b"POST"):
            bad = b"bad" in asked
            await connection.reply(200, ACCEPTED, kind)
        elif b"/status/stream" in asked:
            body = event(QUEUED) + event(DONE)
            await connection.reply(200, body, "Content-Type: text/event-stream")
        elif bad:
            detail = [{"type": "content_policy_violation", "msg": "no"}]
            await connection.reply(422, json.dumps({"detail": detail}).encode(), kind)
        else:
            await connection.reply(200, b'{"images": [{"url": "https://v3.fal.media/a.png"}]}', kind)


async def test_subscribe_follows_one_request_to_its_images_and_tells_each_status() -> None:
    seen: list[Status] = []
    async with scripted(fal_of_one) as server, client(server.url) as fal:
        images = await fal.subscribe("fal-ai/x", {"prompt": "a cup"}, seen.append, logs=True)
        with pytest.raises(RequestFailedError, match="request r ended with content_policy_violation") as caught:
            await fal.subscribe("fal-ai/x", {"prompt": "bad"})
    assert [image.url for image in images.images] == ["https://v3.fal.media/a.png"]
    assert seen == [Queued(3), Completed(inference_time=1.5)]
    assert (caught.value.status_code, caught.value.request_id) == (422, "r")
    assert sum(text.startswith(b"POST") for text in server.requests) == 2


async def test_the_portal_works_inside_a_running_loop() -> None:
    async with scripted(fal_of_one) as server:
        settings = FalSettings("the-key", FalUrls.at(server.url))
        assert await asyncio.to_thread(called, settings) == "https://v3.fal.media/a.png"


def called(settings: FalSettings) -> str:
    async def inside() -> str:
        with fal_portal(settings) as call:
            return call(FalClient.subscribe, "fal-ai/x", {"prompt": "a cup"}).images[0].url

    return asyncio.run(inside())  # a running loop, and a blocking call within it


async def test_the_backup_is_read_from_when_the_queue_cannot_be_reached_and_is_never_submitted_to() -> None:
    async with scripted(fal_of_one) as server:
        urls = FalUrls(queue="http://127.0.0.1:9", queue_backup=server.url, api=server.url)
        async with FalClient(FalSettings("the-key", urls), read_attempts=1) as fal:
            asked = fal.request("fal-ai/x", "r")
            assert asked.response_url == "http://127.0.0.1:9/fal-ai/x/requests/r"
            found = await fal.result(asked)
            await fal.check("fal-ai/x")
            with pytest.raises(NotSentError):
                await fal.submit("fal-ai/x", {"prompt": "a cup"})
    assert isinstance(found, Images)
    lines = [text.split(b"\r\n")[0] for text in server.requests]
    missing = b"GET /fal-ai/x/requests/00000000-0000-0000-0000-000000000000/status HTTP/1.1"
    assert lines == [b"GET /fal-ai/x/requests/r HTTP/1.1", missing]


async def test_a_host_that_cannot_be_reached_is_the_one_that_was_asked_for_with_the_reason() -> None:
    urls = FalUrls(queue="http://127.0.0.1:9", queue_backup="http://backup.invalid")
    async with FalClient(FalSettings("k", urls)) as fal:
        with pytest.raises(UnreachableError) as refused:
            await fal.check("e/x")
    said = str(refused.value)
    assert said.startswith("cannot reach http://127.0.0.1:9 (Connect call failed")
    assert "backup" not in said
    assert "Cannot connect" not in said


async def test_a_queue_that_answers_badly_is_no_reason_to_ask_its_backup() -> None:
    async def broken(connection: Connection) -> None:
        await connection.request()
        connection.reset()

    async with scripted(broken) as queue, scripted(fal_of_one) as backup:
        urls = FalUrls(queue=queue.url, queue_backup=backup.url)
        async with FalClient(FalSettings("the-key", urls), read_attempts=1) as fal:
            with pytest.raises(ReadError):
                await fal.result(fal.request("fal-ai/x", "r"))
    assert queue.requests
    assert not backup.requests


def test_only_fals_own_queue_has_a_backup_by_itself() -> None:
    assert FalUrls().backup == FalUrls.from_env({}).backup == "https://queue.falrun.com"
    assert FalUrls.at("http://127.0.0.1:9").backup == ""
    assert FalUrls(queue="https://proxy.example.com").backup == ""
    assert FalUrls.from_env({"FAL_QUEUE_URL": "https://proxy.example.com"}).backup == ""
    assert FalUrls.from_env({"FAL_BASE_URL": "http://127.0.0.1:9"}).backup == ""
