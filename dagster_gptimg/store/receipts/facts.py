"""The facts in receipts: the content of each small JSON object.

docs/receipts.md describes the format. A fact is created once and never changed; an object that is not a fact of these
versions raises `UnreadableError`, and never counts as missing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from dagster_gptimg.errors import UnreadableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagster_gptimg.store.layout import How

VERSION = 3
"""The version of new outcomes; other new facts have version 2. Version 1 based an outcome on a single read, and had no
identity of `again`. Version 2 did not keep the details of a result."""

OutcomeKind: TypeAlias = Literal["stored", "refused", "free", "ended", "reopened"]

CANCELLED = "cancelled"
"""The error type of a request that we cancelled in fal's queue: it is free, as fal confirmed."""

UNLOADED = frozenset({"file_download_error", "image_load_error"})
"""Error types that version 1 recorded as refusals, although fal had only failed to load a reference image.

Nothing was computed, and such an outcome is not final.
"""

UNPROCESSABLE = 422


class Word(BaseModel):
    """The identity of a request of the user to buy something again (`again`).

    Attributes:
        id: the same for all partitions of one run, and for its retries.
        run: the run in which it was used.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    run: str


class _Fact(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1, 2] = 2


class Intent(_Fact):
    """Created before the POST is sent: the request, its worst-case cost (null: not known), and its sender.

    Attributes:
        word: identity of the `again` that opened this attempt; None if none did.
        clock_offset_s: seconds by which fal's clock was ahead of that of `created_at`, by fal's answers; None before
            the first answer.
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
    """fal has a request for this attempt: its id (also in the name), and its URLs."""

    request_id: str
    endpoint: str
    status_url: str
    response_url: str
    cancel_url: str
    accepted_at: datetime


F = TypeVar("F", bound=_Fact)


class Details(BaseModel):
    """What fal's result says beside its images. No step of the protocol looks at any of it.

    Attributes:
        seed: the one that the result names.
        description: the model's words beside its images.
        revised_prompt: what the model made of the prompt.
        timings: seconds, by fal's name of what took them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int | None = None
    description: str | None = None
    revised_prompt: str | None = None
    timings: dict[str, float] = {}


class StoredImage(BaseModel):
    """One image in the store, as inspected before this was written.

    Attributes:
        path: relative to the dataset: `images/ab/<our name>`; checked when it is read (`parse_outcome`).
        bytes: its length.
        width: pixels; None if not known.
        height: pixels; None if not known.
        notes: anomalies, in words.
        nsfw: whether fal flags it (`has_nsfw_concepts`); None if the result does not say.
        black: whether it is opaque and black everywhere; None if not known.
        c2pa: whether it contains a C2PA manifest; None if not known.
        c2pa_claim_generator: the program that made the manifest's claim, as the manifest says; None if not read.
        c2pa_issuer: the issuer in the certificate that signed the claim, as the manifest says; None if not read.
        frames: how many images a GIF has, 1 unless it is an animation; None for other kinds, and if not known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    sha256: str
    bytes: int
    width: int | None
    height: int | None
    content_type: str
    notes: tuple[str, ...] = ()
    nsfw: bool | None = None
    black: bool | None = None
    c2pa: bool | None = None
    c2pa_claim_generator: str | None = None
    c2pa_issuer: str | None = None
    frames: int | None = None


