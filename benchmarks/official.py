"""fal's own client over the same images: submit, wait, result, download, SHA-256, one file. No receipts, no checks.

`python -m benchmarks.official async|threads URL N FOLDER`: as many at once as there are slots, as its users write it.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fal_client
import httpx

ENDPOINT = "fal-ai/gpt-image-1-mini"


def arguments(number: int) -> dict[str, Any]:
    """Of one image."""
    return {"prompt": f"picture {number}", "quality": "low", "image_size": "1024x1024", "num_images": 1}


def store(folder: Path, number: int, data: bytes) -> str:
    """Write one image."""
    (folder / f"{number}.png").write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def with_threads(count: int, slots: int, folder: Path) -> None:
    """Its synchronous client in a thread pool."""
    client, files = fal_client.SyncClient(key="k"), httpx.Client()

    def one(number: int) -> None:
        result = client.subscribe(ENDPOINT, arguments(number))
        store(folder, number, files.get(result["images"][0]["url"]).content)

    with ThreadPoolExecutor(slots) as pool:
        for _ in pool.map(one, range(count)):
            pass


async def with_asyncio(count: int, slots: int, folder: Path) -> None:
    """Its asynchronous client, bounded by a semaphore."""
    client, flying = fal_client.AsyncClient(key="k"), asyncio.Semaphore(slots)
    async with httpx.AsyncClient() as files:

        async def one(number: int) -> None:
            async with flying:
                result = await client.subscribe(ENDPOINT, arguments(number))
                answer = await files.get(result["images"][0]["url"])
                await asyncio.to_thread(store, folder, number, answer.content)

        await asyncio.gather(*(one(number) for number in range(count)))


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("way", choices=["async", "threads"])
    parser.add_argument("url")
    parser.add_argument("count", type=int)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--slots", type=int, default=40)
    given = parser.parse_args()
    fal_client.client.QUEUE_URL_FORMAT = f"{given.url}/"  # its hosts are constants of a module, and https only
    began = time.monotonic()
    if given.way == "threads":
        with_threads(given.count, given.slots, given.folder)
    else:
        asyncio.run(with_asyncio(given.count, given.slots, given.folder))
    print(json.dumps({"seconds": time.monotonic() - began}))


if __name__ == "__main__":
    main()
