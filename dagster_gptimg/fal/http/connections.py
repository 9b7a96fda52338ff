"""HTTP connections to fal, and calls over them: each call has a deadline and a size limit.

Reads are retried with backoff.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
from collections import deque
from dataclasses import astuple
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING, Self

import aiohttp
import httpx

from dagster_gptimg.base.masking import harmless, without_known
from dagster_gptimg.base.plain_text import words_of
from dagster_gptimg.base.retry_policies import READ
from dagster_gptimg.errors import GoneError, KeyRejectedError, ReadError
from dagster_gptimg.fal.addresses import check_public, origin_of
from dagster_gptimg.fal.http.answers import never_sent
from dagster_gptimg.fal.http.bodies import JSON_BYTES, Reply, decoded, parse_object, read_reply
from dagster_gptimg.fal.http.proxies import ProxiedTransport
from dagster_gptimg.fal.http.repeating import Repeated
from dagster_gptimg.fal.http.resolver import PublicResolver

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Awaitable, Callable, Mapping

    from dagster_gptimg.fal.settings import FalSettings
    from dagster_gptimg.fal.types import Json, Sink

    Params = Mapping[str, str | list[str]]
    Take = Callable[[int], Awaitable[None]]
    Reader = Callable[[httpx.Response, float], Awaitable[Reply]]

MAX_IMAGE_BYTES = 64 * 1024 * 1024
"""Maximum bytes of one image, so that a wrong answer cannot fill the memory.

Larger than any image of the registry's models.
"""

SLOWEST_IMAGE = 128 * 1024
"""Minimum bytes per second of a download; a slower one is given up."""

IMAGE_SECONDS = 120.0
"""Seconds that a download may take in addition to its size divided by `SLOWEST_IMAGE`."""

KEEP_ALIVE = 15.0
"""Seconds that an idle connection is kept, well below what servers allow.

A submit on a connection that the server is just closing is ambiguous.
"""

CLOCK_READINGS = 5
"""Number of latest answers whose `Date` header is used to estimate fal's clock."""

KEY_REJECTED_SECONDS = 300.0
"""Seconds for which every read must have been answered 401 before the key counts as rejected.

A single 401 concerns the read only: a gateway sends it, too, while its own service is down.
"""


def _wall_clock() -> datetime:
    return datetime.now(UTC)


class _Masked(logging.Filter):
    """Log filter that masks secrets.

    httpx logs each URL it calls, URLs of webhooks are signed, and other URLs are untrusted.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Mask the secrets in a log line; no line is dropped."""
        line = record.getMessage()
        if (found := without_known(line)) != line:
            record.msg, record.args = found, ()
        return True


_MASKED = _Masked()


