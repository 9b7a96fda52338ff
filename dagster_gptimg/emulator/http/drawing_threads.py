"""Draws pictures on a few threads, so that the queue goes on answering while they are made."""

from __future__ import annotations

import asyncio
import base64
import os
from concurrent.futures import ThreadPoolExecutor

from dagster_gptimg.emulator.account.records import Record
from dagster_gptimg.emulator.account.references import References
from dagster_gptimg.emulator.drawing.pictures import Picture, paint
from dagster_gptimg.emulator.http.results import output_format
from dagster_gptimg.emulator.models.models import MODELS


class DrawingThreads:
    """The thread pool in which images are drawn. The same request and index always give the same bytes."""

    def __init__(self, references: References) -> None:
        self._references = references
        self._pool = ThreadPoolExecutor(min(4, os.cpu_count() or 1), thread_name_prefix="picture")

    async def image(self, record: Record, index: int) -> bytes:
        """The bytes of one image."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._painted, record, index)

    def _painted(self, record: Record, index: int) -> bytes:
        shown = self._references.of(record.request_id) if "image_urls" in record.inputs else ()
        return paint(picture_of(record, index, shown))

    async def data_uris(self, record: Record) -> list[str]:
        """All images of the request as data URIs (`sync_mode`)."""
        images = [await self.image(record, index) for index in range(record.images)]
        prefix = f"data:image/{output_format(record)};base64,"
        return [prefix + base64.b64encode(data).decode() for data in images]

    def close(self) -> None:
        """Finish nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def picture_of(record: Record, index: int, references: tuple[bytes, ...] = ()) -> Picture:
    """Return the specification of one image of the request."""
    model, form = MODELS[record.endpoint_id], output_format(record)
    width, height = model.size(record.inputs)
    if model.same_by_seed and record.inputs.get("seed") is not None:
        index = 0
    transparent = record.inputs.get("background") == "transparent" and form != "jpeg"
    return Picture(f"{record.request_id}:{index}", record.prompt, width, height, form, transparent, references)
