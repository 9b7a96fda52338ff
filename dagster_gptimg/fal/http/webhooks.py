"""Verification of fal's webhooks by a receiver (docs/fal-wire.md#webhooks). Needs the extra `receive`.

A webhook is signed with ED25519 over its ids, its time and the hash of its raw body. A valid signature says that fal
sent it, but not for whom: any customer of fal's can have a webhook sent to any URL.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import httpx
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from dagster_gptimg.base.plain_text import shown, words_of
from dagster_gptimg.base.retry_policies import NEWER_WEBHOOK_KEYS, WEBHOOK_KEYS
from dagster_gptimg.errors import ReadError, WebhookError
from dagster_gptimg.fal.http.bodies import parse_object, read_reply
from dagster_gptimg.fal.http.request_ids import ids_in_text, is_request_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagster_gptimg.fal.settings import FalUrls
    from dagster_gptimg.fal.types import Json

TOLERANCE = 300
"""Maximum seconds between a webhook's timestamp and now (fal's own limit): an older one is a replay."""

KEYS_KEPT = 24 * 3600.0
"""Seconds for which fal's public keys are cached; fal says at most a day."""

MOST_KEYS = 64
KEYS_BYTES = 256 * 1024
KEYS_SECONDS = 10.0
"""Seconds for the whole list of keys to be received: every webhook waits for it."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """The content of one of fal's webhooks. The URLs in the payload are as untrusted as those of any result.

    Attributes:
        status: `OK` or `ERROR`; this is not the queue's status.
        error: such as `Invalid status code: 422`.
        payload: the model's output, or its error; None if fal could not serialize it.
        user_id: fal's name for the account of the request; part of what is signed.
    """

    request_id: str
    status: str
    error: str | None
    payload: dict[str, Json] | None
    user_id: str = ""


class WebhookKeys:
    """fal's public keys, and the verification of signatures by them."""

    def __init__(self, urls: FalUrls) -> None:
        """Set the address of the keys; they are fetched at the first webhook."""
        self._url = f"{urls.rest}/.well-known/jwks.json"
        self._keys: list[Ed25519PublicKey] = []
        self._fetched = self._failed = float("-inf")
        self._fetching = asyncio.Lock()

    async def verified(self, headers: Mapping[str, str], body: bytes) -> Webhook:
        """Return the webhook with these headers and this raw body, once its signature is verified.

        Raises:
            WebhookError: fal did not send it, or not within the last minutes.
            ReadError: fal's keys cannot be fetched, so the signature cannot be checked.
        """
        message = signed_message(headers, body)
        signature = _hex(headers.get("x-fal-webhook-signature", ""))
        if not await self._fits(message, signature):
            raise WebhookError("the signature matches none of fal's keys")
        found = _webhook(headers.get("x-fal-webhook-request-id", ""), body)
        return replace(found, user_id=headers.get("x-fal-webhook-user-id", ""))

    async def _fits(self, message: bytes, signature: bytes) -> bool:
        await self._fetch(KEYS_KEPT)
        if _signed(self._keys, message, signature):
            return True
        # Not at every webhook: a forger must not have us ask fal again and again.
        return await self._fetch(NEWER_WEBHOOK_KEYS.first_pause) and _signed(self._keys, message, signature)

    async def _fetch(self, oldest: float) -> bool:
        """Fetch the keys if they are older than `oldest` seconds; return whether they were fetched.

        Raises `ReadError`.
        """
        async with self._fetching:
            if time.monotonic() - self._fetched < oldest:
                return False
            if time.monotonic() - self._failed < WEBHOOK_KEYS.first_pause:
                raise ReadError("fal's webhook keys could not be fetched a moment ago")
            try:
                self._keys = await _published(self._url)
            except ReadError:
                self._failed = time.monotonic()
                raise
            self._fetched = time.monotonic()
            return True


def check_time(headers: Mapping[str, str]) -> None:
    """Refuse a webhook that was not signed just now. Raises `WebhookError`."""
    stamp = headers.get("x-fal-webhook-timestamp", "")
    if not stamp.isascii() or not stamp.isdigit() or abs(time.time() - int(stamp[:20])) > TOLERANCE:
        raise WebhookError(f"the webhook was not signed within the last {TOLERANCE} seconds")


def signed_message(headers: Mapping[str, str], body: bytes) -> bytes:
    """Return the message that fal signs: three of the headers, and the hash of the raw body. Raises `WebhookError`."""
    check_time(headers)
    names = ("request-id", "user-id", "timestamp")
    told = [headers.get(f"x-fal-webhook-{name}", "") for name in names]
    return "\n".join([*told, hashlib.sha256(body).hexdigest()]).encode()


def _signed(keys: list[Ed25519PublicKey], message: bytes, signature: bytes) -> bool:
    for key in keys:
        try:
            key.verify(signature, message)
        except InvalidSignature:
            continue
        return True
    return False


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise WebhookError("the signature is not hexadecimal") from error


def _webhook(request_id: str, body: bytes) -> Webhook:
    """Parse the body of a webhook whose signature was verified."""
    try:
        told = parse_object(body)
    except ReadError as error:
        found = ids_in_text(body)
        if found != {request_id}:
            raise WebhookError("the body is not a readable JSON object") from error
        return Webhook(request_id, "", None, None)  # the request has certainly ended: its result is read from fal
    named = told.get("request_id")
    if not isinstance(named, str) or not is_request_id(named):
        raise WebhookError("the body names no request")
    # After a retry by fal itself the header may name the retry: the body then has both ids, and is signed.
    if request_id not in (named, told.get("gateway_request_id")):
        raise WebhookError("the header and the body name different requests")
    payload, error_text = told.get("payload"), told.get("error")
    return Webhook(
        named,
        shown(str(told.get("status")), 20),
        shown(error_text) if isinstance(error_text, str) else None,
        payload if isinstance(payload, dict) else None,
    )


async def _published(url: str) -> list[Ed25519PublicKey]:
    """Return the keys that fal publishes; entries that are not ED25519 keys are skipped. Raises `ReadError`."""
    until = asyncio.get_running_loop().time() + KEYS_SECONDS
    try:
        async with (
            asyncio.timeout_at(until),
            httpx.AsyncClient(timeout=KEYS_SECONDS) as http,
            http.stream("GET", url, headers={"Accept-Encoding": "identity"}) as response,
        ):
            reply = await read_reply(response, until, KEYS_BYTES)
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
        raise ReadError(f"fal's webhook keys cannot be fetched from {url}: {words_of(error)}") from error
    if not reply.is_success or not reply.is_whole:
        raise ReadError(f"fal's webhook keys cannot be fetched from {url}: HTTP {reply.status_code}")
    listed = parse_object(reply.body).get("keys")
    found = [_public(key) for key in listed[:MOST_KEYS]] if isinstance(listed, list) else []
    keys = [key for key in found if key is not None]
    if not keys:
        raise ReadError(f"{url} lists no keys")
    return keys


def _public(key: Json) -> Ed25519PublicKey | None:
    """Return one entry of the list as a key; None if it is of another kind or invalid: other entries may be valid."""
    x = key.get("x") if isinstance(key, dict) and key.get("crv", "Ed25519") == "Ed25519" else None
    if not isinstance(x, str):
        return None
    try:
        return Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(x + "=" * (-len(x) % 4)))
    except (binascii.Error, ValueError):
        return None