class Wire:
    """Calls over httpx with aiohttp as the transport (docs/architecture.md says why).

    Attributes:
        http: the client for fal's own services; opens no connection before it is used, follows no redirects, knows no
            key.
        streams: the client for status streams, with an unlimited number of connections: a stream holds one for as long
            as the request takes, and must not take it from other calls.
        others: the client for hosts that an answer names: connects to public addresses only.
        again: retries a read.
    """

    def __init__(
        self,
        settings: FalSettings,
        read_attempts: int,
        transport: Callable[[], httpx.AsyncBaseTransport] | None = None,
        wall_clock: Callable[[], datetime] = _wall_clock,
    ) -> None:
        """Take the settings of one key; `transport` and `wall_clock` are replaced in tests only."""
        self._settings, self._transport, self._wall_clock = settings, transport, wall_clock
        self.again = Repeated(READ, read_attempts)
        logging.getLogger("httpx").addFilter(_MASKED)
        self.http, self.streams = self._client(settings.connections), self._client(0)
        self.others = self._client(settings.connections, is_public=True)
        self._own = {origin_of(url) for url in (*astuple(settings.urls), settings.urls.backup) if url}
        self._offsets = deque[float](maxlen=CLOCK_READINGS)
        self._rejected_since: float | None = None
        self._one_large = asyncio.Semaphore(1)  # a page of the history may be 32 MiB, and several times that as values

    def _client(self, connections: int, *, is_public: bool = False) -> httpx.AsyncClient:
        """Make a client.

        Args:
            connections: maximum number of connections; 0: unlimited.
            is_public: whether it connects to public addresses only.
        """

        def session() -> aiohttp.ClientSession:
            resolver = PublicResolver() if is_public else None
            connector = aiohttp.TCPConnector(limit=connections, keepalive_timeout=KEEP_ALIVE, resolver=resolver)
            return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())

        return httpx.AsyncClient(
            transport=self._transport() if self._transport else ProxiedTransport(session),
            timeout=httpx.Timeout(self._settings.read_timeout, connect=self._settings.connect_timeout, pool=None),
            follow_redirects=False,
        )

    async def aclose(self) -> None:
        """Close the connections."""
        for client in (self.http, self.streams, self.others):
            await client.aclose()

    def _to(self, url: str) -> httpx.AsyncClient:
        """Return the client for a URL: that of fal's own services, or that for hosts which an answer has named."""
        return self.http if origin_of(url) in self._own else self.others

    @property
    def auth(self) -> dict[str, str]:
        """The authorization header; it is sent to fal's own services only."""
        return {"Authorization": f"Key {self._settings.key}"}

    async def call(
        self,
        method: str,
        url: str,
        *,
        seconds: float,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | AsyncIterable[bytes] | None = None,
        has_key: bool = True,
        read: Reader = read_reply,
    ) -> Reply:
        """Call one of fal's services once, and return its answer as far as it was received.

        Args:
            method: HTTP method.
            url: URL to call.
            seconds: deadline of the whole call, its body included.
            params: query parameters.
            headers: additional headers.
            has_key: whether the key is sent; True for fal's own services only.
            content: body of the request.
            read: reads the answer, with a limit in bytes and a deadline.

        Raises:
            httpx.HTTPError, httpx.InvalidURL, TimeoutError: there was no answer.
        """
        until = asyncio.get_running_loop().time() + seconds
        own = {"Accept-Encoding": "identity", **(headers or {}), **(self.auth if has_key else {})}
        http = self._to(url)
        request = http.build_request(
            method, url, params=params, headers=own, content=content, timeout=self._timeout(seconds)
        )
        async with asyncio.timeout_at(until):
            response = await http.send(request, stream=True)
        try:
            reply = await read(response, until)
        finally:
            await response.aclose()
        self._note_clock(reply)
        return reply

    def _timeout(self, seconds: float) -> httpx.Timeout:
        return httpx.Timeout(seconds, connect=self._settings.connect_timeout, pool=None)

    @property
    def clock_offset(self) -> float | None:
        """Seconds by which fal's clock is ahead of this machine's; None before an answer had a `Date` header.

        The median of the latest answers, since a single one may be wrong by hours; of two values in the middle, the one
        nearer to this machine's clock. They are kept relative to the event loop's clock, because this machine's clock
        may be set meanwhile.
        """
        if not self._offsets:
            return None
        ahead = asyncio.get_running_loop().time() - self._wall_clock().timestamp()
        offsets = sorted(offset + ahead for offset in self._offsets)
        half = (len(offsets) - 1) // 2
        return min(offsets[half : len(offsets) - half], key=abs)

    def _note_clock(self, reply: Reply) -> None:
        """Note fal's time from an answer's `Date` header (whole seconds, so half a second behind on average)."""
        try:
            told = parsedate_to_datetime(reply.headers["date"]).astimezone(UTC)
            self._offsets.append(told.timestamp() + 0.5 - asyncio.get_running_loop().time())
        except (KeyError, ValueError, TypeError, OverflowError):
            return

    async def get(self, url: str, params: Params | None = None, read: Reader = read_reply) -> Reply:
        """Return the complete answer of one of fal's services; the read is retried a few times.

        Raises:
            ReadError: no complete answer was received.
            KeyRejectedError: every read of the last minutes was answered 401.
        """
        return await self.again(is_repeatable, self._get, url, params, read)

    async def fetch(self, url: str, params: Params | None = None, read: Reader = read_reply) -> Reply:
        """Read once. If the queue cannot be reached, its backup host is read, which has the same requests.

        Raises:
            httpx.HTTPError, httpx.InvalidURL, TimeoutError: nobody answers. Where the backup cannot be reached either,
                the error is that of the queue, which is the host that users know.
        """
        queue, backup, seconds = self._settings.urls.queue, self._settings.urls.backup, self._settings.read_timeout
        try:
            return await self.call("GET", url, params=params, seconds=seconds, read=read)
        except httpx.HTTPError as error:
            if not backup or not never_sent(error) or origin_of(url) != origin_of(queue):
                raise
            of_queue = error
        url = backup + url.removeprefix(queue)
        try:
            return await self.call("GET", url, params=params, seconds=seconds, read=read)
        except httpx.HTTPError as error:
            if never_sent(error):
                raise of_queue from None
            raise

    async def _get(self, url: str, params: Params | None, read: Reader) -> Reply:
        try:
            reply = await self.fetch(url, params, read)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise ReadError(f"fal did not answer: {words_of(error)}") from harmless(error)
        if not reply.is_whole:
            raise ReadError("fal's answer was cut off, or is larger than the limit")
        if reply.status_code == httpx.codes.UNAUTHORIZED:
            raise self._rejected()
        self._rejected_since = None
        return reply

    def _rejected(self) -> ReadError | KeyRejectedError:
        """Return the error for a 401: a failed read, until every read for `KEY_REJECTED_SECONDS` was answered 401."""
        now = asyncio.get_running_loop().time()
        if self._rejected_since is None:
            self._rejected_since = now
        if now - self._rejected_since < KEY_REJECTED_SECONDS:
            return ReadError("fal did not accept the key for this read (HTTP 401)", status_code=401)
        msg = (
            f"fal has rejected this key for {now - self._rejected_since:.0f} s (HTTP 401): set FAL_KEY to a valid one "
            "and run again. The requests that fal has are on record, and the next run collects them."
        )
        return KeyRejectedError(msg)

    async def api(self, path: str, params: Params, limit: int = JSON_BYTES) -> dict[str, Json]:
        """Return a JSON object of fal's platform API. Raises `ReadError` and `KeyRejectedError`."""
        async with _Turn(self._one_large) as turn:
            read = partial(read_reply, limit=limit, on_large=turn.take)
            reply = await self.get(f"{self._settings.urls.api}{path}", params, read)
            if not reply.is_success:
                raise ReadError(f"fal answered {path} with HTTP {reply.status_code}", status_code=reply.status_code)
            return parse_object(reply.body)

    async def download(self, url: str, sink: Sink, take: Take) -> str:
        """Write the bytes of one image (at most `MAX_IMAGE_BYTES`) into a sink, without the key.

        Return their content type.

        Args:
            url: from the result; may be a data URI that holds the bytes.
            sink: receives the bytes; `restart` is called when they are sent again from the start.
            take: awaited with the number of bytes before they are read; with the maximum if the CDN does not say it.

        Raises:
            GoneError: the CDN does not have the image.
            ReadError: anything else than the complete file.
        """
        if url.startswith("data:"):
            sink.write(_from_uri(url))
            return url[5:].partition(";")[0]
        urls = self._settings.urls
        check_public(url, (urls.cdn, urls.queue), "the URL of an image of a result")
        return await self.again(is_repeatable, self._download, url, sink, take)

    async def _download(self, url: str, sink: Sink, take: Take) -> str:
        sink.restart()
        try:
            async with asyncio.timeout(self._settings.read_timeout) as opening:
                async with self._to(url).stream("GET", url, headers={"Accept-Encoding": "identity"}) as response:
                    _check_found(response)
                    opening.reschedule(None)  # waiting for free memory has no deadline: other downloads come first
                    length = _length(response)
                    await take(length)
                    opening.reschedule(_now() + IMAGE_SECONDS + length / SLOWEST_IMAGE)
                    async for data in decoded(response, MAX_IMAGE_BYTES):
                        sink.write(data)
                    return str(response.headers.get("content-type", ""))
        except TimeoutError as error:
            raise ReadError("the download of an image took too long") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ReadError(f"the download of an image was cut off: {words_of(error)}") from harmless(error)


