"""The images that an edit brings along: loaded when it is submitted, and shown in the picture that is made of them."""

from __future__ import annotations

import asyncio
import base64
import binascii
import io
from collections.abc import Sequence
from pathlib import Path

import httpx
from PIL import Image

MOST_BYTES = 50 * 1024 * 1024
"""fal's toolkit loads no larger image (docs/fal-wire.md#references)."""
SECONDS = 10.0
"""For one image to come, whole."""
HOPS = 3
"""Redirects that are followed."""
_EDGE = 256
"""Pixels of the thumbnail that is kept."""


class References:
    """The thumbnails of all requests' reference images, in the state folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "references"

    async def load(self, urls: Sequence[str]) -> list[Image.Image] | None:
        """Small copies of these images; None when one of them cannot be loaded."""
        images: list[Image.Image] = []
        if not urls:
            return images  # A client takes milliseconds to make, and nearly every request brings no images.
        async with httpx.AsyncClient(timeout=SECONDS, follow_redirects=True, max_redirects=HOPS) as http:
            for url in urls:
                data = decoded(url) if url.startswith("data:") else await _fetched(http, url)
                image = _thumbnail(data) if data is not None else None
                if image is None:
                    return None
                images.append(image)
        return images

    def keep(self, request_id: str, images: Sequence[Image.Image]) -> None:
        """Keep the images of a request."""
        if images:
            self._folder.mkdir(parents=True, exist_ok=True)
        for number, image in enumerate(images):
            image.save(self._folder / f"{request_id}-{number:02d}.png")

    def of(self, request_id: str) -> tuple[bytes, ...]:
        """The thumbnails of a request's references, in their order, as PNG."""
        return tuple(path.read_bytes() for path in sorted(self._folder.glob(f"{request_id}-*.png")))


async def _fetched(http: httpx.AsyncClient, url: str) -> bytes | None:
    """Return the bytes of a URL; None if there are none, too many, or they take too long."""
    data = bytearray()
    try:
        async with asyncio.timeout(SECONDS), http.stream("GET", url) as response:
            if not response.is_success:
                return None
            async for chunk in response.aiter_bytes():
                data += chunk
                if len(data) > MOST_BYTES:
                    return None
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError):
        return None
    return bytes(data)


def decoded(uri: str) -> bytes | None:
    """Return the bytes of a base64 data URI; None if it is not one."""
    head, _, body = uri.partition(",")
    try:
        return base64.b64decode(body, validate=True) if head.endswith(";base64") else None
    except binascii.Error:
        return None


def _thumbnail(data: bytes) -> Image.Image | None:
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.thumbnail((_EDGE, _EDGE))
            return image.convert("RGB")
    except Exception:  # noqa: BLE001 - Pillow raises about everything for bytes from outside
        return None
