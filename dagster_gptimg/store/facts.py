"""The facts that receipts are made of: what each small JSON object says, and under which name it lies.

docs/receipts.md is the format for people. A fact is created once and never changed; what cannot be read as a fact of
this version raises `UnreadableError`, and is never taken for "nothing there".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from dagster_gptimg.errors import UnreadableError

VERSION = 1
How: TypeAlias = Literal["reply", "webhook", "history"]
OutcomeKind: TypeAlias = Literal["stored", "refused", "free"]

_NAME = re.compile(
    r"(?P<key>[0-9a-f]{64})\.(?P<attempt>\d{1,6})\."
    r"(?:(?P<plain>intent|void)|accepted\.(?P<accepted>[A-Za-z0-9_-]+)\.(?P<how>reply|webhook|history)"
    r"|outcome\.(?P<outcome>[A-Za-z0-9_-]+))\.json"
)
_ANY_FACT_OF_A_KEY = re.compile(r"(?P<key>[0-9a-f]{64})\.(?P<attempt>\d{1,6})\..*")


class _Fact(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1


class Intent(_Fact):
    """Made before the POST leaves: what will be asked for, at what worst-case cost (null: not known), by whom."""

    endpoint: str
    arguments: dict[str, Any]
    partition: str | None
    row_id: str
    run: str
    cost_high_usd: Decimal | None
    nonce: str
    account: str
    created_at: datetime


class Accepted(_Fact):
    """fal has a request for this attempt: its id (also in the name), and the URLs by which it is followed."""

    request_id: str
    endpoint: str
    status_url: str
    response_url: str
    cancel_url: str
    accepted_at: datetime


F = TypeVar("F", bound=_Fact)


class StoredImage(BaseModel):
    """One image in the store, as its bytes were checked before this was written.

    Attributes:
        path: relative to the dataset.
        bytes: its length.
        width, height: pixels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    sha256: str
    bytes: int
    width: int
    height: int
    content_type: str


class Outcome(_Fact):
    """How a request ended: its images are stored, it was refused (perhaps billed), or it is proven free.

    Attributes:
        inference_s: seconds that the model took, where fal has said so.
        erased_at: when its images, its prompt and its arguments were erased at the user's word; hashes and cost stay.
    """

    request_id: str
    kind: OutcomeKind
    images: tuple[StoredImage, ...] = ()
    cost_usd: Decimal | None
    billable_units: Decimal | None = None
    status_code: int | None = None
    error_type: str | None = None
    error: str | None = None
    inference_s: float | None = None
    completed_at: datetime
    recorded_at: datetime
    erased_at: datetime | None = None


class Void(_Fact):
    """The attempt has no request: provably not sent or rejected, or given up by the user's word or policy."""

    reason: Literal["not_sent", "rejected", "word", "settled"]
    detail: str
    recorded_at: datetime


@dataclass(slots=True)
class Attempt:
    """All facts of one attempt that are on record.

    Attributes:
        accepted: by request id; `how` decides whose it is when two attempts have found the same one. None where the
            object cannot be read: its name still tells the id.
        outcomes: by request id; None where the object cannot be read.
        unreadable: what is there and cannot be read, with the reason.
    """

    intent: Intent | None = None
    accepted: dict[str, tuple[How, Accepted | None]] = field(default_factory=dict)
    outcomes: dict[str, Outcome | None] = field(default_factory=dict)
    void: Void | None = None
    unreadable: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class FactName:
    """What a receipt's name says. `kind` is None for a name that belongs to the key but to no kind that we know."""

    key: str
    attempt: int
    kind: Literal["intent", "void", "accepted", "outcome"] | None
    request_id: str = ""
    how: How | None = None


def fact_path(key: str, attempt: int, kind: str) -> str:
    """Where a fact lies in its dataset; `kind` is `intent`, `void`, `accepted.<id>.<how>` or `outcome.<id>`."""
    return f"receipts/{key[:2]}/{key}.{attempt}.{kind}.json"


def parse_name(name: str) -> FactName | None:
    """What an object in a receipts folder is; None for one that is no receipt at all."""
    match = _NAME.fullmatch(name)
    if match is None:
        foreign = _ANY_FACT_OF_A_KEY.fullmatch(name)
        return FactName(foreign["key"], int(foreign["attempt"]), None) if foreign else None
    key, attempt = match["key"], int(match["attempt"])
    if match["accepted"]:
        return FactName(key, attempt, "accepted", match["accepted"], match["how"])  # type: ignore[arg-type]
    if match["outcome"]:
        return FactName(key, attempt, "outcome", match["outcome"])
    return FactName(key, attempt, match["plain"])  # type: ignore[arg-type]


def parse_fact(kind: type[F], data: bytes, name: str) -> F:
    """The fact that an object holds.

    Raises:
        UnreadableError: it is empty, torn, of a newer version, or something else altogether.
    """
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        msg = f"{name} is there and is no receipt of version {VERSION} ({error.error_count()} problems); look at it"
        raise UnreadableError(msg) from error
