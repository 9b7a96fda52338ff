"""The connections to fal, and calls over them: each has a deadline and a bound, and a read is repeated with backoff."""

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
from dagster_gptimg.fal.http.resolver import PublicResolver
from dagster_gptimg.fal.http.retries import Repeated

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Awaitable, Callable, Mapping

    from dagster_gptimg.fal.settings import FalSettings
    from dagster_gptimg.fal.types import Json, Sink

    Params = Mapping[str, str | list[str]]
    Take = Callable[[int], Awaitable[None]]
    Reader = Callable[[httpx.Response, float], Awaitable[Reply]]

MAX_IMAGE_BYTES = 64 * 1024 * 1024
"""Larger than any image the registry's models make; a bound, so that a wrong answer cannot fill the memory."""

SLOWEST_IMAGE = 128 * 1024
"""Bytes a second below which a download is given up."""

IMAGE_SECONDS = 120.0
"""Seconds that a download may take besides what its size asks for at `SLOWEST_IMAGE`."""

KEEP_ALIVE = 15.0
"""Seconds an idle connection is kept: well below what servers grant, because a submit on a connection that the
server is just closing is ambiguous."""

CLOCK_READINGS = 5
"""Latest answers by whose `Date` fal's clock is told."""

KEY_REJECTED_SECONDS = 300.0
"""Seconds for which every read must have been answered 401 before the key counts as rejected. A 401 by itself speaks of
the reading: a gateway says it, too, while its own service is down."""


def _wall_clock() -> datetime:
    return datetime.now(UTC)


class _Masked(logging.Filter):
    """httpx logs every URL that it calls: those of webhooks are signed, and an answer's may hold anything."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Take secrets out of a line; every line passes."""
        line = record.getMessage()
        if (found := without_known(line)) != line:
            record.msg, record.args = found, ()
        return True


_MASKED = _Masked()


