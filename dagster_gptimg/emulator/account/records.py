"""The record of one accepted request, and the ways in which it ends."""

from __future__ import annotations

import dataclasses
import json
from enum import StrEnum
from typing import Any

from dagster_gptimg.emulator.open_questions import Readings


class State(StrEnum):
    """Where a request is; the values are fal's (docs/fal-wire.md#status)."""

    IN_QUEUE = "IN_QUEUE"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"


class Outcome(StrEnum):
    """The result with which a request ends, or will end."""

    OK = "ok"
    INVALID = "invalid"
    """The model's schema refuses the inputs: 422, free."""
    REFUSED = "refused"
    """Content policy: 422."""
    BAD_REFERENCE = "bad_reference"
    """A reference image of an edit cannot be loaded: 422, free."""
    TOO_LARGE = "too_large"
    """An image that is sent, or the one that would be made of it, has too many pixels: 422, free."""
    UNKNOWN_PATH = "unknown_path"
    """The app exists, the path below it does not: 404, free."""
    FAILED = "failed"
    """A model error of 500, free."""
    RUNNER_LOST = "runner_lost"
    """A request error of 503, free."""
    DOWNSTREAM = "downstream"
    """The model error `downstream_service_error`: 500 or 400 (a setting), free."""
    START_TIMEOUT = "start_timeout"
    """`X-Fal-Request-Start-Timeout` ran out in the queue: 504, free."""
    CANCELLED = "cancelled"
    """Cancelled in the queue: 499, free."""
    CANCELLED_RUNNING = "cancelled_running"
    """Cancelled in progress (a setting): 499; billed or free (another)."""
    STUCK = "stuck"
    """Never ends; billed."""


FREE = frozenset(
    {
        Outcome.INVALID,
        Outcome.BAD_REFERENCE,
        Outcome.TOO_LARGE,
        Outcome.UNKNOWN_PATH,
        Outcome.FAILED,
        Outcome.DOWNSTREAM,
        Outcome.RUNNER_LOST,
        Outcome.START_TIMEOUT,
        Outcome.CANCELLED,
    }
)
"""Outcomes that cost nothing in all settings (docs/fal-wire.md#billing-of-failures). REFUSED is free by setting."""

_STATUS_CODES = {
    Outcome.OK: 200,
    Outcome.INVALID: 422,
    Outcome.REFUSED: 422,
    Outcome.BAD_REFERENCE: 422,
    Outcome.TOO_LARGE: 422,
    Outcome.UNKNOWN_PATH: 404,
    Outcome.FAILED: 500,
    Outcome.RUNNER_LOST: 503,
    Outcome.START_TIMEOUT: 504,
    Outcome.CANCELLED: 499,
    Outcome.CANCELLED_RUNNING: 499,
    Outcome.STUCK: 200,
}


def status_code(outcome: Outcome, readings: Readings) -> int:
    """The HTTP status with which the result is answered."""
    return readings.downstream_error_code if outcome is Outcome.DOWNSTREAM else _STATUS_CODES[outcome]


@dataclasses.dataclass(frozen=True)
class Record:
    """One accepted POST: one row of the database. Times are Unix seconds, `cost` is in millionths of a dollar."""

    request_id: str
    endpoint_id: str
    arguments: str
    """The JSON body, unchanged."""
    digest: str
    """Names endpoint and arguments with defaults filled in: twins have the same."""
    twin: int
    """Number of requests with this digest that were accepted before."""
    prompt: str
    outcome: Outcome
    images: int
    """Images delivered (0 unless the outcome is OK or STUCK)."""
    cost: int
    submitted_at: float
    ready_at: float
    """Not started before this time."""
    start_by: float | None = None
    low_priority: bool = False
    store_io: bool = True
    headers: str = "{}"
    """The platform's headers with which it was sent, as a JSON object; names in lower case."""
    tags: str = "{}"
    """The tags that fal keeps of `X-Fal-Tags`, as a JSON object."""
    source: str | None = None
    """Name of the file that keeps the image of `image_url`; None for an endpoint without that input, or a bad image."""
    source_width: int = 0
    """Pixels of that image."""
    source_height: int = 0
    erased: bool = False
    """Whether its payloads and files were deleted through the platform API."""
    requeues: int = 0
    """Number of times that it will still be returned to the queue."""
    attempt: int = 1
    state: State = State.IN_QUEUE
    twin_of: str | None = None
    started_at: float | None = None
    ends_at: float | None = None
    """When it gives its slot back; None when it holds none."""
    completed_at: float | None = None
    seq: int = 0
    """Order of acceptance; given by the database."""

    @property
    def draw_key(self) -> str:
        """Names this request in every draw: the same for the same table and seed, in whatever order it is sent."""
        return f"{self.digest}:{self.twin}"

    @property
    def inputs(self) -> dict[str, Any]:
        """The arguments as an object; empty if they are not one."""
        given = json.loads(self.arguments)
        return given if isinstance(given, dict) else {}

    def changed(self, **changes: object) -> Record:
        """Return a copy of this record with `changes` applied."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]


COLUMNS = tuple(field.name for field in dataclasses.fields(Record))
