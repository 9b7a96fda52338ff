"""Recorded images that are missing in the store are fetched from fal again, byte for byte, at no cost."""

from __future__ import annotations

import hashlib
import io
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from dagster_gptimg.engine.collect.download_limit import DownloadLimit
from dagster_gptimg.errors import ReadError
from dagster_gptimg.fal.types import Images, listed_images
from dagster_gptimg.store.images.spool import Spool
from dagster_gptimg.store.layout import parse_image
from dagster_gptimg.store.receipts.recorded_files import not_as_recorded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagster_gptimg.engine.job import Fal, Runtime, Take
    from dagster_gptimg.fal.types import ImageFile, Submitted
    from dagster_gptimg.store.dataset import Dataset
    from dagster_gptimg.store.receipts.facts import Outcome, StoredImage

KEPT = timedelta(days=90)
"""How far back fal can look up a request by id: images stored earlier are not requested."""

DOWNLOADS_AT_ONCE = 4

PIECE = 1024 * 1024
"""Bytes of a file that are compared at a time."""


class Refetch:
    """Fetches images of one dataset from fal again.

    Attributes:
        fetched: number of images that were fetched.
    """

    def __init__(self, dataset: Dataset, fal: Fal, runtime: Runtime) -> None:
        self._store, self._folder, self._fal, self._runtime = dataset.store, dataset.folder, fal, runtime
        self._download_limit = DownloadLimit(at_once=DOWNLOADS_AT_ONCE)
        self.fetched = 0

    async def fetch(self, submitted: Submitted, outcome: Outcome) -> str:
        """Fetch the missing images of a request; return why they are not available now, or an empty text.

        fal keeps a result for an hour; the history has the URLs of its files for longer.

        Raises:
            StoreError: the store cannot be used.
        """
        if self._runtime.clock.now() - outcome.completed_at > KEPT:
            return f"fal keeps images for at most {KEPT.days} days"
        try:
            async with self._download_limit.share() as take:  # a result may hold its images itself
                files = await self._of_result(submitted, take)
            why = await self._bring(outcome, files)
            return why and await self._bring(outcome, await self._of_history(submitted))
        except ReadError as error:
            return f"fal cannot be reached now ({error})"

    async def _of_result(self, submitted: Submitted, take: Take) -> Sequence[ImageFile]:
        try:
            answer = await self._fal.result(submitted, take=take)
        except ReadError:
            return ()
        return answer.images if isinstance(answer, Images) else ()

    async def _of_history(self, submitted: Submitted) -> Sequence[ImageFile]:
        item = await self._fal.lookup(submitted.endpoint, submitted.request_id)
        if item is None or not listed_images(item.json_output):
            return ()
        return self._fal.images_of(item.json_output).images

    async def _bring(self, outcome: Outcome, files: Sequence[ImageFile]) -> str:
        for image in await self._runtime.io(not_as_recorded, self._store, self._folder, outcome.images):
            name = parse_image(image.path)
            if name is None or name.number >= len(files):
                return "fal no longer has it"
            if why := await self._bring_one(image, files[name.number]):
                return why
            self.fetched += 1
        return ""

    async def _bring_one(self, image: StoredImage, file: ImageFile) -> str:
        """Write one image to its place, if fal's bytes are the recorded ones, and no other file is there."""
        try:
            async with self._download_limit.share() as take:
                with Spool() as spool:
                    if file.held is None:
                        await self._fal.fetch(file, spool, take)
                    else:
                        await self._runtime.io(file.held.copy, spool)
                    return await self._runtime.io(self._put, image, spool.content())
        except ReadError as error:
            return f"fal did not return {image.path}: {error}"

    def _put(self, image: StoredImage, content: bytes | Path) -> str:
        name = f"{self._folder}/{image.path}"
        with _opened(content) as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != image.sha256:
                return f"fal returned bytes for {image.path} that differ from the record"
            file.seek(0)
            if not self._begins_with_what_lies_at(name, file):
                return f"another file is at {image.path}: move it away to have the image fetched again"
        if isinstance(content, bytes):
            self._store.write(name, content)
        else:
            self._store.write_file(name, content)
        return ""

    def _begins_with_what_lies_at(self, name: str, file: io.BufferedIOBase) -> bool:
        """Return whether the image's place is empty or has its beginning (an interrupted copy), not another file."""
        try:
            with self._store.open(name) as there:
                while piece := there.read(PIECE):
                    if file.read(len(piece)) != piece:
                        return False
        except FileNotFoundError:
            return True
        return True


def _opened(content: bytes | Path) -> io.BufferedIOBase:
    return io.BytesIO(content) if isinstance(content, bytes) else content.open("rb")