class Outcome(_Fact):
    """How a request ended, with evidence (docs/receipts.md#evidence).

    The kinds: stored: its images are in the store. refused: an error about the content or the inputs (perhaps billed).
    free: a failure that fal never bills. ended: no images, and neither of the two (perhaps billed). reopened: fal has
    said later that it has images; earlier outcomes no longer count.

    Attributes:
        evidence: its basis, in words.
        notes: anomalies, in words.
        inference_s: seconds that the model took, if fal says it.
        erased_at: when its images, prompt and arguments were erased on request; hashes and cost stay.
        details: what the result says besides its images; None if nothing.
    """

    version: Literal[1, 2, 3] = VERSION  # type: ignore[assignment]

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
    details: Details | None = None

    @property
    def is_doubtful(self) -> bool:
        """Whether version 1 based this on a single read, which may have been a disturbance: it is read again."""
        if self.version != 1 or self.kind == "stored" or self.error_type == CANCELLED:
            return False
        return self.kind == "free" or self.status_code != UNPROCESSABLE

    @property
    def is_end(self) -> bool:
        """Whether the request need not be followed any more."""
        return self.kind != "reopened" and not self.is_doubtful

    @property
    def meaning(self) -> OutcomeKind:
        """The meaning of the outcome: `kind`, except for a version-1 refusal over an image that fal could not load."""
        is_unloaded = self.version == 1 and self.kind == "refused" and self.error_type in UNLOADED
        return "free" if is_unloaded else self.kind

    def may_follow(self, there: Sequence[Outcome]) -> bool:
        """Return whether this outcome may be recorded after the existing ones of the same request (in order).

        An image always may, unless there is one. Other outcomes may only follow one that ended nothing, and only once:
        a reopened request that gives its old answer again stays open.
        """
        if not there or any(known.kind == "stored" for known in there):
            return not there
        if self.kind == "stored":
            return True
        is_new = (self.kind, self.is_doubtful) not in {(known.kind, known.is_doubtful) for known in there}
        return is_new and (not there[-1].is_end or self.kind == "reopened")


class GivenUp(_Fact):
    """The user no longer waits for a request (`again: lost`). Every run still looks for it, and its images count."""

    request_id: str
    word: Word
    recorded_at: datetime


class Deleted(_Fact):
    """The images of a stored request are no longer in the store; they were paid for.

    Recorded before `prune` deletes the files; or, if they were removed by others, before `again` buys the row again.
    Counts as long as the files are missing: an image that is put back counts again.
    """

    request_id: str
    reason: Literal["pruned", "gone"]
    recorded_at: datetime


class Void(_Fact):
    """The attempt has no request: provably not sent or rejected, or given up by `again` or the policy.

    Attributes:
        word: for the reason `word`, the identity of the `again`.
    """

    reason: Literal["not_sent", "rejected", "word", "settled"]
    detail: str
    recorded_at: datetime
    word: Word | None = None


@dataclass(slots=True)
class Attempt:
    """All recorded facts of one attempt.

    Attributes:
        accepted: by request id; `how` decides the owner if two attempts have the same id. None if the object cannot be
            read: its name still has the id.
        outcomes: the valid outcome by request id: an image, else the last. None if it cannot be read.
        recorded: the number of outcomes by request id.
        given_up: by request id, requests that were given up; None if the object cannot be read.
        deleted: by request id, images that are no longer in the store; only those whose files are missing now.
        unreadable: objects that cannot be read, with the reason.
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
        """The identity of the `again` by which this attempt was given up; None if it was not."""
        words = [self.void.word if self.void else None, *(fact.word for fact in self.given_up.values() if fact)]
        return next(filter(None, words), None)

    @property
    def may_have_no_end(self) -> bool:
        """Whether its submit may have reached fal without a known end: it may have been billed."""
        is_proven = self.void is not None and self.void.reason in {"not_sent", "rejected"}
        return not is_proven and not any(self.is_ended(request_id) for request_id in self.outcomes)

    def add_outcome(self, request_id: str, outcome: Outcome | None) -> None:
        """Add an outcome that was recorded after the known ones. An image among them stays the valid one."""
        self.recorded[request_id] = self.recorded.get(request_id, 0) + 1
        known = self.outcomes.get(request_id)
        if known is None or known.kind != "stored":
            self.outcomes[request_id] = outcome

    def is_ended(self, request_id: str) -> bool:
        """Return whether a request has an outcome that ends its following; an unreadable one does."""
        outcome = self.outcomes.get(request_id)
        return request_id in self.outcomes and (outcome is None or outcome.is_end)


def parse_fact(kind: type[F], data: bytes, name: str) -> F:
    """Return the fact in an object.

    Raises:
        UnreadableError: the object is empty, incomplete, of a newer version, or not a fact.
    """
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        known = f"up to version {VERSION}; {error.error_count()} problems"
        msg = f"{name} is not a receipt of a kind that this release knows ({known}): check the file"
        raise UnreadableError(msg) from error
