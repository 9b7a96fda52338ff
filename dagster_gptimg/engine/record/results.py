"""What a run knows about its requests: what is settled (by the index and by itself), and why the rest is not."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from dagster_gptimg.base.digest_columns import KEY
from dagster_gptimg.engine.record.summary import Spent, Tally
from dagster_gptimg.fal.registry.prices import UNKNOWN
from dagster_gptimg.store.images.listing import WantedImages
from dagster_gptimg.store.money import total
from dagster_gptimg.store.settled.index import SettledIndex
from dagster_gptimg.store.settled.rows import Brief, Settled

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from dagster_gptimg.base.row_status import RowStatus
    from dagster_gptimg.engine.job import Io
    from dagster_gptimg.engine.record.state_table import Owns
    from dagster_gptimg.store.dataset import Dataset
    from dagster_gptimg.store.receipts.facts import Attempt, Deleted, OutcomeKind
    from dagster_gptimg.store.settled.rows import Kind

CHECKPOINT = 1000
"""Outcomes after which a piece of the index is written: what a crash leaves to be read from receipts."""


EARLIER = ""
"""Who settled what an earlier run had recorded, as far as the receipts tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsettled:
    """A request that has no final outcome, and why.

    Attributes:
        bought_by: the run that sent it, when it was sent (or may have been).
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
        index: what is settled, by the pieces in the store.
        written: counts of what this run has written into the index.
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
        """What this run has found out of a request, and has not written into the index yet."""
        return self._unsettled.get(key) or self._recent.get(key)

    def get(self, key: str) -> Result | None:
        """What is known of a request; None when it was never looked at."""
        found = self.held_in_memory(key) or self.index.get(key)
        return as_missing(found) if isinstance(found, Settled) and self.is_missing(key) else found

    def request_ids(self) -> Iterator[str]:
        """The ids of all requests that have ended."""
        yield from self.index.request_ids()
        yield from (line.request_id for line in self._recent.values())

    async def look_at_images(self) -> None:
        """List the image files, so that one that is gone does not pass for stored. Raises `StoreError`."""
        await self._io(self.index.look_for_images, self._dataset)
        if self._recent:  # what the index does not have yet
            self._gone = await self._io(self._missing_of, self._recent.values())

    def _missing_of(self, lines: Iterable[Settled]) -> set[str]:
        wanted, paths = WantedImages(), {line.key: [image["path"] for image in line.images] for line in lines}
        for line in lines:
            wanted.add(paths[line.key], [image["bytes"] for image in line.images])
        absent = wanted.missing(self._dataset)
        return {key for key, some in paths.items() if not absent.isdisjoint(map(hash, some))}

    def is_missing(self, key: str) -> bool:
        """Whether a file of a request's images was gone when somebody looked, and is so as far as this run knows."""
        if not (self._gone or self.index.has_missing) or key in self._unsettled:
            return False
        if key in self._recent:
            return key in self._gone
        brief = self.index.brief(key)
        return brief is not None and brief.is_missing

    def brief(self, key: str) -> Brief | None:
        """A request that the index knows to have ended, in brief: as much as counting takes."""
        return None if self.has_dealt_with(key) else self.index.brief(key)

    def briefs(self, keys: bytes, places: Iterable[int]) -> list[Brief | None]:
        """That for many keys, of 32 bytes each, one behind the other, by their `places` in the index."""
        found = self.index.briefs(places)
        if self._recent or self._unsettled:
            for number in range(len(found)):
                if self.has_dealt_with(keys[number * KEY : (number + 1) * KEY].hex()):
                    found[number] = None
        return found

    def has_dealt_with(self, key: str) -> bool:
        """Whether a request has a result that the index does not have."""
        return key in self._recent or key in self._unsettled

    def settled(self, key: str) -> Settled | None:
        """The final outcome of a request, if it has one."""
        return self._recent.get(key) or self.index.get(key)

    @property
    def unsettled(self) -> int:
        """How many requests this run leaves without a final outcome, although they may exist at fal."""
        return sum(isinstance(left, Unsettled) and left.status.may_be_billed for left in self._unsettled.values())

    def leave(self, result: Result) -> None:
        """Note why a request has no final outcome, or that its images are gone: the index keeps nothing of it."""
        self._unsettled[result.key] = result

    def absorb(self, result: Settled) -> None:
        """Take what receipts say has ended, and the index did not know; the next checkpoint writes it."""
        self._recent[result.key] = result

    def record(self, result: Settled) -> None:
        """Take a final outcome."""
        self._unsettled.pop(result.key, None)
        self._gone.discard(result.key)
        self._recent[result.key] = result

    async def checkpoint_if_due(self) -> None:
        """Write a piece of the index for every `CHECKPOINT` outcomes. Raises `StoreError`.

        While one is being written, what comes is left to the next. After a failure so many more have to come.
        """
        if len(self._recent) >= self._due and not self._writing.locked():
            self._due = len(self._recent) + CHECKPOINT
            await self.checkpoint()
            self._due = CHECKPOINT

    async def checkpoint(self) -> None:
        """Write what is settled since the last time. Raises `StoreError`."""
        async with self._writing:
            rows = list(self._recent.values())
            if not rows:
                return
            self._pieces += 1
            piece = self.index.make(f"{self.run}-{self._pieces:04d}", rows)
            await self._io(self.index.save, piece)
            self.index.know(piece)  # not in a thread: others read the index meanwhile
            for row in rows:
                self.written.request(row, UNKNOWN)
                if self._recent.get(row.key) is row:
                    del self._recent[row.key]

    def completed(self, start: datetime, end: datetime) -> set[str]:
        """Ids of requests that we know fal to have completed between two moments."""
        recent = {s.request_id for s in self._recent.values() if start <= s.completed_at <= end}
        return recent | self.index.completed(start, end)


def settled_of(key: str, attempts: Sequence[Attempt], owns: Owns, run: str) -> Settled | None:
    """The line of the settled index for a key's facts: its images, or else how it ended; None when it has neither.

    The cost is that of all its requests: a second purchase is part of the bill, however it came about.
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
    return Settled(
        key=key,
        attempt=n,
        request_id=request_id,
        kind="erased" if outcome.erased_at else _kind(outcome.meaning),
        images=[image.model_dump(exclude={"notes"}) for image in images],
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
    )


def as_missing(settled: Settled, deleted: Deleted | None = None, why: str = "") -> Settled:
    """A request whose images are gone: what it cost stays.

    `deleted`: what is on record of that. `why`: what became of fetching them again.
    """
    words = _words_of_missing([image["path"] for image in settled.images], deleted, why)
    return settled._replace(kind="missing", images=[], error_type=None, error=words)


def _kind(meaning: OutcomeKind) -> Kind:
    return "stored" if meaning == "stored" else "ended" if meaning == "ended" else "refused"


def _words_of_missing(paths: Sequence[str], deleted: Deleted | None, why: str = "") -> str:
    """What a row shows whose images are gone.

    Args:
        paths: of its images, relative to the dataset.
        deleted: what is on record of their deletion.
        why: what became of fetching them again; empty where nobody has asked fal.
    """
    if deleted is not None and deleted.reason == "pruned":
        words = f"its images were deleted by `prune` on {deleted.recorded_at:%Y-%m-%d}"
    else:
        words = f"it was stored, and a file of it is gone or has another size: {', '.join(paths)}"
    asked = f"{why}. " if why else "A run fetches it from fal, for nothing, if fal still has it. "
    return f"{words}. {asked}It is not bought again by itself: put the file back, or say `--again missing`"
