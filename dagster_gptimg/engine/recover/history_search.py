"""fal's request history, read for what is in doubt: of all that it shows, only what could be it is kept.

Each doubt is looked for from a little before its intent on. What has been read is not read again, but for the last
quarter of an hour (or `settle`): so long the history may lag. A run of days asks for a few pages at a time.
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

BEFORE, AFTER = timedelta(minutes=5), timedelta(hours=1)
"""How far from its intent a request may lie: clocks differ, and a frozen process may send late."""

RUNS = timedelta(hours=2)
"""How long a request may take, queue included: fal does not say by which of its times it filters its history."""

LAG = timedelta(minutes=15)
"""How late a request may come into the history and still be seen by a run that has read on."""

FRESH, LONGEST_FRESH = 1.0, 15.0
"""Seconds for which one reading serves all that is in doubt: five times as long as it took, within these bounds. A slow
reading must not stand for the minutes in which a request may still come into the history."""


class Candidate(NamedTuple):
    """A request in the history that could be one in doubt."""

    sent_at: datetime
    request_id: str


Window = tuple[datetime, "datetime | None"]
"""From a moment to another, or to now."""


@dataclass(slots=True)
class _Shelf:
    """What is looked for in one endpoint's history, by the digest of its arguments, and what was found.

    Attributes:
        unread: since when it has still to be looked for.
        read_to: up to this moment all that is looked for was; None at first.
        stale_at: when it is to be read again, by the clock's seconds.
    """

    found: dict[bytes, set[Candidate]] = field(default_factory=dict)
    unread: dict[bytes, datetime] = field(default_factory=dict)
    read_to: datetime | None = None
    stale_at: float = 0.0


class Candidates:
    """The candidates for all attempts in doubt of one run."""

    def __init__(self, job: Job) -> None:
        """Nothing is looked for yet."""
        self._job, self._clock = job, job.runtime.clock
        self._shelves: dict[str, _Shelf] = {}

    def expect(self, intents: Iterable[Intent]) -> None:
        """These will be asked for: one reading then serves all of them."""
        for intent in intents:
            self._shelve(intent)

    async def of(self, intent: Intent) -> list[Candidate]:
        """The requests that could be an intent's: its endpoint, its arguments, near it. The first sent comes first.

        The history may show fal's defaults filled in: they are left out. A line that cannot be read is passed over:
        to adopt a request, it has to be found, and not every other one. Raises `ReadError`.
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
        """Names arguments, whatever their order, without those that equal the model's first defaults."""
        plain = model_at(endpoint, self._job.model).variant(arguments).key_arguments(arguments)
        try:
            return hashlib.sha256(rfc8785.dumps(plain)).digest()
        except (rfc8785.CanonicalizationError, RecursionError, UnicodeError):
            return b""  # nothing of ours: what we sent was canonical


def window(intent: Intent) -> tuple[datetime, datetime]:
    """Between which moments, by fal's clock, an intent's request may have been sent.

    The machine that made the intent may have a clock that is wrong by hours: what fal's answers said of it then is
    noted in the intent.
    """
    at = intent.created_at + timedelta(seconds=intent.clock_offset_s or 0.0)
    return at - BEFORE, at + AFTER


def merged(windows: list[Window], now: datetime) -> list[Window]:
    """The same spans of time with none of them read twice; one that reaches to now has no end."""
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