class _Turn:
    """A semaphore's slot that is acquired when it is first needed, and released at the end of the block."""

    def __init__(self, turns: asyncio.Semaphore) -> None:
        self._turns, self._has_it = turns, False

    async def take(self) -> None:
        if not self._has_it:
            await self._turns.acquire()
            self._has_it = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._has_it:
            self._turns.release()


class InMemory:
    """A sink that keeps the bytes in memory."""

    def __init__(self) -> None:
        self.found = bytearray()

    def restart(self) -> None:
        """Drop the bytes received so far."""
        self.found.clear()

    def write(self, data: bytes) -> None:
        """Append bytes."""
        self.found += data


def _check_found(response: httpx.Response) -> None:
    if response.status_code in {404, 410}:
        raise GoneError("fal's CDN does not have this image (any more)", status_code=404)
    if response.status_code != httpx.codes.OK:
        msg = f"fal's CDN answered HTTP {response.status_code}"
        raise ReadError(msg, status_code=response.status_code)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _length(response: httpx.Response) -> int:
    """Return the maximum number of bytes of a response. Raises `ReadError` if its own header exceeds the limit."""
    told = response.headers.get("Content-Length", "")
    if "content-encoding" in response.headers or not (told.isascii() and told.isdigit()):
        return MAX_IMAGE_BYTES
    if len(told) > len(str(MAX_IMAGE_BYTES)) or int(told) > MAX_IMAGE_BYTES:
        raise ReadError(f"the image has {told[:20]} bytes, and the limit is {MAX_IMAGE_BYTES}")
    return int(told)


def _from_uri(uri: str) -> bytes:
    head, _, body = uri.partition(",")
    try:
        if head.endswith(";base64") and len(body) <= MAX_IMAGE_BYTES * 4 // 3 + 4:
            return base64.b64decode(body, validate=True)
    except binascii.Error:
        pass
    raise ReadError("the result has a data URI that is not an image")


def is_repeatable(error: Exception) -> bool:
    """Return whether a failed read is worth retrying."""
    return isinstance(error, ReadError) and not isinstance(error, GoneError)
