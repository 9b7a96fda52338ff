"""The results of a run's requests: settled ones (in the index and new), and the reasons for the others."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from dagster_gptimg.base.digest_columns import KEY
from dagster_gptimg.base.money import total
from dagster_gptimg.engine.record.summary import Spent, Tally
from dagster_gptimg.fal.registry.price_formulas import UNKNOWN
from dagster_gptimg.store.images.listing import WantedImages
from dagster_gptimg.store.manifest_columns import DETAILS
from dagster_gptimg.store.receipts.facts import StoredImage
from dagster_gptimg.store.settled.index import SettledIndex
from dagster_gptimg.store.settled.rows import Brief, Settled

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from dagster_gptimg.base.row_status import RowStatus
    from dagster_gptimg.engine.job import Io
    from dagster_gptimg.engine.purchase_rules import Owns
    from dagster_gptimg.store.dataset import Dataset
    from dagster_gptimg.store.receipts.facts import Attempt, Deleted, Outcome, OutcomeKind
    from dagster_gptimg.store.settled.rows import Kind

_OF_FILE = {"path", "sha256", "bytes", "width", "height", "content_type"}
"""What the index keeps of each image in columns of their own."""

_OF_IMAGE = {*DETAILS} & StoredImage.model_fields.keys()
"""What it keeps of each image in `details`, beside what the result says of all."""

CHECKPOINT = 1000
"""Outcomes after which a piece of the index is written: at most these must be read from receipts after a crash."""


EARLIER = ""
"""Run id of outcomes that an earlier run has recorded, as far as the receipts show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsettled:
    """A request without a final outcome, and the reason.

    Attributes:
        bought_by: the run that sent it, if it was (or may have been) sent.
    """

    key: str
    status: RowStatus
    error_type: str | None = None
    error: str | None = None
    request_id: str | None = None
    submitted_at: datetime | None = None
    bought_by: str | None = None


Result: TypeAlias = Settled | Unsettled


class RunResults:
    """The results of one run, by request key.

    Attributes:
        index: the settled requests, from the pieces in the store.
        written: counts of what this run has written to the index.
    """

    def __init__(self, dataset: Dataset, io: Io, run: str) -> None:
        """`run`: the run's id, which names its pieces of the index."""
        self._dataset, self._io, self.run = dataset, io, run
        self.spent = Spent()
        self.index = SettledIndex(dataset.store, dataset.folder)
        self._recent: dict[str, Settled] = {}
        self._unsettled: dict[str, Result] = {}
        self._gone = set[str]()
        self._pieces, self._writing, self._due = 0, asyncio.Lock(), CHECKPOINT
        self.written = Tally(run)

    def held_in_memory(self, key: str) -> Result | None:
        """Return a result of this run that is not yet in the index; None if there is none."""
        return self._unsettled.get(key) or self._recent.get(key)

    def get(self, key: str) -> Result | None:
        """Return what is known of a request; None if it was never examined."""
        found = self.held_in_memory(key) or self.index.get(key)
        return as_missing(found) if isinstance(found, Settled) and self.is_missing(key) else found

    def request_ids(self) -> Iterator[str]:
        """Yield the ids of all requests that have ended."""
        yield from self.index.request_ids()
        yield from (line.request_id for line in self._recent.values())

    async def look_at_images(self) -> None:
        """List the image files, so that a missing one does not count as stored. Raises `StoreError`."""
        await self._io(self.index.look_for_images, self._dataset)
        if self._recent:  # results that are not yet in the index
            self._gone = await self._io(self._missing_of, self._recent.values())

    def _missing_of(self, lines: Iterable[Settled]) -> set[str]:
        wanted, paths = WantedImages(), {line.key: [image["path"] for image in line.images] for line in lines}
        for line in lines:
            wanted.add(paths[line.key], [image["bytes"] for image in line.images])
        absent = wanted.missing(self._dataset)
        return {key for key, some in paths.items() if not absent.isdisjoint(map(hash, some))}

    def is_missing(self, key: str) -> bool:
        """Return whether an image file of a request was missing in the listing, and still is for this run."""
        if not (self._gone or self.index.has_missing) or key in self._unsettled:
            return False
        if key in self._recent:
            return key in self._gone
        brief = self.index.brief(key)
        return brief is not None and brief.is_missing

    def brief(self, key: str) -> Brief | None:
        """Return the brief of a request that has ended according to the index: enough for counting."""
        return None if self.has_dealt_with(key) else self.index.brief(key)

    def briefs(self, keys: bytes, places: Iterable[int]) -> list[Brief | None]:
        """Return the briefs of concatenated keys, 32 bytes each, at their `places` in the index."""
        found = self.index.briefs(places)
        if self._recent or self._unsettled:
            for number in range(len(found)):
                if self.has_dealt_with(keys[number * KEY : (number + 1) * KEY].hex()):
                    found[number] = None
        return found

    def has_dealt_with(self, key: str) -> bool:
        """Return whether a request has a result that is not in the index."""
        return key in self._recent or key in self._unsettled

    def settled(self, key: str) -> Settled | None:
        """Return the final outcome of a request; None if it has none."""
        return self._recent.get(key) or self.index.get(key)

    @property
    def unsettled(self) -> int:
        """The number of requests that this run leaves without a final outcome, although they may exist at fal."""
        return sum(isinstance(left, Unsettled) and left.status.may_be_billed for left in self._unsettled.values())

    def leave(self, result: Result) -> None:
        """Note why a request has no final outcome, or that its images are missing; this is not written to the index."""
        self._unsettled[result.key] = result

    def absorb(self, result: Settled) -> None:
        """Add an outcome that receipts have, but the index does not; the next checkpoint writes it."""
        self._recent[result.key] = result

    def record(self, result: Settled) -> None:
        """Add a final outcome."""
        self._unsettled.pop(result.key, None)
        self._gone.discard(result.key)
        self._recent[result.key] = result

    async def checkpoint_if_due(self) -> None:
        """Write a piece of the index for every `CHECKPOINT` outcomes. Raises `StoreError`.

        Outcomes that arrive while one is being written go to the next. After a failure, `CHECKPOINT` more are awaited.
        """
        if len(self._recent) >= self._due and not self._writing.locked():
            self._due = len(self._recent) + CHECKPOINT
            await self.checkpoint()
            self._due = CHECKPOINT

    async def checkpoint(self) -> None:
        """Write the outcomes since the last checkpoint. Raises `StoreError`."""
        async with self._writing:
            rows = list(self._recent.values())
            if not rows:
                return
            self._pieces += 1
            piece = self.index.make(f"{self.run}-{self._pieces:04d}", rows)
            await self._io(self.index.save, piece)
            self.index.know(piece)  # not in another thread, since the index is read meanwhile
            for row in rows:
                self.written.request(row, UNKNOWN)
                if self._recent.get(row.key) is row:
                    del self._recent[row.key]

    def completed(self, start: datetime, end: datetime) -> set[str]:
        """Return the ids of requests that fal has completed between two moments, as far as known."""
        recent = {s.request_id for s in self._recent.values() if start <= s.completed_at <= end}
        return recent | self.index.completed(start, end)


