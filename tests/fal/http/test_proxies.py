"""What the environment says of the way to fal: its proxies, and nothing of ~/.netrc."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dagster_gptimg.errors import NotSentError
from dagster_gptimg.fal.types import Submitted
from tests.fal.scripted import Connection, client, scripted

if TYPE_CHECKING:
    from pathlib import Path


async def completed(connection: Connection) -> None:
    while True:
        await connection.request()
        await connection.reply(200, b'{"status": "COMPLETED"}', "Content-Type: application/json")


def at(url: str) -> Submitted:
    return Submitted(
        request_id="id",
        endpoint="fal-ai/x",
        status_url=f"{url}/status",
        response_url=f"{url}/result",
        cancel_url=f"{url}/cancel",
    )


async def test_what_a_netrc_has_for_a_host_neither_clashes_with_the_key_nor_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("default login me password secret\n", encoding="utf-8")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))

    async def take(_size: int) -> None:
        return

    async with scripted(completed) as server, client(server.url) as fal:
        await fal.status(at(server.url))
        await fal.download(f"{server.url}/image.png", take)
    asked, downloaded = server.requests
    assert b"authorization: key the-key" in asked.lower()
    assert b"authorization" not in downloaded.lower()


@pytest.mark.parametrize("spared", [False, True])
async def test_a_proxy_is_used_but_for_the_hosts_that_are_spared(
    monkeypatch: pytest.MonkeyPatch, *, spared: bool
) -> None:
    async with scripted(completed) as proxy, scripted(completed) as direct:
        for name in ("no_proxy", "NO_PROXY", "HTTP_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("http_proxy", proxy.url)
        if spared:
            monkeypatch.setenv("no_proxy", "127.0.0.1")
        async with client(direct.url) as fal:
            await fal.status(at(direct.url))
            await fal.status(at(direct.url))
    used, other = (direct, proxy) if spared else (proxy, direct)
    assert len(used.requests) == 2
    assert not other.requests
    assert used.requests[0].startswith(b"GET http://127.0.0.1" if not spared else b"GET /status")


@pytest.mark.parametrize("status", [403, 407, 502, 503])
async def test_a_proxy_that_refuses_to_connect_has_sent_nothing(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    """The body of a POST to an https address leaves only once the proxy has connected."""

    async def refuses(connection: Connection) -> None:
        await connection.request()
        await connection.reply(status, b"")

    async with scripted(refuses) as proxy:
        for name in ("no_proxy", "NO_PROXY", "HTTPS_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("https_proxy", proxy.url)
        async with client("https://fal.test") as fal:
            with pytest.raises(NotSentError):
                await fal.submit("fal-ai/x", {"prompt": "a"})
    assert all(head.startswith(b"CONNECT ") for head in proxy.requests)
