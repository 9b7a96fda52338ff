"""Collect: from an accepted request to its images in the store and its outcome on record.

A bad read is not a failure, COMPLETED is not success, and nothing here declares a paid image lost for good: what
cannot be had now is raised as `LostError` and looked for again by every run.
"""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING

from dagster_gptimg.batch.room import Room
from dagster_gptimg.errors import GoneError, ImageError, ReadError
from dagster_gptimg.fal.answers import images_of
from dagster_gptimg.fal.models import model_at
from dagster_gptimg.fal.types import Failure, Images, Pending
from dagster_gptimg.store.facts import Outcome
from dagster_gptimg.store.images import find_image, store_image

if TYPE_CHECKING:
    from dagster_gptimg.batch.arrivals import Arrivals
    from dagster_gptimg.batch.job import Job
    from dagster_gptimg.batch.news import News
    from dagster_gptimg.batch.plan import Request
    from dagster_gptimg.batch.watch import Watcher
    from dagster_gptimg.fal.prices import Price
    from dagster_gptimg.fal.types import Answer, ImageFile, Submitted
    from dagster_gptimg.store.facts import StoredImage

TRIES = 4


class LostError(Exception):
    """fal does not give a paid image now. It stays on record as in flight, and the next run looks again."""


class Collector:
    """Follows the requests of one run to their ends."""

    def __init__(self, job: Job, watcher: Watcher, news: News | None = None, arrivals: Arrivals | None = None) -> None:
        """`news` is told what fal says of requests on their way, `arrivals` knows what webhooks brought."""
        self._news, self._arrivals = news, arrivals
        self._job, self._clock, self._watcher = job, job.runtime.clock, watcher
        self._room = Room()
        self._unit_prices: dict[str, Decimal | None] = {}
        self._asking_price = asyncio.Lock()

    async def collect(self, request: Request, submitted: Submitted, price: Price, *, fresh: bool) -> Outcome:
        """Wait for a request's end and bring home what it made.

        Args:
            request: what a row needs.
            submitted: what fal has of it.
            price: what it may cost.
            fresh: whether it was submitted just now.

        Raises:
            LostError: fal does not have the result or an image (any more).
            TooLateError: it does not end.
            StoreError: the store cannot be used.
        """
        kind = model_at(request.endpoint, self._job.model).latency_kind(request.arguments)
        for number in range(TRIES):
            inference = await self._ended(request, submitted, kind, fresh=fresh and not number)
            answer = await self._arrived(request, submitted, price) or await self._answer(submitted)
            if isinstance(answer, Failure):
                return await self._failed(submitted, answer)
            if isinstance(answer, Images):
                return await self._stored(request.key, submitted, answer, price, inference)
        raise LostError("fal says that it has ended, and its result cannot be read")

    async def _ended(self, request: Request, submitted: Submitted, kind: str, *, fresh: bool) -> float | None:
        news = self._news
        if news is None:
            return await self._watcher.ended(submitted, kind, fresh=fresh)
        with news.of(request.row_id, submitted.request_id) as tell:
            return await self._watcher.ended(submitted, kind, tell, fresh=fresh)

    # -- reading the result

    async def _arrived(self, request: Request, submitted: Submitted, price: Price) -> Images | None:
        """The images as a webhook named them, which saves reading the result.

        A webhook does not tell what was billed, so it is enough only where the price is certain: what fal bills for
        fewer images than asked for is not.
        """
        if self._arrivals is None or price.low != price.high:
            return None
        found = await self._arrivals.images(request.key, submitted.request_id)
        return found if found is not None and len(found.images) == request.images else None

    async def _answer(self, request: Submitted) -> Answer:
        """The result. A failure that would be free is read twice, so that nothing but fal's own word makes it so."""
        first = await self._read(request)
        if not isinstance(first, Failure) or not first.is_free:
            return first
        await self._clock.sleep(1.0)
        second = await self._read(request)
        return second if isinstance(second, Images) or (isinstance(second, Failure) and second.is_free) else Pending()

    async def _read(self, request: Submitted) -> Answer:
        for _ in range(TRIES):
            try:
                answer = await self._job.fal.result(request)
            except GoneError:
                return await self._from_history(request)
            except ReadError:
                await self._clock.sleep(2.0)
                continue
            if not isinstance(answer, Pending):
                return answer
            await self._clock.sleep(1.0)
        return Pending()

    async def _from_history(self, request: Submitted) -> Answer:
        """Fal keeps a result for an hour (6 minutes when large); its history keeps the same JSON for 30 days.

        The history may lag, so it is asked for up to `settle` seconds.
        """
        until, pause = self._clock.monotonic() + self._job.options.settle, 1.0
        while not (images := await self._images_in_history(request)):
            if self._clock.monotonic() >= until:
                raise LostError("fal has neither the result nor its images in the history")
            await self._clock.sleep(pause)
            pause = min(2 * pause, 15.0)
        return Images(images)

    async def _images_in_history(self, request: Submitted) -> tuple[ImageFile, ...]:
        try:
            item = await self._job.fal.lookup(request.endpoint, request.request_id)
        except ReadError:
            return ()
        return images_of(item.json_output) if item is not None else ()

    # -- images

    async def _images(self, key: str, request: Submitted, files: tuple[ImageFile, ...]) -> tuple[StoredImage, ...]:
        self._job.runtime.reached("before image")
        stored = [await self._image(key, request, index, file) for index, file in enumerate(files)]
        self._job.runtime.reached("after image")
        return tuple(stored)

    async def _image(self, key: str, request: Submitted, index: int, file: ImageFile) -> StoredImage:
        """One image, tried again while what comes is not whole."""
        stem, trouble = f"{key}-{request.request_id}-{index}", ""
        for attempt in range(TRIES):
            await self._clock.sleep(attempt * 2.0)
            try:
                return await self._fetch(stem, file)
            except (ReadError, ImageError) as error:
                trouble = str(error)
            except _Moved:
                if (found := await self._here(stem)) is not None:
                    return found
                file = await self._again(request, index, file)
        raise LostError(f"image {index} cannot be had: {trouble or 'its URL is gone'}")

    async def _fetch(self, stem: str, file: ImageFile) -> StoredImage:
        async with self._room.share() as take:
            try:
                data = await self._job.fal.download(file.url, take)
            except GoneError as error:
                raise _Moved from error
            if file.file_size is not None and file.file_size != len(data):
                raise ImageError(f"{len(data)} bytes came, fal says {file.file_size}")
            dataset = self._job.dataset
            return await self._job.runtime.io(store_image, dataset.store, dataset.folder, stem, data)

    async def _here(self, stem: str) -> StoredImage | None:
        """The image, if it was stored before somebody was killed, and only its record is missing."""
        dataset = self._job.dataset
        return await self._job.runtime.io(find_image, dataset.store, dataset.folder, stem)

    async def _again(self, request: Submitted, index: int, file: ImageFile) -> ImageFile:
        """The same image's file from the result, read again, or from the history: its URL may be another now."""
        answer = await self._read(request)
        found = answer.images if isinstance(answer, Images) else ()
        if file in found[index : index + 1]:
            found = await self._images_in_history(request)
        return found[index] if index < len(found) else file

    # -- the outcome

    async def _stored(
        self, key: str, request: Submitted, answer: Images, price: Price, inference: float | None
    ) -> Outcome:
        images = await self._images(key, request, answer.images)
        cost = await self._billed(request.endpoint, answer.billable_units)
        if cost is None and price.low == price.high:
            cost = price.high  # every input that the price depends on was said
        now = self._clock.now()
        return Outcome(
            request_id=request.request_id,
            kind="stored",
            images=images,
            cost_usd=cost,
            billable_units=answer.billable_units,
            inference_s=inference,
            completed_at=now,
            recorded_at=now,
        )

    async def _failed(self, request: Submitted, failure: Failure) -> Outcome:
        """500 and above is free; a refusal may be billed, so without fal's units its cost is not known."""
        now = self._clock.now()
        return Outcome(
            request_id=request.request_id,
            kind="free" if failure.is_free else "refused",
            cost_usd=Decimal(0) if failure.is_free else await self._billed(request.endpoint, failure.billable_units),
            billable_units=failure.billable_units,
            status_code=failure.status_code,
            error_type=failure.error_type,
            error=failure.message,
            completed_at=now,
            recorded_at=now,
        )

    async def _billed(self, endpoint: str, units: Decimal | None) -> Decimal | None:
        """What fal billed: its units at today's price a unit; None when either is not known."""
        if units is None or not units:
            return units
        async with self._asking_price:
            if endpoint not in self._unit_prices:
                self._unit_prices[endpoint] = await self._ask_price(endpoint)
            price = self._unit_prices[endpoint]
        return None if price is None else units * price

    async def _ask_price(self, endpoint: str) -> Decimal | None:
        try:
            price = await self._job.fal.unit_price(endpoint)
            return None if price is None else Decimal(price)
        except (ReadError, ArithmeticError):
            return None


class _Moved(Exception):  # noqa: N818 - not an error: the image has another URL now
    """The CDN does not have an image under this URL."""
