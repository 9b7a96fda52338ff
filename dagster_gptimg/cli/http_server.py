"""What the servers of the command line share: time limits for callers, and an address that is printed once it answers.

Needs the packages of the extras `receive` and `review`.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from uvicorn.protocols.http.auto import AutoHTTPProtocol

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from starlette.requests import Request

HEAD_SECONDS = 5.0
"""Seconds for a complete head, on a new or a kept connection: an incomplete one occupies a connection's place."""

BODY_SECONDS = 5.0
"""Seconds for a complete body. fal waits 15 s for the answer to its first attempt."""


async def read_body(request: Request, most: int) -> bytes:
    """Return the raw body, limited in size (`most`, bytes) and time.

    Raises `HTTPException`: 413 too large, 408 too slow, 400 broken off.
    """
    chunks, size = list[bytes](), 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                chunks.append(chunk)
                size += len(chunk)
                if size > most:
                    raise HTTPException(413, "too large")
    except TimeoutError as error:
        raise HTTPException(408, "too slow") from error
    except ClientDisconnect as error:
        raise HTTPException(400, "broken off") from error
    return b"".join(chunks)


class Protocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """Uvicorn's HTTP protocol, with a time limit for a request's head."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Start the time limit of the first head."""
        super().connection_made(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Process received bytes; the time limit of the next head starts with its first byte."""
        if self._timer is None and not self._is_called:
            self._wait_for_head()
        super().data_received(data)
        if self._is_called:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """Clean up after a closed connection."""
        self._stop_waiting()
        super().connection_lost(exc)

    @property
    def _is_called(self) -> bool:
        """Whether a complete head was received, and is not answered yet."""
        return self.cycle is not None and not self.cycle.response_complete

    def _wait_for_head(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(HEAD_SECONDS, self._give_up)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        if not self._is_called:
            self.transport.abort()


COMMON: dict[str, Any] = {
    "http": Protocol,
    "ws": "none",
    "lifespan": "off",
    "log_level": "warning",
    "access_log": False,  # URLs carry signatures and tokens
    "server_header": False,
    "proxy_headers": False,
}
"""Uvicorn's settings of all servers."""


class Server(uvicorn.Server):
    """Uvicorn's server, which prints its address."""

    def __init__(self, config: uvicorn.Config, words: Callable[[str, int], str]) -> None:
        """`words`: returns what is printed on stdout, by the address and the port on which the server listens."""
        super().__init__(config)
        self._words = words

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then print the address."""
        await super().startup(sockets)
        if not self.should_exit:
            host, port, *_ = self.servers[0].sockets[0].getsockname()
            sys.stdout.write(f"{self._words(host, port)}\n")
            sys.stdout.flush()
