"""Hosts that an answer names: nothing of one's own network is called, whatever it is called by."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from dagster_gptimg.errors import ReadError
from dagster_gptimg.fal.addresses import is_private
from dagster_gptimg.fal.http.client import FalClient
from dagster_gptimg.fal.settings import FalSettings, FalUrls
from tests.fal.scripted import Connection, Server, scripted

REAL = socket.getaddrinfo


class Names:
    """Names that lead where a test says; each look-up is counted."""

    def __init__(self) -> None:
        self.known: dict[str, list[str]] = {}
        self.asked: list[str] = []

    def __call__(self, host: Any, port: Any, *more: Any, **given: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else str(host)
        if name not in self.known:
            return REAL(host, port, *more, **given)
        self.asked.append(name)
        return [found for address in self.known[name] for found in REAL(address, port, *more, **given)]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    found = Names()
    monkeypatch.setattr(socket, "getaddrinfo", found)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return found


async def plain_answer(connection: Connection) -> None:
    await connection.request()
    await connection.reply(200, b"data")


def at(server: Server) -> FalClient:
    settings = FalSettings("the-key", FalUrls.at("http://127.0.0.1:9"), read_timeout=2.0, connect_timeout=1.0)
    return FalClient(settings, read_attempts=1)


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["::ffff:127.0.0.1"], ["10.1.2.3", "127.0.0.1"]])
async def test_a_public_name_that_leads_into_ones_own_network_is_not_called(names: Names, addresses: list[str]) -> None:
    names.known["images.example.com"] = addresses
    touched = list[str]()

    async def script(connection: Connection) -> None:
        touched.append("connected")

    async with scripted(script) as server, at(server) as fal:
        url = f"https://images.example.com:{server.url.rpartition(':')[2]}/x.png"
        with pytest.raises(ReadError, match=r"images\.example\.com resolves to an address that is not public"):
            await fal.download(url)
        assert names.asked == ["images.example.com"]
    assert touched == []


async def test_of_several_addresses_only_the_public_ones_are_called(names: Names) -> None:
    """192.0.2.x leads nowhere, so the attempt fails; what matters is that the private one was never tried."""
    names.known["images.example.com"] = ["127.0.0.1", "1.1.1.1"]
    touched = list[str]()

    async def script(connection: Connection) -> None:
        touched.append("connected")

    async with scripted(script) as server, at(server) as fal:
        with pytest.raises(ReadError):
            await fal.download(f"https://images.example.com:{server.url.rpartition(':')[2]}/x.png")
    assert touched == []


async def test_an_uploads_address_is_looked_at_in_the_same_way(names: Names) -> None:
    names.known["files.example.com"] = ["127.0.0.1"]
    asked = list[bytes]()

    async def script(connection: Connection) -> None:
        while True:
            head = await connection.request()
            asked.append(head)
            body = b'{"upload_url": "https://files.example.com/up", "file_url": "https://files.example.com/f"}'
            await connection.reply(200 if b"/initiate" in head else 500, body)

    async with scripted(script) as server:
        settings = FalSettings("the-key", FalUrls.at(server.url), read_timeout=2.0)
        async with FalClient(settings, read_attempts=1) as fal:
            fal._uploads._again = fal._wire.again
            with pytest.raises(ReadError, match=r"files\.example\.com resolves to an address that is not public"):
                await fal.upload(b"data", "image/png", "a.png")
    assert b"PUT" not in b"".join(asked)


async def test_fals_own_hosts_and_those_that_were_configured_may_be_anywhere(names: Names) -> None:
    names.known |= {"cdn.example.com": ["127.0.0.1"], "v9.fal.media": ["127.0.0.1"]}
    touched = list[str]()

    async def script(connection: Connection) -> None:
        touched.append("connected")
        await plain_answer(connection)

    async with scripted(script) as server:
        base = f"http://cdn.example.com:{server.url.rpartition(':')[2]}"
        settings = FalSettings("the-key", FalUrls.at(base), read_timeout=2.0)
        async with FalClient(settings, read_attempts=1) as fal:
            assert await fal.download(f"{base}/x.png") == b"data"
            with pytest.raises(ReadError) as told:  # it is no TLS that answers, but it is called
                await fal.download(f"https://v9.fal.media:{server.url.rpartition(':')[2]}/x.png")
    assert len(touched) == 2
    assert "not public" not in str(told.value)


@pytest.mark.parametrize(
    "host",
    [
        "localhost.", "LOCALHOST.localdomain.local", "[::ffff:7f00:1]", "64:ff9b::7f00:1", "2002:7f00:1::", "224.0.0.1",
        "127.1.", "0X7F.1", "fe80::1", "metadata.google.internal.",
    ],
)  # fmt: skip
def test_every_spelling_of_a_private_host_is_known(host: str) -> None:
    assert is_private(host)


@pytest.mark.parametrize("host", ["v3.fal.media", "example.com.", "8.8.8.8", "64:ff9b::808:808", "2606:4700::1111"])
def test_public_hosts_are_public(host: str) -> None:
    assert not is_private(host)
