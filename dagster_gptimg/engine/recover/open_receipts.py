"""What earlier runs have left open: read from receipts once, and only when the index does not answer.

Every run marks its start, and its end when nothing it touched is held or in flight. When all have ended, the settled
index and the exclusive create answer everything, and no receipt is listed.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING

from dagster_gptimg.base.digest_columns import KEY, DigestCounts, digest_of
from dagster_gptimg.base.row_status import RowStatus
from dagster_gptimg.engine.plan.plan import Request
from dagster_gptimg.engine.record.manifest_rows import all_ended, row_status
from dagster_gptimg.engine.record.results import EARLIER, Result, RunResults, Unsettled, settled_of
from dagster_gptimg.engine.record.state_table import Found, Owns, accepted_at, given_up, owners, searching, state_of
from dagster_gptimg.engine.record.summary import Tally
from dagster_gptimg.fal.registry.prices import Price
from dagster_gptimg.store.dataset import REREAD
from dagster_gptimg.store.parallel import side_by_side
from dagster_gptimg.store.settled.rows import Settled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagster_gptimg.engine.job import Job
    from dagster_gptimg.engine.plan.plan import Plan, PlanBatch, PlannedRow
    from dagster_gptimg.engine.record.manifest_rows import Content
    from dagster_gptimg.store.receipts.facts import Attempt, Intent, Word
    from dagster_gptimg.store.receipts.receipts import Names
    from dagster_gptimg.store.settled.rows import Brief


LOOKED_FOR = timedelta(days=90)
"""How long every run looks for a request that the user has given up: fal looks back that far by a request's id."""


