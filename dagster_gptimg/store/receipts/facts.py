"""The facts that receipts are made of: what each small JSON object says, and under which name it lies.

docs/receipts.md is the format for people. A fact is created once and never changed; what cannot be read as a fact of
these versions raises `UnreadableError`, and is never taken for "nothing there".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from dagster_gptimg.errors import UnreadableError

if TYPE_CHECKING:
    from collections.abc import Sequence

VERSION = 2
"""Of the facts that this release writes. Version 1 made an outcome of a single reading, and knew no words."""

How: TypeAlias = Literal["reply", "webhook", "history"]
OutcomeKind: TypeAlias = Literal["stored", "refused", "free", "ended", "reopened"]

CANCELLED = "cancelled"
"""The error type of a request that left fal's queue at our wish: it is free, on fal's own word."""

UNLOADED = frozenset({"file_download_error", "image_load_error"})
"""Error types that version 1 recorded as refusals, although fal had only not loaded a reference image: nothing was
computed, and nothing is final."""

UNPROCESSABLE = 422

_NAME = re.compile(
    r"(?P<key>[0-9a-f]{64})\.(?P<attempt>\d{1,6})\."
    r"(?:(?P<plain>intent|void)|accepted\.(?P<accepted>[A-Za-z0-9_-]+)\.(?P<how>reply|webhook|history)"
    r"|outcome\.(?P<outcome>[A-Za-z0-9_-]+)(?:\.(?P<number>[1-9]\d{0,3}))?"
    r"|(?P<about>given_up|deleted)\.(?P<request>[A-Za-z0-9_-]+))\.json"
)
_ANY_FACT_OF_A_KEY = re.compile(r"(?P<key>[0-9a-f]{64})\.(?P<attempt>\d{1,6})\..*")


class Word(BaseModel):
    """The user's word to buy something again (`again`).

    Attributes:
        id: what it is known by: the same for all partitions of one run, and for its retries.
        run: the run in which it acted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    run: str


class _Fact(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1, 2] = 2


