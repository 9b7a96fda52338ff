"""A server on a real socket that does what a test tells it to, byte by byte."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from dagster_gptimg.fal.http.client import FalClient
from dagster_gptimg.fal.settings import FalSettings, FalUrls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Script = Callable[["Connection"], Awaitable[None]]


class Connection:
    """One connection from the client."""

    def __init__(self, server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server, self.reader, self.writer = server, reader, writer

    async def request(self) -> bytes:
        """One whole request; counted only when its body has arrived."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next((int(v) for k, v in _headers(head) if k == b"content-length"), 0)
        body = await self.reader.readexactly(length)
        self.server.requests.append(head + body)
        return head + body

    async def reply(self, status: int, body: bytes = b"", *headers: str, length: int | None = None) -> None:
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body) if length is None else length}", *headers]
        self.writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        await self.writer.drain()

    def reset(self) -> None:
        """Break the connection with a RST, as a crashed gateway does."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class Server:
    """What arrived."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.url = ""


@asynccontextmanager
async def scripted(script: Script) -> AsyncIterator[Server]:
    """Serve every connection by a script."""
    server = Server()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await script(Connection(server, reader, writer))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listening.close()


def client(url: str, *, submit_timeout: float = 5.0) -> FalClient:
    """A client of that server, which tries reads once."""
    settings = FalSettings("the-key", FalUrls.at(url), submit_timeout=submit_timeout, read_timeout=2.0)
    return FalClient(settings, read_attempts=1)


def _headers(head: bytes) -> list[tuple[bytes, bytes]]:
    lines = [line.partition(b":") for line in head.split(b"\r\n")[1:] if b":" in line]
    return [(name.lower(), value.strip()) for name, _, value in lines]
