"""The proxies of the environment (`HTTPS_PROXY`, `NO_PROXY`, ...), and nothing else from it.

aiohttp's `trust_env` starts a thread for them at each request, and another one for ~/.netrc. Credentials in ~/.netrc
would be sent along with a download, and conflict with the header that has fal's key: then no call works at all.
"""

from __future__ import annotations

import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.request import getproxies, proxy_bypass

import httpx
from httpx_aiohttp import AiohttpTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    import aiohttp

_NOT_USED = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Placeholder: the session has its own SSL context.

Without it, each transport would load all certificates once more.
"""


@contextmanager
def _all_as_httpxs() -> Iterator[None]:
    """Raise httpx's error for exceptions that httpx-aiohttp does not translate.

    An example is an answer that is not HTTP.

    The callers catch httpx's errors only: another one would end a run because of one unreadable answer.
    """
    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError):
        raise
    except Exception as error:
        raise httpx.RemoteProtocolError(f"{type(error).__name__}: {error}") from error


class _Stream(httpx.AsyncByteStream):
    """A body whose errors are httpx's."""

    def __init__(self, body: httpx.AsyncByteStream) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _all_as_httpxs():
            async for chunk in self._body:
                yield chunk

    async def aclose(self) -> None:
        with _all_as_httpxs():
            await self._body.aclose()


class ProxiedTransport(httpx.AsyncBaseTransport):
    """httpx over aiohttp, through the environment's proxy for each host; looked up once for each host."""

    def __init__(self, session: Callable[[], aiohttp.ClientSession]) -> None:
        """`session` makes the aiohttp session, once; it must not trust the environment itself."""
        self._make = session
        self._session: aiohttp.ClientSession | None = None
        self._proxies = getproxies()
        self._by_origin: dict[tuple[str, str], AiohttpTransport] = {}
        self._by_proxy: dict[str | None, AiohttpTransport] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request."""
        origin = request.url.scheme, request.url.host
        transport = self._by_origin.get(origin)
        if transport is None:
            transport = self._by_origin[origin] = self._through(self._proxy(*origin))
        with _all_as_httpxs():
            response = await transport.handle_async_request(request)
        if isinstance(response.stream, httpx.AsyncByteStream):
            response.stream = _Stream(response.stream)
        return response

    async def aclose(self) -> None:
        """Close the connections."""
        for transport in self._by_proxy.values():
            await transport.aclose()

    def _proxy(self, scheme: str, host: str) -> str | None:
        return None if proxy_bypass(host) else self._proxies.get(scheme)

    def _through(self, proxy: str | None) -> AiohttpTransport:
        if proxy not in self._by_proxy:
            given = httpx.Proxy(proxy) if proxy else None
            self._by_proxy[proxy] = AiohttpTransport(verify=_NOT_USED, client=self._shared, proxy=given)
        return self._by_proxy[proxy]

    def _shared(self) -> aiohttp.ClientSession:
        """Return the one session for all proxies, so that its limit on connections holds."""
        if self._session is None:
            self._session = self._make()
        return self._session
