#!/usr/bin/env bash
# httpx over aiohttp (httpx-aiohttp) reports a connection that broke after the request was sent as a time-out of the
# connect.
#
# One expects: httpx.ConnectTimeout means that no connection could be made, so that nothing was sent and a request can be
# repeated without harm. (That is how httpx's own transport uses it, and what retry rules rest on.)
# What happens: every aiohttp ClientConnectionError that is not listed by name becomes httpx.ConnectTimeout, among them
# ServerDisconnectedError: here the server has read the whole POST before it hangs up. Only the error's cause tells the
# difference: aiohttp.ClientConnectorError and ConnectionTimeoutError are the ones before anything was sent.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check httpx-aiohttp==0.2.0 httpx==0.28.1 aiohttp==3.14.5
"$folder/venv/bin/python" - <<'PY'
import asyncio
from importlib.metadata import version

import httpx
from httpx_aiohttp import AiohttpTransport

got = []


async def serve(reader, writer):
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    got.append(await reader.readexactly(length))
    writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with httpx.AsyncClient(transport=AiohttpTransport()) as client:
        try:
            await client.post(f"http://127.0.0.1:{port}/", content=b"a paid request")
        except httpx.HTTPError as error:
            print(
                f"httpx-aiohttp {version('httpx-aiohttp')}: the server has read {got[0]!r}, and the client raises "
                f"{type(error).__name__}, because of {type(error.__cause__).__name__}"
            )
            assert isinstance(error, httpx.ConnectTimeout), "the transport has changed: look again"


asyncio.run(main())
PY
