"""fal's storage: uploads bytes, and returns their URL. Uploads are free; each step is retried with backoff.

The methods are those of fal's own clients (docs/fal-wire.md#storage): directly to the CDN with a short-lived token; if
that fails, to a URL from `storage/upload/initiate`; in parts above 90 MiB. Unlike in those clients, the key is sent to
fal's REST service only, never to the host that gets the bytes; and a URL from an answer is checked first.
"""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx

from dagster_gptimg.base.masking import harmless, hide, knows
from dagster_gptimg.base.plain_text import words_of
from dagster_gptimg.base.retry_policies import UPLOAD
from dagster_gptimg.errors import ReadError
from dagster_gptimg.fal.addresses import check_public
from dagster_gptimg.fal.http.bodies import parse_object
from dagster_gptimg.fal.http.repeating import Repeated
from dagster_gptimg.fal.http.texts import URL_LETTERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagster_gptimg.fal.http.bodies import Reply
    from dagster_gptimg.fal.http.connections import Wire
    from dagster_gptimg.fal.settings import FalSettings
    from dagster_gptimg.fal.types import Json

PARTS_ABOVE = 90 * 1024 * 1024
PART = 10 * 1024 * 1024
PARTS_AT_ONCE = 4
EARLY = timedelta(seconds=60)
"""How long before its end a token is renewed."""

SLOWEST = 128 * 1024
"""Minimum bytes per second of an upload; a slower one is given up."""

TOKEN_LETTERS = 16_384


class Token(NamedTuple):
    """A short-lived permission to upload."""

    authorization: str
    base_url: str
    expires_at: datetime


