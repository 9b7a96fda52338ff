"""The connections to fal, and reads over them: each is free, and is repeated with backoff and jitter."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

import aiohttp
import httpx
import stamina

from dagster_gptimg.errors import GoneError, KeyRejectedError, ReadError
from dagster_gptimg.fal.addresses import is_private, origin_of
from dagster_gptimg.fal.answers import never_sent
from dagster_gptimg.fal.proxies import ProxiedTransport

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from dagster_gptimg.fal.settings import FalSettings
    from dagster_gptimg.fal.types import Json

    Params = Mapping[str, str | list[str]]
    Take = Callable[[int], Awaitable[None]]

MAX_IMAGE_BYTES = 64 * 1024 * 1024
"""Larger than any image the registry's models make; a bound, so that a wrong answer cannot fill the memory."""

KEEP_ALIVE = 15.0
"""Seconds an idle connection is kept: well below what servers grant, because a submit on a connection that the
server is just closing is ambiguous."""


class Wire:
    """httpx over aiohttp (docs/architecture.md says why), and what is read with it.

    Attributes:
        http: the client; it opens no connection before it is used, follows no redirects, and knows no key.
        streams: the same for streams: each holds its connection as long as a request takes, and must not keep others
            from theirs.
        again: repeats a read.
    """

    def __init__(self, settings: FalSettings, read_attempts: int) -> None:
        self._settings = settings
        self.again = stamina.AsyncRetryingCaller(attempts=read_attempts, timeout=30.0, wait_initial=0.2, wait_max=5.0)
        self.http, self.streams = self._client(settings.connections), self._client(0)

    def _client(self, connections: int) -> httpx.AsyncClient:
        """A client with so many connections at most; 0: any number."""

        def session() -> aiohttp.ClientSession:
            connector = aiohttp.TCPConnector(limit=connections, keepalive_timeout=KEEP_ALIVE)
            return aiohttp.ClientSession(connector=connector)

        return httpx.AsyncClient(
            transport=ProxiedTransport(session),
            timeout=httpx.Timeout(self._settings.read_timeout, connect=self._settings.connect_timeout, pool=None),
            follow_redirects=False,
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self.http.aclose()
        await self.streams.aclose()

    @property
    def auth(self) -> dict[str, str]:
        """The header that only fal's own services are sent."""
        return {"Authorization": f"Key {self._settings.key}"}

    async def get(self, url: str, params: Params | None = None) -> httpx.Response:
        """What a service of fal answers.

        Raises:
            ReadError: it does not.
            KeyRejectedError: it does not know the key.
        """
        return await self.again(is_repeatable, self._get, url, params)

    async def fetch(self, url: str, params: Params | None = None) -> httpx.Response:
        """One try of that. When the queue cannot be reached, its backup is asked: the requests there are the same.

        Raises:
            httpx.HTTPError, httpx.InvalidURL: nobody answers.
        """
        queue, backup = self._settings.urls.queue, self._settings.urls.backup
        try:
            return await self.http.get(url, params=params, headers=self.auth)
        except httpx.HTTPError as error:
            if not backup or not never_sent(error) or origin_of(url) != origin_of(queue):
                raise
        return await self.http.get(backup + url.removeprefix(queue), params=params, headers=self.auth)

    async def _get(self, url: str, params: Params | None) -> httpx.Response:
        try:
            response = await self.fetch(url, params)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ReadError(f"fal did not answer: {error}") from error
        if response.status_code == httpx.codes.UNAUTHORIZED:
            msg = "fal no longer knows this key (HTTP 401): set FAL_KEY to a valid one and run again"
            raise KeyRejectedError(msg)
        return response

    async def api(self, path: str, params: Params) -> dict[str, Json]:
        """A JSON object of fal's platform API. Raises `ReadError`, and `KeyRejectedError`."""
        response = await self.get(f"{self._settings.urls.api}{path}", params)
        try:
            body = response.json()
        except ValueError:
            body = None
        if not response.is_success or not isinstance(body, dict):
            raise ReadError(f"no answer from {path} (HTTP {response.status_code})", status_code=response.status_code)
        return body

    async def download(self, url: str, take: Take) -> bytes:
        """The bytes of one image, without the key, at most `MAX_IMAGE_BYTES`. With `sync_mode` the URL holds them.

        `take` is awaited with their number before they are read; with the largest where the CDN does not tell it.

        Raises:
            GoneError: the CDN does not have it.
            ReadError: anything else that is not the whole file.
        """
        if url.startswith("data:"):
            return _decoded(url)
        self._check_image_url(url)
        return await self.again(is_repeatable, self._download, url, take)

    def _check_image_url(self, url: str) -> None:
        """Refuse what an image URL can never be, so that a forged result cannot read the worker's own network."""
        urls = self._settings.urls
        if origin_of(url) in {origin_of(urls.cdn), origin_of(urls.queue)}:
            return
        parsed = httpx.URL(url) if url.startswith("https://") else None
        if parsed is None or not parsed.host or is_private(parsed.host):
            msg = "the result names an image URL that is not a public https address; it is not fetched"
            raise ReadError(msg)

    async def _download(self, url: str, take: Take) -> bytes:
        chunks, size = list[bytes](), 0
        try:
            # As it comes: no decoder in between, which would cost more than the rest of the download.
            async with self.http.stream("GET", url, headers={"Accept-Encoding": "identity"}) as response:
                if response.status_code in {404, 410}:
                    raise GoneError("the CDN does not have this image (any more)", status_code=404)
                if response.status_code != httpx.codes.OK:
                    msg = f"the CDN answers HTTP {response.status_code}"
                    raise ReadError(msg, status_code=response.status_code)
                await take(_length(response))
                async for chunk in response.aiter_raw():
                    chunks.append(chunk)
                    size += len(chunk)
                    if size > MAX_IMAGE_BYTES:
                        raise ReadError(f"an image of more than {MAX_IMAGE_BYTES} bytes; it is not one")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ReadError(f"a download broke off: {error}") from error
        return b"".join(chunks)


def _length(response: httpx.Response) -> int:
    told = response.headers.get("Content-Length", "")
    return min(int(told), MAX_IMAGE_BYTES) if told.isascii() and told.isdigit() else MAX_IMAGE_BYTES


def _decoded(uri: str) -> bytes:
    head, _, body = uri.partition(",")
    try:
        if head.endswith(";base64") and len(body) <= MAX_IMAGE_BYTES * 4 // 3 + 4:
            return base64.b64decode(body, validate=True)
    except binascii.Error:
        pass
    raise ReadError("the result holds a data URI that is no image")


def is_repeatable(error: Exception) -> bool:
    """Whether a read is worth another try."""
    return isinstance(error, ReadError) and not isinstance(error, GoneError)