class OpenReceipts:
    """The facts of every key that is not simply settled.

    Attributes:
        facts: by key; keys of the whole dataset, other partitions' among them.
        runs: runs without an end mark, when the receipts were listed.
        read_at: the clock's second at which they were.
        paid_twice: rows of which two requests were billed, by what no run had seen yet: (row id, request ids).
    """

    def __init__(self, job: Job, results: RunResults) -> None:
        """Nothing is read yet; use `read`."""
        self._job, self._results = job, results
        self._owner: dict[str, tuple[str, int]] = {}
        self._stood: dict[str, int] = {}
        self.read_at = job.runtime.clock.monotonic()
        self.facts: dict[str, list[Attempt]] = {}
        self.runs: list[str] = []
        self.paid_twice: list[tuple[str, list[str]]] = []

    @classmethod
    async def read(cls, job: Job, results: RunResults) -> OpenReceipts:
        """Load the settled index and, if a run has left something open, the receipts. Raises `StoreError`."""
        found, io, dataset = cls(job, results), job.runtime.io, job.dataset
        await io(results.index.load)
        found.runs, has_begun = await io(dataset.runs)
        # Somebody may have removed the index, or a piece of it: it is derived.
        if found.runs or results.index.lost or (has_begun and not len(results.index)):
            await io(found._load)
        return found

    def _load(self) -> None:
        """List all receipts, and read those that the index does not answer for; nothing is kept of the others.

        Where a piece of the index is lost, it answers for none.
        """
        receipts, is_whole = self._job.dataset.receipts, not self._results.index.lost
        unanswered: dict[str, Names] = {}
        seen, twice = DigestCounts(), set[str]()
        for key, names in receipts.by_key():
            twice.update(name.request_id for _, name in names if name.how and seen.count(digest_of(name.request_id)))
            brief = self._results.index.brief(key)
            if is_whole and (brief is None or not _all_ended(names) or _is_odd(names) or self._is_reread(brief, names)):
                unanswered[key] = names
        shared = [names for _, names in receipts.by_key() if _has(names, twice)] if twice else []
        facts = {names[0][1].key: receipts.read(names) for names in shared}
        every = [name for names in shared for _, name in names if name.request_id in twice]
        self._owner = owners(
            Found(n.key, n.attempt, n.request_id, n.how, accepted_at(facts[n.key][n.attempt], n.request_id))
            for n in every
            if n.how
        )
        # What a lost piece said may have gone before what others still say: an erasure, a later attempt.
        some = unanswered.items() if is_whole else receipts.by_key()
        wanted = (found for found in some if found[0] not in facts)
        for (key, _), attempts in side_by_side(self._job.dataset.store, lambda found: receipts.read(found[1]), wanted):
            self._take(key, attempts)
        for key, attempts in facts.items():
            self._take(key, attempts)

    def _is_reread(self, brief: Brief, names: Names) -> bool:
        """Whether version 1 may have taken a blip for the end of a request of this key: its facts then say so."""
        return REREAD in self.runs and (brief.kind == "refused" or any(name.attempt for _, name in names))

    def _take(self, key: str, attempts: list[Attempt]) -> None:
        """Keep what is open; what has ended goes where everything settled is."""
        owns = self.owns(key)
        is_final = state_of(attempts, owns).state in {"done", "missing", "refused", "ended"}
        is_looked_for = bool(searching(attempts, owns)) or self._is_looked_for(attempts, owns)
        settled = settled_of(key, attempts, owns, EARLIER) if is_final and not is_looked_for else None
        if settled is None:
            self.facts[key], self._stood[key] = attempts, len(attempts)
        elif _says(settled) != _says(self._results.index.get(key)):
            self._results.absorb(settled)
            self._notice_double(attempts)

    def _notice_double(self, attempts: list[Attempt]) -> None:
        """A request that came late, from a run that knew nothing of the user's word, is seen by neither of the two."""
        paid = paid_requests(attempts)
        intent = next((a.intent for a in attempts if a.intent is not None), None)
        if len(paid) > 1 and intent is not None:
            self.paid_twice.append((intent.row_id, paid))

    def owns(self, key: str) -> Owns:
        """Whose ids found twice are, for one key."""

        def owns(attempt: int, request_id: str) -> bool:
            return self._owner.get(request_id, (key, attempt)) == (key, attempt)

        return owns

    def is_open(self, key: str) -> bool:
        """Whether a key has something to follow, to resolve or to look for."""
        attempts = self.facts.get(key)
        if attempts is None:
            return False
        return self.is_left_open(attempts, self.owns(key))

    def is_left_open(self, attempts: list[Attempt], owns: Owns) -> bool:
        """Whether the facts of a key leave something to follow, to resolve or to look for."""
        if state_of(attempts, owns).state in {"in_flight", "held"}:
            return True
        return bool(searching(attempts, owns)) or self._is_looked_for(attempts, owns)

    def _is_looked_for(self, attempts: list[Attempt], owns: Owns) -> bool:
        """Whether every run looks for a request of a key that the user has given up."""
        since = self._job.runtime.clock.now() - LOOKED_FOR
        facts = (attempts[n].given_up[request_id] for n, request_id in given_up(attempts, owns))
        return any(fact is None or fact.recorded_at > since for fact in facts)

    def spoken_of(self, key: str, attempts: list[Attempt], word: Word) -> int:
        """How many attempts of a key the user's word speaks of: those that stood on record when the run began.

        Not of those, nor of any later one, that were opened by the same word, or by that of another run which had no
        end mark then: the same word given to several runs at once buys once.
        """
        settled = self._results.index.get(key)
        stood = self._stood.get(key, 0 if settled is None else settled.attempt + 1)
        for n, attempt in enumerate(attempts[:stood]):
            opened_by = attempt.intent.word if attempt.intent is not None else None
            if opened_by is not None and (opened_by.id == word.id or opened_by.run in self.runs):
                return n
        return stood

    def request_ids(self) -> Iterator[str]:
        """The ids of all requests on record, of open keys and of settled ones."""
        for attempts in self.facts.values():
            yield from (request_id for attempt in attempts for request_id in attempt.accepted)
        yield from self._results.request_ids()

    def in_doubt(self) -> Iterator[Intent]:
        """The intents of all attempts that are looked for."""
        for key, attempts in self.facts.items():
            for n in searching(attempts, self.owns(key)):
                if (intent := attempts[n].intent) is not None:
                    yield intent

    def first(self, planned: Plan) -> Iterator[tuple[Request, bool]]:
        """What comes before anything is bought: this table's open requests, then those that no row asks for any more.

        Yields (request, whether it may be bought again).
        """
        left = {key for key in self.facts if self.is_open(key)}
        for row in planned if left else ():
            for request in row.requests:
                if request.key in left:
                    left.discard(request.key)
                    yield request, True
        for key in sorted(left):
            intent = next((a.intent for a in self.facts[key] if a.intent is not None), None)
            if intent is not None and intent.partition == self._job.partition:
                yield Request(key, intent.row_id, intent.endpoint, intent.arguments), False

    def is_to_buy(self, key: str, row_id: str) -> bool:
        """Whether a request is neither settled nor open (or the user's word wants it again all the same)."""
        if self.is_open(key):
            return False
        settled = self._results.brief(key) or self._results.settled(key)
        if settled is None:
            return True
        return self._is_again(row_id, RowStatus.MISSING if self._results.is_missing(key) else settled.status)

    def has_images(self, key: str) -> bool:
        """Whether a request has ended with images, and all of their files are there."""
        found = self._results.brief(key) or self._results.settled(key)
        return found is not None and found.kind == "stored" and not self.is_open(key) and not self.is_missing(key)

    def is_missing(self, key: str) -> bool:
        """Whether a request has ended with images, and a file of them is gone: then it is looked after."""
        return not self.is_open(key) and self._results.is_missing(key)

    def to_buy(self, planned: Plan) -> Iterator[tuple[PlannedRow, set[str]]]:
        """The rows of which something would be bought for the first time, as far as is on record; and its keys."""
        places = self._results.index.places(planned.keys())
        for batch in planned.batches():
            briefs = batch.by_row(self._results.briefs(batch.keys, islice(places, len(batch.keys) // KEY)))
            for row, known in zip(batch, briefs, strict=True) if any(None in found for found in briefs) else ():
                keys = {
                    key
                    for key, brief in zip(row.keys, known, strict=True)
                    if brief is None and not self.is_open(key) and self._results.settled(key) is None
                }
                if keys:
                    yield row, keys

    def _is_again(self, row_id: str, status: RowStatus) -> bool:
        """Whether the user says to buy a request again that has no images, or whose images are gone."""
        return status.is_trouble and not self._job.options.again.isdisjoint({status, row_id})

    async def attempts(self, request: Request) -> list[Attempt]:
        """The facts of a request, as far as they must be known before it is dealt with. Raises `StoreError`."""
        if request.key in self.facts:
            return self.facts[request.key]
        if self._results.brief(request.key) is None and self._results.settled(request.key) is None:
            return []  # an exclusive create finds out if that is wrong
        return await self._job.runtime.io(self._job.dataset.receipts.load, request.key)

    def forecast(self, planned: Plan, content: Content | None = None) -> Tally:
        """What the run would come to if every request ended well. Blocks.

        `content`: takes what the manifest would say now.
        """
        tally = Tally(self._results.run)
        places = self._results.index.places(planned.keys())
        for batch in planned.batches():
            briefs = batch.by_row(self._results.briefs(batch.keys, islice(places, len(batch.keys) // KEY)))
            ended = self._ended(batch, briefs)
            if content is not None:
                content.add(ended)
            tally.ended(row for row in ended if row is not None)
            for row, known, done in zip(batch, briefs, ended, strict=True) if None in ended else ():
                if done is None:
                    self._expect(row, known, tally)
        return tally

    def _ended(self, batch: PlanBatch, briefs: list[list[Brief | None]]) -> list[list[Brief] | None]:
        """Each row's requests, when all of them have ended and nothing is to be done for any; None otherwise."""
        found = [all_ended(row) for row in briefs]
        if self._results.index.has_missing:  # these are looked after
            found = [None if any(brief.is_missing for brief in done or ()) else done for done in found]
        for number, row in enumerate(batch if self.facts or self._job.options.again else ()):
            again = any(self._is_again(row.row_id, brief.status) for brief in found[number] or ())
            if again or any(key in self.facts for key in row.keys):
                found[number] = None
        return found

    def _expect(self, row: PlannedRow, briefs: list[Brief | None], tally: Tally) -> None:
        """Count a row that has not ended, by what it would come to. `briefs`: what the index knows of it."""
        if not any(briefs) and not any(key in self.facts or self._results.has_dealt_with(key) for key in row.keys):
            tally.new(row.prices, sum(row.images))  # in short, for a million
            return
        results = [self._expected(request) for request in row.requests]
        tally.row(row_status(results))
        for request, result, price in zip(row.requests, results, row.prices, strict=True):
            buys = self.is_to_buy(request.key, request.row_id)
            is_missing = self.is_missing(request.key)
            if is_missing:
                price = Price(Decimal(0), price.high)  # noqa: PLW2901 - fal may have it still
            may_buy = self._may_be_free(request.key)
            tally.expect(result, price, request.images, buys=buys, may_buy=may_buy, is_missing=is_missing)

    def _may_be_free(self, key: str) -> bool:
        """Whether a request that is looked at again may turn out to be free after all: then it is bought."""
        attempts = self.facts.get(key, [])
        return bool(attempts) and any(o is not None and o.is_doubtful for o in attempts[-1].outcomes.values())

    def _expected(self, request: Request) -> Result:
        key, settled = request.key, self._results.get(request.key)
        is_open = self.is_open(key)
        is_held = is_open and state_of(self.facts[key], self.owns(key)).state == "held"
        if isinstance(settled, Settled) and not (is_held and settled.kind == "missing"):
            is_again = self._is_again(request.row_id, settled.status)
            return Unsettled(key=key, status=RowStatus.NOT_SUBMITTED) if is_again else settled
        if is_held:
            return Unsettled(key=key, status=RowStatus.HELD)
        return Unsettled(key=key, status=RowStatus.IN_FLIGHT if is_open else RowStatus.NOT_SUBMITTED)

    def ended_runs(self, before: str) -> list[str]:
        """Runs older than `before` (a run id's beginning) whose marks may be ended: nothing that they left is open."""
        return [run for run in self.runs if run < before] if self.has_nothing_open() else []

    def has_nothing_open(self) -> bool:
        """Whether all that is on record has ended by now: the index has it, or will when this run has written it."""
        return not any(self.is_open(key) for key in self.facts)


def paid_requests(attempts: list[Attempt]) -> list[str]:
    """Ids of the requests of one key that brought images: more than one is a double purchase."""
    return [r for a in attempts for r, o in a.outcomes.items() if o is not None and o.kind == "stored"]


def _says(settled: Settled | None) -> tuple[object, ...] | None:
    """What of a line decides what people read: not who found it out, and when."""
    return None if settled is None else (settled.kind, settled.request_id, settled.cost_usd)


def _is_odd(names: Names) -> bool:
    """By names alone: there may be more requests of a key than whoever settled it knew.

    An attempt that was given up has a request after all, or one attempt has two.
    """
    given_up = {name.attempt for _, name in names if name.kind == "void"}
    ended = [name.attempt for _, name in names if name.kind == "outcome"]
    return not given_up.isdisjoint(ended) or len(set(ended)) < len(ended)


def _has(names: Names, request_ids: set[str]) -> bool:
    return any(name.how and name.request_id in request_ids for _, name in names)


def _all_ended(names: Names) -> bool:
    """By names alone: every attempt has an accepted request, and every such request its outcome."""
    attempts = {name.attempt for _, name in names}
    accepted = {(name.attempt, name.request_id) for _, name in names if name.kind == "accepted"}
    outcomes = {(name.attempt, name.request_id) for _, name in names if name.kind == "outcome"}
    known = all(name.kind is not None for _, name in names)
    return known and attempts == {attempt for attempt, _ in accepted} and accepted <= outcomes