class Uploader:
    """Uploads with one key; all uploads share the token."""

    def __init__(self, wire: Wire, settings: FalSettings) -> None:
        """Use a client's connections."""
        self._wire, self._settings = wire, settings
        self._again = Repeated(UPLOAD)
        self._token: Token | None = None
        self._renewing = asyncio.Lock()

    async def upload(
        self, data: bytes, content_type: str, file_name: str, lifecycle: Mapping[str, Any] | None = None
    ) -> str:
        """Upload bytes to fal's storage, and return their URL.

        Args:
            data: the bytes.
            content_type: their content type.
            file_name: the file's name at fal.
            lifecycle: fal's `expiration_duration_seconds` and `initial_acl`.

        Raises:
            ReadError: every method failed. Nothing was paid for.
        """
        headers = {"Content-Type": content_type, "X-Fal-File-Name": file_name, **_lifecycle(lifecycle)}
        if len(data) > PARTS_ABOVE:
            return await self._in_parts(data, headers)
        try:
            return await self._direct(data, headers)
        except ReadError:
            return await self._by_initiate(data, content_type, file_name, lifecycle)

    async def _direct(self, data: bytes, headers: Mapping[str, str]) -> str:
        token = await self._current_token()
        url = f"{self._settings.urls.cdn}/files/upload"
        response = await self._send("POST", url, {**headers, "Authorization": token.authorization}, data)
        return self._url_in(response, "access_url")

    async def _by_initiate(
        self, data: bytes, content_type: str, file_name: str, lifecycle: Mapping[str, Any] | None
    ) -> str:
        url = f"{self._settings.urls.rest}/storage/upload/initiate?storage_type=fal-cdn-v3"
        asked = json.dumps({"content_type": content_type, "file_name": file_name}).encode()
        response = await self._send("POST", url, {**self._key(), **_lifecycle(lifecycle)}, asked)
        await self._send("PUT", self._url_in(response, "upload_url"), {"Content-Type": content_type}, data)
        return self._url_in(response, "file_url")

    async def _in_parts(self, data: bytes, headers: Mapping[str, str]) -> str:
        token = await self._current_token()
        auth = {"Authorization": token.authorization}
        begun = await self._send("POST", f"{token.base_url}/files/upload/multipart", {**headers, **auth}, b"")
        url, upload_id = self._url_in(begun, "access_url"), _word(parse_object(begun.body), "uploadId")
        slots = asyncio.Semaphore(PARTS_AT_ONCE)

        async def put(number: int) -> dict[str, Any]:
            part = data[(number - 1) * PART : number * PART]
            async with slots:
                done = await self._send("PUT", f"{url}/multipart/{upload_id}/{number}", auth, part)
            return {"partNumber": number, "etag": done.headers.get("etag", "")}

        count = -(-len(data) // PART)
        parts = await asyncio.gather(*(put(number) for number in range(1, count + 1)))
        body = json.dumps({"parts": parts}).encode()
        done_headers = {**auth, "Content-Type": "application/json"}
        await self._send("POST", f"{url}/multipart/{upload_id}/complete", done_headers, body)
        return url

    async def _current_token(self) -> Token:
        async with self._renewing:
            if self._token is None or self._token.expires_at - EARLY < datetime.now(UTC):
                url = f"{self._settings.urls.rest}/storage/auth/token?storage_type=fal-cdn-v3"
                about = parse_object((await self._send("POST", url, self._key(), b"{}")).body)
                hide(_word(about, "token"))
                authorization = f"{_word(about, 'token_type')} {_word(about, 'token')}"
                base = self._url(about.get("base_url") or self._settings.urls.cdn, "base_url").rstrip("/")
                try:
                    expires = datetime.fromisoformat(_word(about, "expires_at"))
                    ends = (expires if expires.tzinfo else expires.replace(tzinfo=UTC)).astimezone(UTC)
                except (ValueError, OverflowError) as error:
                    raise ReadError("fal's storage sent an upload token without a readable expiry time") from error
                self._token = Token(authorization, base, ends)
            return self._token

    def _key(self) -> dict[str, str]:
        return {"Authorization": f"Key {self._settings.key}", "Content-Type": "application/json"}

    async def _send(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        return await self._again(ReadError, self._once, method, url, headers, body)

    async def _once(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        seconds = self._settings.read_timeout + len(body) / SLOWEST
        try:
            reply = await self._wire.call(method, url, headers=headers, content=body, has_key=False, seconds=seconds)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise ReadError(f"fal's storage did not answer: {words_of(error)}") from harmless(error)
        if not reply.is_success or not reply.is_whole:
            msg = f"fal's storage answered HTTP {reply.status_code}"
            raise ReadError(msg, status_code=reply.status_code)
        return reply

    def _url_in(self, reply: Reply, name: str) -> str:
        return self._url(parse_object(reply.body).get(name), name)

    def _url(self, url: Json, name: str) -> str:
        """Return a URL from an answer if it may be called and sent to fal. Raises `ReadError`."""
        if not isinstance(url, str) or not url.isascii() or not url.isprintable() or len(url) > URL_LETTERS:
            msg = f"fal's storage sent no usable {name}"
            raise ReadError(msg)
        if knows(url):
            msg = f"the {name} from fal's storage contains a secret, which would get into a request and the receipts"
            raise ReadError(msg)
        urls = self._settings.urls
        check_public(url, (urls.rest, urls.cdn), f"the {name} from fal's storage")
        return url


def _lifecycle(lifecycle: Mapping[str, Any] | None) -> dict[str, str]:
    if not lifecycle:
        return {}
    text = json.dumps(dict(lifecycle))
    return {"X-Fal-Object-Lifecycle": text, "X-Fal-Object-Lifecycle-Preference": text}


def _word(about: Mapping[str, Json], name: str) -> str:
    """Return a text from an answer if it is valid in a header or a path. Raises `ReadError`."""
    word = about.get(name)
    fits = isinstance(word, str) and word.isascii() and word.isprintable() and 0 < len(word) <= TOKEN_LETTERS
    if not isinstance(word, str) or not fits:
        msg = f"fal's storage sent no usable {name}"
        raise ReadError(msg)
    return word
