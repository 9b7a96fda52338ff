"""Results that hold their images themselves: the images come out byte for byte, and nothing else changes."""

from __future__ import annotations

import base64
import json
import random
from typing import TYPE_CHECKING, Any

import pytest

from dagster_gptimg.errors import ReadError
from dagster_gptimg.fal.http.connections import InMemory
from dagster_gptimg.fal.types import Images
from tests.fal.scripted import client, scripted

if TYPE_CHECKING:
    from dagster_gptimg.fal.types import Answer
    from tests.fal.scripted import Connection

DATA = random.Random(3).randbytes(2_000_001)


def uri(data: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(data).decode()


async def result_of(body: bytes) -> tuple[Answer, list[int]]:
    """What the client makes of a result, and the room that it took."""

    async def script(connection: Connection) -> None:
        while True:
            await connection.request()
            await connection.reply(200, body)

    took = list[int]()

    async def take(size: int) -> None:
        took.append(size)

    async with scripted(script) as server, client(server.url) as fal:
        return await fal.result(fal.request("openai/gpt-image-1-mini", "R1"), take=take), took


def bytes_of(file: Any) -> bytes:
    sink = InMemory()
    sink.write(b"of an earlier try")
    file.held.copy(sink)
    return bytes(sink.found)


@pytest.mark.parametrize("escaped", ["/", "\\/"])
async def test_large_images_are_held_in_their_order_and_decoded_piece_by_piece(escaped: str) -> None:
    images = [DATA, DATA[:1_500_000], DATA[5:]]
    told: dict[str, Any] = {"images": [{"url": uri(data), "content_type": "image/png"} for data in images]}
    told["prompt"] = 'a text that says "data:image/png;base64,AAEC" and ends in a backslash \\'
    told["seed"] = 7
    answer, took = await result_of(json.dumps(told).replace("/", escaped).encode())
    assert isinstance(answer, Images)
    assert [bytes_of(file) for file in answer.images] == images
    assert took


async def test_a_small_image_stays_in_its_url() -> None:
    answer, _ = await result_of(json.dumps({"images": [{"url": uri(b"\0\1\2")}, {"url": uri(DATA)}]}).encode())
    assert isinstance(answer, Images)
    assert answer.images[0].url == uri(b"\0\1\2")
    assert answer.images[0].held is None


@pytest.mark.parametrize(
    "wrong",
    [
        uri(DATA)[:-1],
        uri(DATA)[:-8] + "!!!!!!!!",
        uri(DATA[:900_001]) + uri(DATA)[22:],
        uri(DATA[:786_431]) + uri(DATA)[22:],  # the first ends where a piece does
        "data:image/png," + "x" * 1_200_000,
        "data:" + "x" * 1_200_000,
    ],
)
async def test_what_is_no_image_in_base64_is_a_bad_read(wrong: str) -> None:
    answer, _ = await result_of(json.dumps({"images": [{"url": wrong}]}).encode())
    assert isinstance(answer, Images)
    with pytest.raises(ReadError):
        bytes_of(answer.images[0])


@pytest.mark.parametrize(
    "body",
    [
        b'{"images": [{"url": "' + uri(DATA).encode(),
        b'{"images": [{"url": "' + uri(DATA).encode() + b'"}], "more": "' + b"x" * 1_100_000 + b'"}',
    ],
)
async def test_a_result_that_is_cut_or_too_large_without_its_images_is_a_bad_read(body: bytes) -> None:
    with pytest.raises(ReadError):
        await result_of(body)


@pytest.mark.parametrize("body", [b"", b"  ", b"[]", b'{"images": "', b'{"images": [{"url": "data:'])
async def test_a_result_without_a_length_that_is_nothing_is_a_bad_read(body: bytes) -> None:
    async def script(connection: Connection) -> None:
        await connection.request()
        connection.writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body)
        await connection.writer.drain()

    async def take(_: int) -> None:
        """There is room."""

    async with scripted(script) as server, client(server.url) as fal:
        with pytest.raises(ReadError):
            await fal.result(fal.request("openai/gpt-image-1-mini", "R1"), take=take)
