"""Collect: from an accepted request to its images in the store and its outcome, which `engine/worker.py` records.

A bad read is not a failure, COMPLETED is not success, and nothing here declares a paid image lost for good: what
cannot be had now is `Lost`, and is looked for again by every run.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from dagster_gptimg.engine.collect.download_limit import DownloadLimit
from dagster_gptimg.engine.collect.odd_images import oddities, with_repeats_noted
from dagster_gptimg.engine.collect.result_reads import (
    FAR_APART,
    REFUSAL_APART,
    Readings,
    age_of,
    failure_in_history,
    is_young,
    pauses,
)
from dagster_gptimg.engine.collect.unit_prices import UnitPrices
from dagster_gptimg.engine.follow.tracked_request import Seen
from dagster_gptimg.errors import GoneError, ImageError, IncompleteImageError, ReadError
from dagster_gptimg.fal.registry.builtin import model_at
from dagster_gptimg.fal.types import Details as Said
from dagster_gptimg.fal.types import Failure, Images, Pending
from dagster_gptimg.store.images.image_files import find_image, store_image
from dagster_gptimg.store.images.spool import Spool
from dagster_gptimg.store.layout import image_stem
from dagster_gptimg.store.receipts.facts import Details, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from dagster_gptimg.engine.follow.status_changes import StatusChanges
    from dagster_gptimg.engine.follow.tracked_request import TooLate
    from dagster_gptimg.engine.follow.watcher import Watcher
    from dagster_gptimg.engine.follow.webhook_events import WebhookEvents
    from dagster_gptimg.engine.job import Job, Take
    from dagster_gptimg.engine.plan.plan import Request
    from dagster_gptimg.fal.registry.price_formulas import Price
    from dagster_gptimg.fal.types import HistoryItem, ImageFile, Submitted
    from dagster_gptimg.store.receipts.facts import OutcomeKind, StoredImage

PATIENT_AFTER = 8.0
"""Seconds of a pause above which an ended request lets another request take its place in the in-flight limit."""


class Lost(NamedTuple):
    """fal does not give a paid image now: `why`, in words. It stays in flight on record; the next run looks again."""

    why: str


def _nothing() -> None:
    """Notify nobody."""


@dataclass(slots=True, kw_only=True)
class Case:
    """One request that is being collected.

    Attributes:
        request: the request of a row.
        submitted: fal's id and URLs of it.
        price: its possible cost.
        fresh: whether this run has just submitted it.
        until: until when this run waits for it, in seconds of the run's clock.
        once: whether its result is read only once.
        accepted_at: when fal accepted it, if known.
        on_wait: called when it lets another request take its place.
        readings: what was read of it so far.
        inference: seconds that the model took, if fal says it.
        units: billable units from a result that was read, if it had them: entries of the history have none.
        images: images that are already stored, by number.
        gone: URLs that the CDN does not have.
        trouble: the last error.
        pause: seconds until the next read, if different from the usual pause.
        take: reserves memory for what is read, while a result is processed that may contain its images.
    """

    request: Request
    submitted: Submitted
    price: Price
    fresh: bool
    until: float
    once: bool = False
    accepted_at: datetime | None = None
    on_wait: Callable[[], None] = _nothing
    readings: Readings = field(default_factory=Readings)
    inference: float | None = None
    units: Decimal | None = None
    images: dict[int, StoredImage] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    trouble: str = ""
    pause: float | None = None
    take: Take | None = None


class Collector:
    """Follows the requests of one run until they end."""

    def __init__(
        self, job: Job, watcher: Watcher, news: StatusChanges | None = None, webhook_events: WebhookEvents | None = None
    ) -> None:
        """`news`: is notified of statuses, for `Updated` events; `webhook_events`: the webhooks that were received."""
        self._status_changes, self._webhook_events = news, webhook_events
        self._job, self._clock, self._watcher = job, job.runtime.clock, watcher
        self._download_limit = DownloadLimit()
        self._unit_prices = UnitPrices(job)

    async def collect(self, case: Case) -> Outcome | Lost | TooLate:
        """Wait for a request's end, and store its images.

        Returns:
            What it came to; `Lost`: fal does not have the result or an image (any more), or nothing that it says is
            evidence; `TooLate`: it does not end.

        Raises:
            StoreError: the store cannot be used.
        """
        age = age_of(case.accepted_at, self._clock.now())
        case.readings.is_young = is_young(age)
        for usual in pauses(age)[: 1 if case.once else None]:
            await self._wait(case, usual)
            if not case.readings.is_completed and (late := await self._watch(case)) is not None:
                if case.trouble:
                    break  # it was looked for already: what was found then says more
                return late
            if (outcome := await self._look(case)) is not None:
                return outcome
            if self._clock.monotonic() >= case.until:
                break
        return Lost(case.trouble or "nothing was read")

    async def _wait(self, case: Case, usual: float) -> None:
        pause, case.pause = (usual if case.pause is None else case.pause), None
        if pause >= PATIENT_AFTER:
            case.on_wait()
        await self._clock.sleep(min(pause, max(case.until - self._clock.monotonic(), 0.0)))

    async def _watch(self, case: Case) -> TooLate | None:
        """Wait until fal has said that the request has ended; or that it does not know it, which is no end."""
        kind = model_at(case.request.endpoint, self._job.model).latency_kind(case.request.arguments)
        news, fresh, until = self._status_changes, case.fresh, case.until
        if news is None:
            seen = await self._watcher.ended(case.submitted, kind, fresh=fresh, until=until)
        else:
            with news.of(case.request.row_id, case.submitted.request_id) as tell:
                seen = await self._watcher.ended(case.submitted, kind, tell, fresh=fresh, until=until)
        if not isinstance(seen, Seen):
            return seen
        case.fresh = False
        case.readings.is_completed, case.readings.error_type = seen.is_completed, seen.error_type
        case.inference = seen.inference_time
        return None

    # -- one look

    async def _look(self, case: Case) -> Outcome | None:
        """Read everything that is available now; None if there are neither images nor evidence of an end."""
        if not self._job.options.request.without_guarantee:
            return await self._look_once(case)
        async with self._download_limit.share() as take:
            case.take = take
            try:
                return await self._look_once(case)
            finally:
                case.take = None

    async def _look_once(self, case: Case) -> Outcome | None:
        found = await self._arrived(case) or await self._read(case)
        item = await self._line(case) if isinstance(found, Failure) and found.error_type != "history" else None
        if item is not None:
            found = self._images_in(item) or found  # images in the history have precedence over the result
        if isinstance(found, Images) and await self._has_stored(case, found):
            return await self._stored(case, found)
        if isinstance(found, Failure):
            return await self._failed(case, found, item)
        return None

    async def _arrived(self, case: Case) -> Images | None:
        """Return the images that a webhook named, which saves the read of the result.

        A webhook does not say what was billed, so it suffices only if the price is certain, which it is not if there
        are fewer images than requested.
        """
        if self._webhook_events is None or case.price.low != case.price.high:
            return None
        found = await self._webhook_events.images(case.request.key, case.submitted.request_id)
        if found is None or len(found.images) != case.request.images or {f.url for f in found.images} & case.gone:
            return None
        return found

    async def _read(self, case: Case) -> Images | Failure | None:
        """Return the result; or that in the history, if fal no longer has the result or it is not usable."""
        try:
            answer = await self._job.fal.result(case.submitted, take=case.take)
        except GoneError as error:
            case.trouble = str(error)
            return await self._from_history(case)
        except ReadError as error:
            case.trouble = f"its result cannot be read: {error}"
            return None
        if isinstance(answer, Pending):
            case.readings.is_completed = False  # the status COMPLETED was wrong
            case.trouble = "fal says both that the request has ended and that it is still in progress"
            return None
        if isinstance(answer, Images) and not self._is_sound(case, answer):
            return None
        case.units = answer.billable_units if answer.billable_units is not None else case.units
        if isinstance(answer, Images) and any(file.url in case.gone for file in answer.images):
            return await self._from_history(case) or answer
        return answer

    def _is_sound(self, case: Case, answer: Images) -> bool:
        """Return whether a result is complete and this request's; a contradictory one only if it stays the same."""
        odd = ""
        if answer.answers_for not in {None, case.submitted.request_id}:
            odd = f"the result's header names another request, {answer.answers_for}"
        elif answer.unreadable:
            odd = f"{answer.unreadable} entries of the result name no image"
        if not odd or case.readings.stays("result", odd, FAR_APART, self._clock.monotonic()):
            return True
        case.trouble = odd
        return False

    async def _from_history(self, case: Case) -> Images | Failure | None:
        """Return the result in the history.

        fal keeps a result for 1 h (6 min if large), but its JSON in the history for 30 days.
        """
        item = await self._line(case)
        if item is None:
            case.trouble = "fal has neither the result nor its images in the history"
            return None
        return self._images_in(item) or failure_in_history(item)

    def _images_in(self, item: HistoryItem) -> Images | None:
        try:
            return self._job.fal.images_of(item.json_output)
        except ReadError:
            return None

    async def _line(self, case: Case) -> HistoryItem | None:
        try:
            return await self._job.fal.lookup(case.submitted.endpoint, case.submitted.request_id)
        except ReadError:
            return None

    # -- images

    async def _has_stored(self, case: Case, answer: Images) -> bool:
        """Store all images; False if one of them is not available now."""
        self._job.runtime.reached("before image")
        wanted = answer.images[: case.request.images]
        for index, file in enumerate(wanted):
            if index not in case.images and not await self._has_image(case, index, file):
                return False
        self._job.runtime.reached("after image")
        return True

    async def _has_image(self, case: Case, index: int, file: ImageFile) -> bool:
        stem = image_stem(case.request.key, case.submitted.request_id, index)
        try:
            image = await self._fetch(case, stem, file)
        except (ReadError, ImageError) as error:
            case.trouble = f"image {index} is not available: {error}"
            found = await self._here(stem) if isinstance(error, GoneError) else None
            if found is None:
                case.gone.update({file.url} if isinstance(error, GoneError) else set())
                return False
            image = found
        asked = model_at(case.request.endpoint, self._job.model).asked_size(case.request.arguments)
        notes = (*image.notes, *oddities(image, file, asked))
        case.images[index] = image.model_copy(update={"notes": notes, "nsfw": file.nsfw})
        return True

    async def _fetch(self, case: Case, stem: str, file: ImageFile) -> StoredImage:
        if case.take is not None:
            return await self._fetched(case, stem, file, case.take)
        async with self._download_limit.share() as take:
            return await self._fetched(case, stem, file, take)

    async def _fetched(self, case: Case, stem: str, file: ImageFile, take: Take) -> StoredImage:
        """Store one image; an incomplete one only if it stays the same. Raises as `Fal.fetch` and `store_image` do."""
        io, dataset = self._job.runtime.io, self._job.dataset
        with Spool() as spool:
            if file.held is None:
                told = [await self._job.fal.fetch(file, spool, take), file.content_type]
            else:
                told = [file.content_type]
                await io(file.held.copy, spool)
            content = spool.content()
            try:
                return await io(store_image, dataset.store, dataset.folder, stem, content, told)
            except IncompleteImageError as error:
                apart = FAR_APART if error.is_proven else REFUSAL_APART
                case.pause = None if case.readings.is_young else apart
                if not case.readings.stays(stem, error.sha256, apart, self._clock.monotonic()):
                    raise
            return await io(store_image, dataset.store, dataset.folder, stem, content, told, as_it_is=True)

    async def _here(self, stem: str) -> StoredImage | None:
        """Return an image that was stored before its run was killed, so that only its record is missing."""
        dataset = self._job.dataset
        return await self._job.runtime.io(find_image, dataset.store, dataset.folder, stem)

    # -- the outcome

    async def _stored(self, case: Case, answer: Images) -> Outcome:
        units = answer.billable_units if answer.billable_units is not None else case.units
        cost = await self._unit_prices.billed(case.submitted.endpoint, units)
        if cost is None and case.price.low == case.price.high:
            cost = case.price.high  # the price is exact: all inputs that it depends on were given
        found = self._outcome(case, "stored", cost, units)
        notes, beyond = list[str](), len(answer.images) - case.request.images
        if beyond > 0:
            notes.append(
                f"fal returned {len(answer.images)} images instead of {case.request.images}: {beyond} were not fetched"
            )
        if answer.unreadable:
            notes.append(f"{answer.unreadable} entries of fal's result named no image")
        if answer.answers_for not in {None, case.submitted.request_id}:
            notes.append(f"the result's header named request {answer.answers_for}")
        images = tuple(case.images[index] for index in sorted(case.images))
        details = None if answer.details == Said() else Details(**asdict(answer.details))
        return found.model_copy(
            update={"images": with_repeats_noted(images), "notes": tuple(notes), "details": details}
        )

    async def _failed(self, case: Case, failure: Failure, item: HistoryItem | None) -> Outcome | None:
        """Return the outcome of a request without images, if there is enough evidence."""
        now, readings = self._clock.monotonic(), case.readings
        words = f"{failure.error_type}: {failure.message}"
        if failure.error_type == "history":
            evidence = readings.evidence_of_history(failure, now)
        else:
            evidence = readings.evidence(failure, item, now)
        if not evidence:
            case.trouble = f"fal answered {words} (HTTP {failure.status_code}), which is not yet sufficient evidence"
            case.pause = REFUSAL_APART if failure.kind == "refused" else None
            return None
        units = failure.billable_units
        cost = Decimal(0) if failure.kind == "free" else await self._unit_prices.billed(case.submitted.endpoint, units)
        found = self._outcome(case, failure.kind, cost, units)
        error = {"error_type": failure.error_type, "error": failure.message, "status_code": failure.status_code}
        return found.model_copy(update={**error, "evidence": evidence})

    def _outcome(self, case: Case, kind: OutcomeKind, cost: Decimal | None, units: Decimal | None) -> Outcome:
        now = self._clock.now()
        return Outcome(
            request_id=case.submitted.request_id,
            kind=kind,
            cost_usd=cost,
            billable_units=units,
            inference_s=case.inference,
            completed_at=now,
            recorded_at=now,
        )
