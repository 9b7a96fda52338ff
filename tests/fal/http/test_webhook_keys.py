"""fal's list of webhook keys: one good key is enough, whatever else stands in it; no list is waited for for ever."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from dagster_gptimg.base.retry_policies import WEBHOOK_KEYS
from dagster_gptimg.errors import ReadError, WebhookError
from dagster_gptimg.fal.http import webhooks
from dagster_gptimg.fal.http.webhooks import MOST_KEYS, WebhookKeys
from dagster_gptimg.fal.settings import FalUrls
from tests.fal.scripted import scripted

if TYPE_CHECKING:
    from tests.fal.scripted import Connection

SECRET = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
BODY = json.dumps({"request_id": "r", "gateway_request_id": "r", "status": "OK", "payload": {}}).encode()


def jwk(x: Any = None, **more: Any) -> dict[str, Any]:
    public = base64.urlsafe_b64encode(SECRET.public_key().public_bytes_raw()).rstrip(b"=").decode()
    return {"kty": "OKP", "crv": "Ed25519", "x": public if x is None else x, **more}


def headers() -> dict[str, str]:
    stamp = str(int(time.time()))
    message = "\n".join(["r", "user", stamp, hashlib.sha256(BODY).hexdigest()]).encode()
    signed = {"request-id": "r", "user-id": "user", "timestamp": stamp, "signature": SECRET.sign(message).hex()}
    return {f"x-fal-webhook-{name}": text for name, text in signed.items()}


async def verified(listed: Any) -> webhooks.Webhook:
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.reply(200, json.dumps(listed).encode())

    async with scripted(script) as server:
        return await WebhookKeys(FalUrls.at(server.url)).verified(headers(), BODY)


@pytest.mark.parametrize(
    "foreign",
    [
        {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB", "x": "AQAB"},
        jwk("AQAB"),
        jwk(""),
        jwk("ä" * 43),
        jwk("A" * 43),
        jwk(7),
        jwk(crv="X25519"),
        jwk(crv=None),
        jwk(crv=["Ed25519"]),
        None,
        "key",
        [],
    ],
    ids=str,
)
async def test_a_foreign_key_beside_the_right_one_is_passed_over(foreign: Any) -> None:
    found = await verified({"keys": [foreign, jwk()]})
    assert (found.request_id, found.user_id) == ("r", "user")
    with pytest.raises((ReadError, WebhookError)):
        await verified({"keys": [foreign]})


@pytest.mark.parametrize("listed", [{}, {"keys": {}}, [], {"keys": [jwk("A" * 43)] * MOST_KEYS + [jwk()]}], ids=repr)
async def test_a_list_without_the_key_in_its_bounds_verifies_nothing(listed: Any) -> None:
    with pytest.raises((ReadError, WebhookError)):
        await verified(listed)


async def test_a_list_that_trickles_ends_and_the_next_one_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "KEYS_SECONDS", 0.3)
    monkeypatch.setattr(webhooks, "WEBHOOK_KEYS", replace(WEBHOOK_KEYS, first_pause=0.0))
    calls = list[int]()

    async def script(connection: Connection) -> None:
        await connection.request()
        calls.append(1)
        if len(calls) > 1:
            await connection.reply(200, json.dumps({"keys": [jwk()]}).encode())
            return
        await connection.reply(200, b"{", length=10_000)
        while True:
            connection.writer.write(b" ")
            await connection.writer.drain()
            await asyncio.sleep(0.02)

    async with scripted(script) as server:
        keys = WebhookKeys(FalUrls.at(server.url))
        waiting = [asyncio.create_task(keys.verified(headers(), BODY)) for _ in range(3)]
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(results[0], ReadError)
        monkeypatch.setattr(webhooks, "KEYS_SECONDS", 30.0)  # the good list may be slow on a loaded machine
        assert (await keys.verified(headers(), BODY)).request_id == "r"