class Wire:
    """httpx over aiohttp (docs/architecture.md says why), and what is read with it.

    Attributes:
        http: the client; it opens no connection before it is used, follows no redirects, and knows no key.
        streams: the same for streams: each holds its connection as long as a request takes, and must not keep others
            from theirs.
        others: the same for hosts that an answer names: it connects to public addresses only.
        again: repeats a read.
    """

    def __init__(
        self,
        settings: FalSettings,
        read_attempts: int,
        transport: Callable[[], httpx.AsyncBaseTransport] | None = None,
        wall_clock: Callable[[], datetime] = _wall_clock,
    ) -> None:
        """Take the settings of one key; `transport` and `wall_clock` are this machine's own, but for tests."""
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
        """A client with so many connections at most, 0: any number; `is_public`: to public addresses only."""

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
        """The client for a URL: one of fal's own services, or a host that an answer has named."""
        return self.http if origin_of(url) in self._own else self.others

    @property
    def auth(self) -> dict[str, str]:
        """The header that only fal's own services are sent."""
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
        """One call of a service of fal's, and its answer as far as it comes.

        Args:
            method: of HTTP.
            url: where to.
            seconds: for the whole call, its body included.
            params: of the query.
            headers: more of them.
            has_key: whether the key goes along: to fal's own services only.
            content: the body.
            read: reads the answer, up to some number of bytes and until some moment.

        Raises:
            httpx.HTTPError, httpx.InvalidURL, TimeoutError: there is no answer.
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
        """Seconds by which fal's clock is ahead of this machine's; None before an answer has told.

        The middle of what the latest answers said, since a single one may be wrong by hours; of two in the middle, the
        one that is nearer to this machine's. They are kept by the event loop's clock: this machine's may be set
        meanwhile.
        """
        if not self._offsets:
            return None
        ahead = asyncio.get_running_loop().time() - self._wall_clock().timestamp()
        offsets = sorted(offset + ahead for offset in self._offsets)
        half = (len(offsets) - 1) // 2
        return min(offsets[half : len(offsets) - half], key=abs)

    def _note_clock(self, reply: Reply) -> None:
        """Take fal's time from an answer's `Date` (whole seconds, so it is half a second behind on average)."""
        try:
            told = parsedate_to_datetime(reply.headers["date"]).astimezone(UTC)
            self._offsets.append(told.timestamp() + 0.5 - asyncio.get_running_loop().time())
        except (KeyError, ValueError, TypeError, OverflowError):
            return

    async def get(self, url: str, params: Params | None = None, read: Reader = read_reply) -> Reply:
        """What a service of fal answers, whole; it is asked again a few times.

        Raises:
            ReadError: it does not.
            KeyRejectedError: it has not known the key for minutes.
        """
        return await self.again(is_repeatable, self._get, url, params, read)

    async def fetch(self, url: str, params: Params | None = None, read: Reader = read_reply) -> Reply:
        """One try of that. When the queue cannot be reached, its backup is asked: the requests there are the same.

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
            raise ReadError("an answer of fal's broke off, or is larger than any of its kind")
        if reply.status_code == httpx.codes.UNAUTHORIZED:
            raise self._rejected()
        self._rejected_since = None
        return reply

    def _rejected(self) -> ReadError | KeyRejectedError:
        """What a 401 means: a reading in vain, until nothing else has come for minutes."""
        now = asyncio.get_running_loop().time()
        if self._rejected_since is None:
            self._rejected_since = now
        if now - self._rejected_since < KEY_REJECTED_SECONDS:
            return ReadError("fal did not take the key this time (HTTP 401)", status_code=401)
        msg = (
            f"fal has not known this key for {now - self._rejected_since:.0f} s (HTTP 401): set FAL_KEY to a valid one "
            "and run again. What fal has is on record, and is collected then."
        )
        return KeyRejectedError(msg)

    async def api(self, path: str, params: Params, limit: int = JSON_BYTES) -> dict[str, Json]:
        """A JSON object of fal's platform API. Raises `ReadError`, and `KeyRejectedError`."""
        async with _Turn(self._one_large) as turn:
            read = partial(read_reply, limit=limit, on_large=turn.take)
            reply = await self.get(f"{self._settings.urls.api}{path}", params, read)
            if not reply.is_success:
                raise ReadError(f"no answer from {path} (HTTP {reply.status_code})", status_code=reply.status_code)
            return parse_object(reply.body)

    async def download(self, url: str, sink: Sink, take: Take) -> str:
        """Have the bytes of one image go into a sink, without the key, at most `MAX_IMAGE_BYTES`; returns their type.

        Args:
            url: as a result names it; a data URI holds them.
            sink: where they go; it is told when they come anew.
            take: awaited with their number before they are read; with the largest where the CDN does not tell it.

        Raises:
            GoneError: the CDN does not have it.
            ReadError: anything else that is not the whole file.
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
                    opening.reschedule(None)  # whoever waits for room has no deadline: others go before
                    length = _length(response)
                    await take(length)
                    opening.reschedule(_now() + IMAGE_SECONDS + length / SLOWEST_IMAGE)
                    async for data in decoded(response, MAX_IMAGE_BYTES):
                        sink.write(data)
                    return str(response.headers.get("content-type", ""))
        except TimeoutError as error:
            raise ReadError("a download took too long") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ReadError(f"a download broke off: {words_of(error)}") from harmless(error)


class _Turn:
    """A turn that is taken when it is needed, once, and given back at the end of the block."""

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
    """A sink whose bytes stay in memory."""

    def __init__(self) -> None:
        """Nothing has come yet."""
        self.found = bytearray()

    def restart(self) -> None:
        """Forget what has come."""
        self.found.clear()

    def write(self, data: bytes) -> None:
        """Take more bytes."""
        self.found += data


def _check_found(response: httpx.Response) -> None:
    if response.status_code in {404, 410}:
        raise GoneError("the CDN does not have this image (any more)", status_code=404)
    if response.status_code != httpx.codes.OK:
        msg = f"the CDN answers HTTP {response.status_code}"
        raise ReadError(msg, status_code=response.status_code)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _length(response: httpx.Response) -> int:
    """Bytes that come, at most. Raises `ReadError` when the answer itself says that they are too many."""
    told = response.headers.get("Content-Length", "")
    if "content-encoding" in response.headers or not (told.isascii() and told.isdigit()):
        return MAX_IMAGE_BYTES
    if len(told) > len(str(MAX_IMAGE_BYTES)) or int(told) > MAX_IMAGE_BYTES:
        raise ReadError(f"an image of more than {MAX_IMAGE_BYTES} bytes is not taken: this one has {told[:20]}")
    return int(told)


def _from_uri(uri: str) -> bytes:
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