def settled_of(key: str, attempts: Sequence[Attempt], owns: Owns, run: str) -> Settled | None:
    """Return the line of the settled index for a key's facts: its images, or how it ended; None if it has neither.

    The cost is that of all its requests: a second purchase is part of the bill, whatever its reason.
    """
    every = [(n, r, o) for n, a in enumerate(attempts) for r, o in sorted(a.outcomes.items()) if o and owns(n, r)]
    ends = [end for end in every if end[2].is_end]
    last = [end for end in ends if end[2].meaning in {"refused", "ended"}]
    stored = [end for end in ends if end[2].kind == "stored"]
    here = [end for end in stored if end[1] not in attempts[end[0]].deleted]
    final = here or stored[-1:] or last[-1:]
    if not final:
        return None
    n, request_id, outcome = final[0]
    intent, accepted = attempts[n].intent, attempts[n].accepted.get(request_id)
    record = accepted[1] if accepted else None
    images = () if outcome.erased_at else outcome.images
    notes = ["; ".join((*image.notes, *outcome.notes)) or None for image in images]
    details = [_details(outcome, image) for image in images]
    return Settled(
        key=key,
        attempt=n,
        request_id=request_id,
        kind="erased" if outcome.erased_at else _kind(outcome.meaning),
        images=[image.model_dump(include=_OF_FILE) for image in images],
        cost_usd=total(end[2].cost_usd for end in ends),
        billable_units=outcome.billable_units,
        error_type=outcome.error_type,
        error=outcome.error,
        partition=intent.partition if intent else None,
        bought_by=intent.run if intent else "",
        settled_by=run,
        inference_s=outcome.inference_s,
        submitted_at=record.accepted_at if record else outcome.completed_at,
        completed_at=outcome.completed_at,
        stored_at=outcome.recorded_at,
        notes=notes if any(notes) else None,
        details=details if any(details) else None,
    )


def _details(outcome: Outcome, image: StoredImage) -> str | None:
    """Return an image's columns of `DETAILS` that are not empty, as JSON; None if all are empty."""
    said = {} if outcome.details is None else outcome.details.model_dump(exclude_defaults=True)
    if "timings" in said:
        said["timings"] = json.dumps(said["timings"], ensure_ascii=False)
    said |= image.model_dump(include=_OF_IMAGE, exclude_none=True)
    return json.dumps(said, ensure_ascii=False) if said else None


def as_missing(settled: Settled, deleted: Deleted | None = None, why: str = "") -> Settled:
    """Return the line of a request whose images are missing, with its cost.

    `deleted`: the recorded deletion. `why`: why they could not be fetched again.
    """
    words = _words_of_missing([image["path"] for image in settled.images], deleted, why)
    return settled._replace(kind="missing", images=[], error_type=None, error=words)


def _kind(meaning: OutcomeKind) -> Kind:
    return "stored" if meaning == "stored" else "ended" if meaning == "ended" else "refused"


def _words_of_missing(paths: Sequence[str], deleted: Deleted | None, why: str = "") -> str:
    """Return the message of a row whose images are missing.

    Args:
        paths: of its images, relative to the dataset.
        deleted: the recorded deletion, if any.
        why: why they could not be fetched again; empty if fal was not asked.
    """
    if deleted is not None and deleted.reason == "pruned":
        words = f"its images were deleted by `prune` on {deleted.recorded_at:%Y-%m-%d}"
    else:
        words = f"it was stored, but a file of it is missing or has another size: {', '.join(paths)}"
    asked = f"{why}. " if why else "A run fetches it from fal, at no cost, if fal still has it. "
    return f"{words}. {asked}It is not bought again automatically: put the file back, or use `--again missing`"
