"""The bare loop: what one image costs a client that does nothing but the calls and the durable writes.

No checks, no state, no retries, no back-off: a floor to compare with, not a design. `python benchmarks/bare.py URL N
FOLDER --looks K` submits N requests at once and asks K times for each.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import secrets
import ssl
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import aiohttp

KEY = {"Authorization": "Key k"}
ENDPOINT = "fal-ai/gpt-image-1-mini"


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

    def __init__(self, url: str, folder: Path, looks: int, wait: float) -> None:
        self.url, self.folder, self.looks, self.wait = url, folder, looks, wait
        self.threads = ThreadPoolExecutor(16)
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
        looks = 0
        while True:
            await asyncio.sleep(self.wait if not looks else self.wait * 0.1)
            looks += 1
            async with http.get(told["status_url"], headers=KEY) as response:
                status = (await response.json())["status"]
            if looks >= self.looks and status == "COMPLETED":
                break
        async with http.get(told["response_url"], headers=KEY) as response:
            result = await response.json()
        async with self.downloads, http.get(result["images"][0]["url"]) as response:
            data = await response.read()
            loop = asyncio.get_running_loop()
            digest = await loop.run_in_executor(self.threads, store, self.folder, key, data)
        await self.write(key, f"outcome.{told['request_id']}", {"sha256": digest, "bytes": len(data)})

    async def run(self, count: int, context: ssl.SSLContext | None) -> None:
        """All of them at once."""
        connector = aiohttp.TCPConnector(limit=32, ssl=context or True)
        async with aiohttp.ClientSession(connector=connector) as http:
            await asyncio.gather(*(self.one(http, number) for number in range(count)))


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("count", type=int)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--looks", type=int, default=4)
    parser.add_argument("--wait", type=float, default=1.0, metavar="S")
    parser.add_argument("--ca", metavar="FILE")
    given = parser.parse_args()
    context = ssl.create_default_context(cafile=given.ca) if given.ca else None
    asyncio.run(Loop(given.url, given.folder, given.looks, given.wait).run(given.count, context))


if __name__ == "__main__":
    main()
