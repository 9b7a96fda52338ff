"""The bare loop: what one image costs a client that does nothing but the calls and the durable writes.

No checks, no state, no retries, no back-off: a floor to compare with, not a design. `python -m benchmarks.bare URL N
FOLDER` keeps as many requests in flight as there are slots. With `--looks K` each is asked for K times in the mean, the
last time when its end is certain; with `--every S` it is asked for so often until it has ended.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import secrets
import ssl
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path

import aiohttp

KEY = {"Authorization": "Key k"}
ENDPOINT = "fal-ai/gpt-image-1-mini"

LONGEST, STEP = 1.35, 0.1
"""The last look comes after so many mean latencies, when every request has ended; the others so much before it."""


def durable(path: Path, data: bytes) -> None:
    """A file that is whole and synced before it has its name, and its folder after."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".part-{secrets.token_hex(8)}")
    with part.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.link(part, path)
    part.unlink()
    handle = os.open(path.parent, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


def store(folder: Path, key: str, data: bytes) -> str:
    """Hash the image, walk its CRCs, write it."""
    at = 8
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        end = at + 8 + length
        if zlib.crc32(memoryview(data)[at + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            raise ValueError(key)
        at = end + 4
    durable(folder / "images" / key[:2] / f"{key}.png", data)
    return hashlib.sha256(data).hexdigest()


class Loop:
    """One run of it."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.url, self.folder = given.url, given.folder
        self.looks, self.wait, self.every = given.looks, given.wait, given.every
        self.flying, self.threads = asyncio.Semaphore(given.slots), ThreadPoolExecutor(16)
        self.submits, self.downloads = asyncio.Semaphore(8), asyncio.Semaphore(8)

    async def write(self, key: str, kind: str, about: object) -> None:
        """One receipt."""
        path = self.folder / "receipts" / key[:2] / f"{key}.0.{kind}.json"
        await asyncio.get_running_loop().run_in_executor(self.threads, durable, path, json.dumps(about).encode())

    async def one(self, http: aiohttp.ClientSession, number: int) -> None:
        """Submit, wait, look, read the result, download, store."""
        asked = {"prompt": f"picture {number}", "quality": "low", "image_size": "1024x1024", "num_images": 1}
        key = hashlib.sha256(json.dumps(asked).encode()).hexdigest()
        async with self.submits:
            await self.write(key, "intent", {"arguments": asked, "nonce": secrets.token_hex(16), "key": key})
            async with http.post(f"{self.url}/{ENDPOINT}", json=asked, headers=KEY) as response:
                told = await response.json()
            await self.write(key, f"accepted.{told['request_id']}.reply", told)
        for seconds in self.pauses(number):
            await asyncio.sleep(seconds)
            async with http.get(told["status_url"], headers=KEY) as response:
                if (await response.json())["status"] == "COMPLETED" and self.every:
                    break
        async with http.get(told["response_url"], headers=KEY) as response:
            result = await response.json()
        async with self.downloads, http.get(result["images"][0]["url"]) as response:
            data = await response.read()
            loop = asyncio.get_running_loop()
            digest = await loop.run_in_executor(self.threads, store, self.folder, key, data)
        await self.write(key, f"outcome.{told['request_id']}", {"sha256": digest, "bytes": len(data)})

    def pauses(self, number: int) -> Iterator[float]:
        """Seconds before each look at a request."""
        if self.every:
            yield from repeat(self.every)
        looks = max(int((number + 1) * self.looks) - int(number * self.looks), 1)
        yield max(LONGEST - (looks - 1) * STEP, STEP) * self.wait
        yield from repeat(STEP * self.wait, looks - 1)

    async def bounded(self, http: aiohttp.ClientSession, number: int) -> None:
        """One, as soon as a slot is free for it."""
        async with self.flying:
            await self.one(http, number)

    async def run(self, count: int, context: ssl.SSLContext | None) -> None:
        """All of them at once."""
        connector = aiohttp.TCPConnector(limit=32, ssl=context or True)
        async with aiohttp.ClientSession(connector=connector) as http:
            await asyncio.gather(*(self.bounded(http, number) for number in range(count)))


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("count", type=int)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--slots", type=int, default=40)
    parser.add_argument("--looks", type=float, default=4.0)
    parser.add_argument("--wait", type=float, default=1.0, metavar="S", help="the mean latency")
    parser.add_argument("--every", type=float, default=0.0, metavar="S")
    parser.add_argument("--ca", metavar="FILE")
    given = parser.parse_args()
    context = ssl.create_default_context(cafile=given.ca) if given.ca else None
    began = time.monotonic()
    asyncio.run(Loop(given).run(given.count, context))
    print(json.dumps({"seconds": time.monotonic() - began}))


if __name__ == "__main__":
    main()
