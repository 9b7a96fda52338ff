"""fal's request history, searched for requests in doubt: only possible matches are kept.

Each attempt is searched for from shortly before its intent. Periods that were read are not read again, except the last
quarter of an hour (or `settle`), by which the history may lag. A run of days reads a few pages at a time.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

import rfc8785

from dagster_gptimg.fal.registry.builtin import model_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dagster_gptimg.engine.job import Job
    from dagster_gptimg.fal.types import Json
    from dagster_gptimg.store.receipts.facts import Intent

BEFORE = timedelta(minutes=5)
"""How long before its intent fal may show a request: clocks differ."""
AFTER = timedelta(hours=1)
"""How long after its intent fal may show a request: a frozen process may send late."""

RUNS = timedelta(hours=2)
"""Maximum time that a request may take, queue included.

fal does not document which of its times the history filters by.
"""

LAG = timedelta(minutes=15)
"""Maximum delay with which a request may appear in the history and still be found."""

FRESH = 1.0
"""Minimum seconds for which one read of the history is reused; within the bounds, five times its duration."""
LONGEST_FRESH = 15.0
"""Maximum seconds for which one read of the history is reused: a request may appear in it minutes later."""


class Candidate(NamedTuple):
    """A request in the history that may be one in doubt."""

    sent_at: datetime
    request_id: str


Window = tuple[datetime, "datetime | None"]
"""A period from one moment to another, or to now."""


@dataclass(slots=True)
class _Shelf:
    """The searches in one endpoint's history, by the digest of the arguments, and their results.

    Attributes:
        unread: from when each digest must still be searched for.
        read_to: until when all digests were searched for; None at first.
        stale_at: when the history is to be read again, in seconds of the run's clock.
    """

    found: dict[bytes, set[Candidate]] = field(default_factory=dict)
    unread: dict[bytes, datetime] = field(default_factory=dict)
    read_to: datetime | None = None
    stale_at: float = 0.0


class Candidates:
    """The candidates for all attempts in doubt of one run."""

    def __init__(self, job: Job) -> None:
        self._job, self._clock = job, job.runtime.clock
        self._shelves: dict[str, _Shelf] = {}

    def expect(self, intents: Iterable[Intent]) -> None:
        """Announce the intents that will be searched for: one read then serves all of them."""
        for intent in intents:
            self._shelve(intent)

    async def of(self, intent: Intent) -> list[Candidate]:
        """Return the possible requests of an intent: its endpoint, its arguments, near it in time; the earliest first.

        The history may show fal's defaults filled in: they are left out. An unreadable entry is skipped: to adopt a
        request, only this one must be found. Raises `ReadError`.
        """
        digest = self._shelve(intent)
        shelf = self._shelves[intent.endpoint]
        if digest in shelf.unread or self._clock.monotonic() >= shelf.stale_at:
            await self._read(intent.endpoint, shelf)
        first, last = window(intent)
        return sorted(candidate for candidate in shelf.found[digest] if first <= candidate.sent_at <= last)

    def _shelve(self, intent: Intent) -> bytes:
        shelf = self._shelves.setdefault(intent.endpoint, _Shelf())
        digest, since = self._digest(intent.endpoint, intent.arguments), window(intent)[0]
        if digest not in shelf.found or since < shelf.unread.get(digest, since):
            shelf.found.setdefault(digest, set())
            shelf.unread[digest] = since
        return digest

    async def _read(self, endpoint: str, shelf: _Shelf) -> None:
        began, unread = self._clock.monotonic(), dict(shelf.unread)
        now = self._clock.now() + timedelta(seconds=self._job.fal.clock_offset or 0.0)
        windows: list[Window] = [(since, since + BEFORE + AFTER + RUNS) for since in unread.values()]
        if shelf.read_to is not None:
            lag = max(LAG, timedelta(seconds=self._job.options.settle))
            windows.append((shelf.read_to - lag, None))
        for start, end in merged(windows, now):
            async for page in self._job.fal.history(endpoint, start, end):
                for item in page.items:
                    digest = None if item.json_input is None else self._digest(endpoint, item.json_input)
                    if digest in shelf.found:
                        shelf.found[digest].add(Candidate(item.sent_at, item.request_id))
        shelf.unread = {digest: since for digest, since in shelf.unread.items() if unread.get(digest) != since}
        shelf.read_to = now
        took = self._clock.monotonic() - began
        shelf.stale_at = self._clock.monotonic() + min(max(FRESH, 5 * took), LONGEST_FRESH)

    def _digest(self, endpoint: str, arguments: Mapping[str, Json]) -> bytes:
        """Return a digest of arguments in any order, without those that equal the model's first defaults."""
        plain = model_at(endpoint, self._job.model).variant(arguments).key_arguments(arguments)
        try:
            return hashlib.sha256(rfc8785.dumps(plain)).digest()
        except (rfc8785.CanonicalizationError, RecursionError, UnicodeError):
            return b""  # not our request: our arguments can be canonicalized


def window(intent: Intent) -> tuple[datetime, datetime]:
    """Return the period, by fal's clock, within which an intent's request may have been sent.

    The clock of the machine that made the intent may be wrong by hours: the intent records the offset to fal's clock.
    """
    at = intent.created_at + timedelta(seconds=intent.clock_offset_s or 0.0)
    return at - BEFORE, at + AFTER


def merged(windows: list[Window], now: datetime) -> list[Window]:
    """Merge overlapping spans of time, so that none is read twice; a span that reaches to now has no end."""
    found: list[Window] = []
    for start, end in sorted((start, end or datetime.max.replace(tzinfo=start.tzinfo)) for start, end in windows):
        last = found[-1] if found else None
        if last is not None and (last[1] is None or start <= last[1]):
            found[-1] = (last[0], None if last[1] is None else max(last[1], end))
        else:
            found.append((start, end))
        if found[-1][1] is not None and found[-1][1] >= now:
            found[-1] = (found[-1][0], None)
    return found
