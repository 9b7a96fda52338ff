"""Replies other than good answers: broken connections, and the gateway's HTML."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from http import HTTPStatus

from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.auto import AutoHTTPProtocol

_TRANSPORTS: dict[tuple[str, int], asyncio.Transport] = {}
"""The open connections by the peer's address: ASGI itself has no way to break one."""


def _peer(transport: asyncio.BaseTransport) -> tuple[str, int]:
    host, port = transport.get_extra_info("peername")[:2]
    return str(host), int(port)


class Protocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """Uvicorn's HTTP protocol, which remembers its connection so that a fault can break it."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Remember the connection."""
        self._address = _peer(transport)
        _TRANSPORTS[self._address] = transport
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        _TRANSPORTS.pop(self._address, None)
        super().connection_lost(exc)


async def _disconnected(receive: Receive) -> None:
    """Wait until uvicorn knows that the connection is gone: otherwise it would answer 500, or complain."""
    while (await receive())["type"] != "http.disconnect":
        pass


class Dropped(Response):
    """No answer at all: the connection is dropped without a byte."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Break the connection."""
        _TRANSPORTS[tuple(scope["client"])].abort()
        await _disconnected(receive)


class Cut(Response):
    """The head of the answer and half of its body; then the connection is dropped, or kept waiting for a while."""

    def __init__(self, whole: Response, pause: float | None = None) -> None:
        super().__init__(whole.body, whole.status_code, media_type=whole.media_type)
        self.raw_headers = whole.raw_headers
        self._pause = pause

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send half; drop, or send the rest after the pause."""
        half = len(self.body) // 2
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": bytes(self.body[:half]), "more_body": True})
        if self._pause is None:
            # close() and not abort(): what was written is still delivered.
            _TRANSPORTS[tuple(scope["client"])].close()
            await _disconnected(receive)
        else:
            await asyncio.sleep(self._pause)
            await send({"type": "http.response.body", "body": bytes(self.body[half:])})


class BrokenOff(StreamingResponse):
    """A stream that is dropped after its first piece."""

    def __init__(self, content: AsyncGenerator[str], headers: Mapping[str, str], media_type: str) -> None:
        super().__init__(content, headers=headers, media_type=media_type)
        self._content = content

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send one piece, and drop."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async with aclosing(self._content) as pieces:
            await send({"type": "http.response.body", "body": (await anext(pieces)).encode(), "more_body": True})
        _TRANSPORTS[tuple(scope["client"])].close()
        await _disconnected(receive)


def nginx(status_code: int) -> Response:
    """A gateway's error page: HTML, no `x-fal-request-id` (docs/fal-wire.md#error-bodies, 4)."""
    reason = {503: "Service Temporarily Unavailable", 504: "Gateway Time-out"}.get(
        status_code, HTTPStatus(status_code).phrase
    )
    title = f"{status_code} {reason}"
    page = (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n"
        "<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    )
    return Response(page, status_code, media_type="text/html")