class Intent(_Fact):
    """Made before the POST leaves: what will be asked for, at what worst-case cost (null: not known), by whom.

    Attributes:
        word: the user's word that opened this attempt; None for none.
        clock_offset_s: seconds by which fal's clock was ahead of that of `created_at`, as fal's answers said; None
            where they had not yet.
    """

    endpoint: str
    arguments: dict[str, Any]
    partition: str | None
    row_id: str
    run: str
    cost_high_usd: Decimal | None
    nonce: str
    account: str
    created_at: datetime
    word: Word | None = None
    clock_offset_s: float | None = None


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
    """One image in the store, as its bytes were looked at before this was written.

    Attributes:
        path: relative to the dataset: `images/ab/<our name>`; checked where it is read from a store (`parse_outcome`).
        bytes: its length.
        width, height: pixels; None where its format does not tell, or is not known here.
        notes: what is odd about it, in words.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    sha256: str
    bytes: int
    width: int | None
    height: int | None
    content_type: str
    notes: tuple[str, ...] = ()


class Outcome(_Fact):
    """How a request ended, on evidence (docs/receipts.md#evidence).

    stored: its images are in the store. refused: words about the content or the inputs (perhaps billed). free: a
    failure that fal never bills. ended: no images, and neither of the two (perhaps billed). reopened: fal has said
    afterwards that it has images; the outcomes before this one count no more.

    Attributes:
        evidence: what it rests on, in words.
        notes: what is odd about it, in words.
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
    evidence: str = ""
    notes: tuple[str, ...] = ()

    @property
    def is_doubtful(self) -> bool:
        """Whether version 1 wrote this from one reading, which may have been a blip: it is looked at again."""
        if self.version != 1 or self.kind == "stored" or self.error_type == CANCELLED:
            return False
        return self.kind == "free" or self.status_code != UNPROCESSABLE

    @property
    def is_end(self) -> bool:
        """Whether the request needs no following any more."""
        return self.kind != "reopened" and not self.is_doubtful

    @property
    def meaning(self) -> OutcomeKind:
        """What it means: `kind`, but for a refusal of version 1 over a reference image that fal could not load."""
        is_unloaded = self.version == 1 and self.kind == "refused" and self.error_type in UNLOADED
        return "free" if is_unloaded else self.kind

    def may_follow(self, there: Sequence[Outcome]) -> bool:
        """Whether this may be recorded behind the outcomes of the same request that are there, the last one last.

        An image always may, unless there is one. Anything else may only follow what ended nothing, and only once: a
        request that was reopened, and then answers again what it answered before, stays open.
        """
        if not there or any(known.kind == "stored" for known in there):
            return not there
        if self.kind == "stored":
            return True
        is_new = (self.kind, self.is_doubtful) not in {(known.kind, known.is_doubtful) for known in there}
        return is_new and (not there[-1].is_end or self.kind == "reopened")


class GivenUp(_Fact):
    """The user no longer waits for a request (`again: lost`). Every run looks for it, and an image of it counts."""

    request_id: str
    word: Word
    recorded_at: datetime


class Deleted(_Fact):
    """The images of a stored request are in the store no more; they were paid for.

    Recorded before `prune` deletes the files; or, where somebody else has removed them, before the user's word buys
    the row again. It counts as long as the files are gone: an image that is put back counts again.
    """

    request_id: str
    reason: Literal["pruned", "gone"]
    recorded_at: datetime


class Void(_Fact):
    """The attempt has no request: provably not sent or rejected, or given up by the user's word or policy.

    Attributes:
        word: for the reason `word`, whose word it was.
    """

    reason: Literal["not_sent", "rejected", "word", "settled"]
    detail: str
    recorded_at: datetime
    word: Word | None = None


@dataclass(slots=True)
class Attempt:
    """All facts of one attempt that are on record.

    Attributes:
        accepted: by request id; `how` decides whose it is when two attempts have found the same one. None where the
            object cannot be read: its name still tells the id.
        outcomes: by request id the one that counts: an image wins, else the last. None where it cannot be read.
        recorded: by request id how many outcomes there are.
        given_up: by request id, what the user no longer waits for; None where it cannot be read.
        deleted: by request id, that its images are in the store no more; only of those whose files are gone now.
        unreadable: what is there and cannot be read, with the reason.
    """

    intent: Intent | None = None
    accepted: dict[str, tuple[How, Accepted | None]] = field(default_factory=dict)
    outcomes: dict[str, Outcome | None] = field(default_factory=dict)
    void: Void | None = None
    recorded: dict[str, int] = field(default_factory=dict)
    given_up: dict[str, GivenUp | None] = field(default_factory=dict)
    deleted: dict[str, Deleted] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)

    @property
    def word(self) -> Word | None:
        """The user's word by which this attempt was given up; None when it was not."""
        words = [self.void.word if self.void else None, *(fact.word for fact in self.given_up.values() if fact)]
        return next(filter(None, words), None)

    @property
    def may_have_no_end(self) -> bool:
        """Whether its submit may have reached fal, and nothing says how that ended: it may have been billed."""
        is_proven = self.void is not None and self.void.reason in {"not_sent", "rejected"}
        return not is_proven and not any(self.is_ended(request_id) for request_id in self.outcomes)

    def add_outcome(self, request_id: str, outcome: Outcome | None) -> None:
        """Take an outcome that was recorded behind those that are known. An image among them stays what counts."""
        self.recorded[request_id] = self.recorded.get(request_id, 0) + 1
        known = self.outcomes.get(request_id)
        if known is None or known.kind != "stored":
            self.outcomes[request_id] = outcome

    def is_ended(self, request_id: str) -> bool:
        """Whether a request has an outcome that ends its following; one that cannot be read does."""
        outcome = self.outcomes.get(request_id)
        return request_id in self.outcomes and (outcome is None or outcome.is_end)


@dataclass(frozen=True, slots=True)
class FactName:
    """What a receipt's name says. `kind` is None for a name that belongs to the key but to no kind that we know."""

    key: str
    attempt: int
    kind: Literal["intent", "void", "accepted", "outcome", "given_up", "deleted"] | None
    request_id: str = ""
    how: How | None = None
    number: int = 0


def fact_path(key: str, attempt: int, kind: str) -> str:
    """Where a fact lies in its dataset.

    `kind` is `intent`, `void`, `accepted.<id>.<how>`, `outcome.<id>`, `outcome.<id>.<number>`, `given_up.<id>` or
    `deleted.<id>`.
    """
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
        return FactName(key, attempt, "outcome", match["outcome"], number=int(match["number"] or 0))
    if match["about"]:
        return FactName(key, attempt, match["about"], match["request"])  # type: ignore[arg-type]
    return FactName(key, attempt, match["plain"])  # type: ignore[arg-type]


def parse_fact(kind: type[F], data: bytes, name: str) -> F:
    """The fact that an object holds.

    Raises:
        UnreadableError: it is empty, torn, of a newer version, or something else altogether.
    """
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        known = f"up to version {VERSION}; {error.error_count()} problems"
        msg = f"{name} is there and is not a receipt that this release knows ({known}): look at it"
        raise UnreadableError(msg) from error
