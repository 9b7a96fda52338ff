"""The single account of the emulated fal: the effects of a POST, a status read, a cancel. Knows no HTTP."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

from dagster_gptimg.emulator.account.database import Database
from dagster_gptimg.emulator.account.deliveries import Delivery
from dagster_gptimg.emulator.account.received_post import LIFECYCLE, Source, Submission
from dagster_gptimg.emulator.account.records import FREE, Outcome, Record, State
from dagster_gptimg.emulator.account.schedule import Schedule, ended
from dagster_gptimg.emulator.account.storage import expiry_seconds
from dagster_gptimg.emulator.faults import Dice, Phase, draw
from dagster_gptimg.emulator.models import prices, schema
from dagster_gptimg.emulator.models.model import app_of
from dagster_gptimg.emulator.models.models import MODELS
from dagster_gptimg.emulator.models.one_image import MOST_SIDE, SOURCE_SIZE
from dagster_gptimg.emulator.models.policy import refused_word
from dagster_gptimg.emulator.settings import Settings

LARGE_RESULT_BYTES = 10_000
"""From this size on a result is kept for a shorter time (fal: 10 KB)."""


class Cancel(Enum):
    """The answers to a cancel (docs/fal-wire.md#cancel)."""

    OK = "OK"
    CANCELLATION_REQUESTED = "CANCELLATION_REQUESTED"
    ALREADY_COMPLETED = "ALREADY_COMPLETED"
    NOT_FOUND = "NOT_FOUND"


class Account:
    """Database, schedule and faults in one hand."""

    def __init__(self, database: Database, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self.database = database
        self.settings = settings
        self.dice = Dice(settings.seed, settings.faults)
        self.calls = 0
        self.schedule = Schedule(database, settings)
        self._clock = clock

    def now(self) -> float:
        """Unix seconds; everything that is due by then has happened."""
        now = self.moment()
        self.schedule.advance(now)
        return now

    def moment(self) -> float:
        """Return Unix seconds in whole microseconds, the precision of times in answers."""
        return round(self._clock(), 6)

    def change(self, changes: Mapping[str, Any]) -> Settings:
        """Change settings at run time; raises ValueError for what makes no sense."""
        settings = self.settings.changed(changes)
        self.now()
        self.settings = self.schedule.settings = settings
        self.dice.seed = settings.seed
        self.dice.set_rates(settings.faults)
        self.now()
        return settings

    def accept(self, submission: Submission) -> Record:
        """Write the request down, durably, and queue it."""
        now = self.now()
        with self.database.transaction():
            record = self.database.add(self._judged(submission, now))
            if submission.webhook is not None:
                self.database.deliveries.save(Delivery(record.seq, submission.webhook, submission.base_url))
            self.schedule.add(record, now)
        return record

    def _judged(self, submission: Submission, now: float) -> Record:
        """A new record with its end and price known in advance, as everything here is bound to be."""
        inputs, errors = checked(submission.endpoint_id, submission.arguments)
        prompt = prompt_of(submission.arguments)
        digest = digest_of(submission.endpoint_id, inputs or submission.arguments)
        twin, twin_of = self.database.twins(digest)
        fault = self.dice.strike(Phase.ACCEPTED, f"{digest}:{twin}", prompt)
        source = submission.source or Source("", 0, 0)
        if inputs:
            inputs |= {"num_images": self._made(submission.endpoint_id, inputs, fault, f"{digest}:{twin}")}
            inputs |= {SOURCE_SIZE: (source.width, source.height)} if submission.source else {}
        outcome = _outcome(submission, prompt, inputs, errors, fault)
        return Record(
            request_id=str(uuid.uuid4()),
            endpoint_id=submission.endpoint_id,
            arguments=submission.body,
            digest=digest,
            twin=twin,
            twin_of=twin_of,
            prompt=prompt,
            outcome=outcome,
            images=_images(inputs, outcome, fault),
            cost=self._cost(submission.endpoint_id, inputs, outcome),
            submitted_at=now,
            ready_at=now,
            start_by=None if submission.start_timeout is None else now + submission.start_timeout,
            low_priority=submission.low_priority,
            store_io=submission.store_io,
            source=source.name or None,
            source_width=source.width,
            source_height=source.height,
            headers=json.dumps(submission.headers),
            tags=json.dumps(submission.tags),
            requeues=1 if fault == "requeue" and outcome is Outcome.OK else 0,
        )

    def _made(self, endpoint_id: str, inputs: dict[str, Any], fault: str | None, key: str) -> int:
        """Return how many images are made and billed; with `max_images` above 1 the model decides."""
        if MODELS[endpoint_id].has_one_image:
            return 1
        count = int(inputs.get("num_images") or 1)
        most = count * int(inputs.get("max_images") or 1)
        made = count + int(draw(self.settings.seed, "images", key) * (most - count + 1))
        return most + 1 if fault == "more_images" else made

    def _cost(self, endpoint_id: str, inputs: dict[str, Any], outcome: Outcome) -> int:
        free = outcome in FREE or (outcome is Outcome.REFUSED and not self.settings.refusals_billed)
        return 0 if free else prices.cost(MODELS[endpoint_id].prices, inputs, self.settings)

    def find(self, app: str, request_id: str, *, expired: bool = False) -> Record | None:
        """Return the request with this id under this `owner/app`; None if there is none, or it is gone.

        With `expired`, a request whose result is no longer kept is returned, too.
        """
        now = self.now()
        record = self.database.by_id(request_id)
        if record is None or app_of(record.endpoint_id) != app:
            return None
        if record.outcome is Outcome.CANCELLED and self.settings.cancelled_is_gone:
            return None
        return record if expired or not self.is_expired(record, now) else None

    def is_expired(self, record: Record, now: float) -> bool:
        """Whether the result is no longer kept (docs/fal-wire.md#limits-and-lifetimes), or was deleted."""
        return record.erased or (record.completed_at is not None and now >= record.completed_at + self._kept(record))

    def _kept(self, record: Record) -> float:
        """Return the seconds for which the result stays readable after its end."""
        # A data URI is far over the 10 KB and mostly over the 1 MB that fal still stores.
        in_line = is_in_line(record) and record.outcome is Outcome.OK
        if record.store_io and not in_line:
            return self.settings.stored_seconds
        large = in_line or (
            record.outcome in (Outcome.REFUSED, Outcome.INVALID) and len(record.arguments) >= LARGE_RESULT_BYTES
        )
        return self.settings.large_result_seconds if large else self.settings.result_seconds

    def has_files(self, record: Record) -> bool:
        """Return whether the CDN has the output files: their lifecycle has not ended, and they were not deleted."""
        if record.state is not State.COMPLETED or record.outcome is not Outcome.OK or record.erased:
            return False
        seconds = expiry_seconds(json.loads(record.headers).get(LIFECYCLE), self.settings.media_seconds)
        return seconds is None or self.moment() < (record.completed_at or 0.0) + seconds

    def erase(self, record: Record) -> None:
        """Delete a request's payloads and output files, as the platform API does."""
        self.database.save(record.changed(erased=True))

    def cancel(self, app: str, request_id: str) -> Cancel:
        """Cancel a request: for certain in the queue, a wish in progress."""
        record = self.find(app, request_id)
        if record is None:
            return Cancel.NOT_FOUND
        if record.state is State.COMPLETED:
            return Cancel.ALREADY_COMPLETED
        if record.state is State.IN_QUEUE:
            self._remove(record)
            return Cancel.OK
        if self.settings.cancel_stops_running:
            self._stop(record)
        return Cancel.CANCELLATION_REQUESTED

    def _remove(self, record: Record) -> None:
        with self.database.transaction():
            self.schedule.remove(record)
            self.database.save(ended(record, Outcome.CANCELLED, self.moment()))

    def _stop(self, record: Record) -> None:
        with self.database.transaction():
            self.schedule.stop(record, self.moment())


def checked(endpoint_id: str, arguments: object) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The inputs with defaults filled in, and the schema's errors: only one of the two is not empty."""
    model = MODELS.get(endpoint_id)
    inputs, errors = ({}, []) if model is None else schema.check(model.inputs, arguments)
    return ({} if errors else inputs), errors


def inputs_of(record: Record) -> dict[str, Any]:
    """Return a request's inputs with defaults filled in, and the size of the image that it brought along."""
    size = {SOURCE_SIZE: (record.source_width, record.source_height)} if record.source else {}
    return {**checked(record.endpoint_id, json.loads(record.arguments))[0], **size}


def is_in_line(record: Record) -> bool:
    """Whether the result holds its images itself, as data URIs (`sync_mode`)."""
    return bool(inputs_of(record).get("sync_mode"))


def prompt_of(arguments: object) -> str:
    """The prompt in the arguments, or nothing. A lone surrogate, which no UTF-8 can hold, becomes a question mark."""
    prompt = arguments.get("prompt") if isinstance(arguments, dict) else None
    return prompt.encode("utf-8", "replace").decode() if isinstance(prompt, str) else ""


def digest_of(endpoint_id: str, arguments: object) -> str:
    """Names endpoint and arguments, whatever their order."""
    text = json.dumps([endpoint_id, arguments], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _outcome(
    submission: Submission, prompt: str, inputs: dict[str, Any], errors: list[dict[str, Any]], fault: str | None
) -> Outcome:
    if submission.endpoint_id not in MODELS:
        return Outcome.UNKNOWN_PATH
    if errors:
        return Outcome.INVALID
    problem = submission.problem or _too_large(submission, inputs)
    if problem is not None:
        return problem
    if fault == "refused" or refused_word(prompt):
        return Outcome.REFUSED
    if fault == "failed_runner" or (fault == "requeue" and submission.no_retry):
        return Outcome.RUNNER_LOST
    ends = {"failed": Outcome.FAILED, "failed_downstream": Outcome.DOWNSTREAM, "stuck": Outcome.STUCK}
    return ends.get(fault or "", Outcome.OK)


def _too_large(submission: Submission, inputs: dict[str, Any]) -> Outcome | None:
    """The end of a request for an image that would become too large."""
    if submission.source is None or max(MODELS[submission.endpoint_id].size(inputs)) <= MOST_SIDE:
        return None
    return Outcome.TOO_LARGE


def _images(inputs: dict[str, Any], outcome: Outcome, fault: str | None) -> int:
    if outcome not in (Outcome.OK, Outcome.STUCK):
        return 0
    return int(inputs["num_images"]) - (1 if fault == "fewer_images" else 0)
