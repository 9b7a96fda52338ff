"""What fal returns, as values: a submitted request, its status, its result, an entry of the request history.

Field names are fal's (docs/fal-wire.md#endpoints-and-fields). Everything that fal marks as nullable is optional here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from decimal import Decimal

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"


def listed_images(output: Mapping[str, Json] | None) -> list[Json] | None:
    """Return the image files that a model's output lists, as they stand there.

    Most endpoints list `images`; background removal and upscaling have one `image`. None if there is neither; an empty
    list if `images` is empty: the model says that it made none.
    """
    several, one = (output or {}).get("images"), (output or {}).get("image")
    if isinstance(several, list) and several:
        return several
    if isinstance(one, dict):
        return [one]
    return [] if several == [] else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """A request that fal has accepted: its id, and the URLs of its status, result and cancel.

    The id means something only together with its app, so the URLs are kept with it (fal's advice: do not build them).

    Attributes:
        request_id: fal's id of the request.
        endpoint: fal's full id of the model.
        status_url: where its status is read.
        response_url: where its result is read.
        cancel_url: by which it is cancelled.
    """

    request_id: str
    endpoint: str
    status_url: str
    response_url: str
    cancel_url: str


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a model's log, as fal shows it. Text from outside.

    Attributes:
        message: the line.
        timestamp: when it was written, as fal writes it.
        level: how important it is, in fal's words.
    """

    message: str
    timestamp: str = ""
    level: str = ""


@dataclass(frozen=True, slots=True)
class Queued:
    """IN_QUEUE: the request waits for one of the account's slots.

    Attributes:
        position: requests before this one; None when fal does not say.
    """

    position: int | None = None


@dataclass(frozen=True, slots=True)
class InProgress:
    """IN_PROGRESS: the request has one of the account's slots. It can go back to the queue when fal retries it.

    Attributes:
        logs: the model's log so far; of a stream, only what is new. Empty unless asked for.
    """

    logs: tuple[LogLine, ...] = ()


@dataclass(frozen=True, slots=True)
class Completed:
    """COMPLETED: the request has ended. That is not success: only the result decides (docs/fal-wire.md#status).

    Attributes:
        error: what fal's status says went wrong; None when it says nothing.
        error_type: the same, as fal's machine-readable type.
        logs: the model's log, if it was asked for.
        inference_time: seconds that the model took, where fal says it.
    """

    error: str | None = None
    error_type: str | None = None
    logs: tuple[LogLine, ...] = ()
    inference_time: float | None = None


Status: TypeAlias = Queued | InProgress | Completed


class Sink(Protocol):
    """Receiver of a file's bytes."""

    def restart(self) -> None:
        """Drop the bytes received so far: the file is sent again from its first byte."""

    def write(self, data: bytes, /) -> object:
        """Append the next bytes."""


class Held(Protocol):
    """An image that is contained in its result (`sync_mode`)."""

    size: int
    """Maximum bytes."""

    def copy(self, sink: Sink) -> None:
        """Decode the image into a sink. Raises `ReadError` if it is not an image."""


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One image of a result. Only `url` is certain; the rest may be missing or wrong (sizes in bytes and pixels).

    Attributes:
        url: where the file is.
        content_type: the file's type.
        file_name: the file's name.
        file_size: bytes.
        width: pixels.
        height: pixels.
        held: where its bytes are, if the result has brought them itself; `url` is a data URI then, without its data.
        nsfw: whether the result flags it (`has_nsfw_concepts`); None where it does not say.
    """

    url: str
    content_type: str | None = None
    file_name: str | None = None
    file_size: int | None = None
    width: int | None = None
    height: int | None = None
    held: Held | None = None
    nsfw: bool | None = None


@dataclass(frozen=True, slots=True)
class Details:
    """What a result says beside its images, bounded. Text from outside; nothing is decided by it.

    Attributes:
        seed: for all images of the request.
        description: the model's words.
        revised_prompt: what the model made of the prompt.
        timings: seconds, by fal's name of what took them.
    """

    seed: int | None = None
    description: str | None = None
    revised_prompt: str | None = None
    timings: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Images:
    """A result with images: 1 to `num_images` of them; fal may return fewer than requested.

    Attributes:
        images: in fal's order.
        billable_units: what fal says it billed for, when it says so.
        answers_for: the request that the answer's own header names; None where it names none.
        unreadable: entries of the list that name no file: a reading of which one hopes for better.
        details: what it says beside them.
    """

    images: tuple[ImageFile, ...]
    billable_units: Decimal | None = None
    answers_for: str | None = None
    unreadable: int = 0
    details: Details = field(default_factory=Details)


Ending: TypeAlias = Literal["free", "refused", "ended"]
"""The possible meanings of a result without images, once there is enough evidence (docs/receipts.md).

- free: a failure that fal never bills.
- refused: an error about the content or the inputs; final, perhaps billed.
- ended: no images, and neither of the two; perhaps billed.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A result without images, in fal's own words. A single read of it is not yet an outcome.

    Attributes:
        kind: its meaning once it is confirmed.
        status_code: the model's HTTP status.
        error_type: fal's machine-readable type, such as `content_policy_violation`.
        message: for people; does not contain the prompt.
        billable_units: the units that fal says it billed, if it says so.
    """

    kind: Ending
    status_code: int
    error_type: str
    message: str
    billable_units: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Pending:
    """The result was read too early: the request has not ended."""


Answer: TypeAlias = Images | Failure | Pending


@dataclass(frozen=True, slots=True)
class Cancelled:
    """fal's answer to a cancel. A cancel is only a wish.

    Attributes:
        removed: whether the request left the queue, unbilled. False: it goes on.
    """

    removed: bool


@dataclass(frozen=True, slots=True)
class HistoryItem:
    """One line of fal's request history (`GET /v1/models/requests/by-endpoint?expand=payloads`).

    Attributes:
        request_id: fal's id of the request.
        endpoint_id: fal's full id of the model.
        sent_at: when fal took it.
        ended_at: when it ended; None while it runs.
        status_code: the model's HTTP status; None while it runs.
        json_input: its arguments; None where fal shows none.
        json_output: its result; None where fal shows none.
    """

    request_id: str
    endpoint_id: str
    sent_at: datetime
    ended_at: datetime | None
    status_code: int | None
    json_input: dict[str, Json] | None
    json_output: dict[str, Json] | None


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """One page of the request history.

    Attributes:
        items: the entries that could be parsed.
        is_whole: False if an entry could not be parsed: the page can show that fal has a request, not that it has none.
        cursor: cursor of the next page; None if this is the last one.
    """

    items: tuple[HistoryItem, ...]
    is_whole: bool
    cursor: str | None
