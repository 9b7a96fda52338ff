"""The images that a request brings along: loaded when it is submitted, and shown in what is made of them.

Of the images of an edit thumbnails are kept; of the one image of an endpoint without a prompt, all its bytes.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import io
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
from PIL import Image

from dagster_gptimg.emulator.account.received_post import Source
from dagster_gptimg.emulator.account.records import Outcome
from dagster_gptimg.emulator.models.one_image import MOST_SIDE

MOST_BYTES = 50 * 1024 * 1024
"""fal's toolkit loads no larger image (docs/fal-wire.md#references)."""
SECONDS = 10.0
"""For one image to come, whole."""
HOPS = 3
"""Redirects that are followed."""
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
"""Others are not opened: some of them start programs."""
_EDGE = 256
"""Pixels of the thumbnail that is kept."""
_QUICK_PIXELS = 4_000_000
"""Larger images are decoded one at a time, in a thread."""


@dataclass(frozen=True)
class Brought:
    """The images of one request, or why there are none."""

    thumbnails: tuple[Image.Image, ...] = ()
    source: Source | None = None
    """The one image, kept, for an endpoint that works on it."""
    problem: Outcome | None = None


class _TooLargeError(Exception):
    """An image with more pixels than are taken."""


class References:
    """The thumbnails and sources of all requests, in the state folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "references"
        self._decoding = ThreadPoolExecutor(1, thread_name_prefix="large-reference")

    async def load(self, urls: Sequence[str], *, is_source: bool = False) -> Brought:
        """Small copies of these images, and with `is_source` the first one kept as it is."""
        if not urls:
            return Brought()  # A client takes milliseconds to make, and nearly every request brings no images.
        thumbnails: list[Image.Image] = []
        source: Source | None = None
        async with httpx.AsyncClient(timeout=SECONDS, follow_redirects=True, max_redirects=HOPS) as http:
            for url in urls:
                data = decoded(url) if url.startswith("data:") else await _fetched(http, url)
                try:
                    size = _size(data)
                    image = await self._thumbnail(data, size) if data is not None and size is not None else None
                except _TooLargeError:
                    return Brought(problem=Outcome.TOO_LARGE)
                if image is None or data is None or size is None:
                    return Brought(problem=Outcome.BAD_REFERENCE)
                thumbnails.append(image)
                if is_source and source is None:
                    source = await asyncio.to_thread(self._kept, data, size)
        return Brought(tuple(thumbnails), source)

    async def _thumbnail(self, data: bytes, size: tuple[int, int]) -> Image.Image | None:
        if size[0] * size[1] <= _QUICK_PIXELS:
            return _thumbnail(data)
        return await asyncio.get_running_loop().run_in_executor(self._decoding, _thumbnail, data)

    def _kept(self, data: bytes, size: tuple[int, int]) -> Source:
        """Keep a whole image under a name that its content gives; before the request is accepted, so never too late."""
        name = f"source-{hashlib.sha256(data).hexdigest()[:32]}"
        path = self._folder / name
        if not path.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            begun = self._folder / f"{uuid.uuid4().hex}.part"
            begun.write_bytes(data)
            begun.replace(path)
        return Source(name, *size)

    def close(self) -> None:
        """Decode nothing more."""
        self._decoding.shutdown(wait=False, cancel_futures=True)

    def keep(self, request_id: str, images: Sequence[Image.Image]) -> None:
        """Keep the thumbnails of a request."""
        if images:
            self._folder.mkdir(parents=True, exist_ok=True)
        for number, image in enumerate(images):
            image.save(self._folder / f"{request_id}-{number:02d}.png")

    def of(self, request_id: str) -> tuple[bytes, ...]:
        """The thumbnails of a request's references, in their order, as PNG."""
        return tuple(path.read_bytes() for path in sorted(self._folder.glob(f"{request_id}-*.png")))

    def source(self, name: str) -> Path:
        """The file of a source that was kept."""
        return self._folder / name


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


def _size(data: bytes | None) -> tuple[int, int] | None:
    """Return width and height by an image's header, without decoding it; None if it has none.

    Raises `_TooLargeError`.
    """
    try:
        with Image.open(io.BytesIO(data or b""), formats=_FORMATS) as image:
            size = image.size
    except Image.DecompressionBombError as error:
        raise _TooLargeError from error
    except Exception:  # noqa: BLE001 - Pillow raises about everything for bytes from outside
        return None
    if max(size) > MOST_SIDE:
        raise _TooLargeError
    return size


def _thumbnail(data: bytes) -> Image.Image | None:
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            image.thumbnail((_EDGE, _EDGE))
            return image.convert("RGB")
    except Exception:  # noqa: BLE001 - Pillow raises about everything for bytes from outside
        return None
