"""Draws pictures on a few threads, so that the queue goes on answering while they are made."""

from __future__ import annotations

import asyncio
import base64
import os
from concurrent.futures import ThreadPoolExecutor

from dagster_gptimg.emulator.account.account import inputs_of
from dagster_gptimg.emulator.account.records import Record
from dagster_gptimg.emulator.account.references import References
from dagster_gptimg.emulator.drawing.pictures import Picture, paint
from dagster_gptimg.emulator.drawing.processing import cut_out, enlarged, foreground_mask
from dagster_gptimg.emulator.http.results import content_type, file_names, output_format
from dagster_gptimg.emulator.models.models import MODELS

_LARGE = 12_000_000
"""Pixels from which on images are made one at a time: their number does not decide how much memory they need."""


class DrawingThreads:
    """The thread pool in which images are drawn. The same request and index always give the same bytes."""

    def __init__(self, references: References) -> None:
        self._references = references
        self._pool = ThreadPoolExecutor(min(4, os.cpu_count() or 1), thread_name_prefix="picture")
        self._large = ThreadPoolExecutor(1, thread_name_prefix="large-picture")

    async def image(self, record: Record, index: int) -> bytes:
        """The bytes of one image."""
        width, height = MODELS[record.endpoint_id].size(inputs_of(record))
        pool = self._large if width * height > _LARGE else self._pool
        return await asyncio.get_running_loop().run_in_executor(pool, self._painted, record, index)

    def _painted(self, record: Record, index: int) -> bytes:
        if record.source is not None:
            return self._made_of_source(record, record.source, index)
        shown = self._references.of(record.request_id) if "image_urls" in record.inputs else ()
        return paint(picture_of(record, index, shown))

    def _made_of_source(self, record: Record, name: str, index: int) -> bytes:
        inputs, model, form = inputs_of(record), MODELS[record.endpoint_id], output_format(record)
        source, (width, height) = self._references.source(name), model.size(inputs)
        if model.made == "enlarged":
            return enlarged(source, width, height, form)
        is_mask = inputs.get("mask_only") or file_names(record)[index] == "mask_image"
        return (foreground_mask if is_mask else cut_out)(source, form)

    async def data_uris(self, record: Record) -> list[str]:
        """All images of the request as data URIs (`sync_mode`)."""
        images = [await self.image(record, index) for index in range(len(file_names(record)))]
        prefix = f"data:{content_type(record)};base64,"
        return [prefix + base64.b64encode(data).decode() for data in images]

    def close(self) -> None:
        """Finish nothing more."""
        for pool in (self._pool, self._large):
            pool.shutdown(wait=False, cancel_futures=True)


def picture_of(record: Record, index: int, references: tuple[bytes, ...] = ()) -> Picture:
    """Return the specification of one image of the request."""
    model, form = MODELS[record.endpoint_id], output_format(record)
    inputs = inputs_of(record)
    width, height = model.size(inputs)
    if model.same_by_seed and inputs.get("seed") is not None:
        index = 0
    transparent = inputs.get("background") == "transparent" and form != "jpeg"
    return Picture(f"{record.request_id}:{index}", record.prompt, width, height, form, transparent, references)
