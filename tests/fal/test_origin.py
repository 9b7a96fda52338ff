"""Whose fal it is: told by fal itself or by an emulator, and never guessed from an answer that cannot be read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from dagster_gptimg.errors import UnreachableError
from dagster_gptimg.fal.http.client import FalClient
from dagster_gptimg.fal.settings import FalSettings, FalUrls
from dagster_gptimg.store.dataset import Dataset
from dagster_gptimg.store.root import Store
from tests.fal.scripted import scripted

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fal.scripted import Connection

ODD: tuple[Any, ...] = ({}, None, [], "x", {"id": 1}, {"id": ""})
RANGES = {"webhook_ip_ranges": ["192.0.2.0/24"]}


async def origin(status: int, body: bytes, *headers: str, length: int | None = None) -> str:
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.reply(status, body, *headers, length=length)
        connection.writer.close()

    async with scripted(script) as server, FalClient(FalSettings("id:key", FalUrls.at(server.url))) as fal:
        return await fal.origin()


@pytest.mark.parametrize(
    ("said", "expected"),
    [(RANGES, "fal"), ({}, "fal"), ({**RANGES, "more": 1}, "fal"), ({"emulator": {"id": "abc"}}, "emulator:abc")],
)
async def test_it_is_who_it_says(said: dict[str, Any], expected: str) -> None:
    assert await origin(200, json.dumps(said).encode()) == expected


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (503, b"<html>Service Temporarily Unavailable</html>"),
        (401, b'{"detail": "no"}'),
        (404, b'{"message": "no Route matched"}'),
        (204, b""),
        (302, b"{}"),
        (200, b"<html>a sign-in</html>"),
        (200, b"[]"),
        (200, b"null"),
        (200, b'"fal"'),
        (200, b'{"message": "welcome"}'),
        (200, b'{"detail": "ok"}'),
        (200, b"[" * 100_000),
        *((200, json.dumps({"emulator": said}).encode()) for said in ODD),
        *((200, json.dumps({"emulator": {"id": name}}).encode()) for name in ("x" * 200, "../x", "a\nb", "\ud83d")),
    ],
)
async def test_what_cannot_be_read_is_nobody_and_makes_no_dataset(status: int, body: bytes, tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match="Nothing was sent"):
        Dataset(Store(str(tmp_path)), "d").open(await origin(status, body))
    assert Store(str(tmp_path)).names("d") == []


async def test_an_answer_that_breaks_off_is_nobody() -> None:
    with pytest.raises(UnreachableError, match="Nothing was sent"):
        await origin(200, json.dumps(RANGES).encode(), length=500)
