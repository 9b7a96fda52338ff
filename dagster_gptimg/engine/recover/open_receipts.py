"""Open requests of earlier runs: read from receipts once, and only if the index does not suffice.

With these and the index, `OpenReceipts` also answers for every request of a table whether it has ended, is open, or is
to be bought. The rules by which facts mean that are in `engine/purchase_rules.py`; the forecast of a run, in
`engine/forecast.py`; what a run does about an open request (follows it, or gives it up) in `engine/worker.py`.

Every run marks its start, and its end once nothing it touched is held or in flight. If all runs have ended, the settled
index and the exclusive create answer everything, and no receipt is listed.
"""

from __future__ import annotations

from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING

from dagster_gptimg.base.digest_columns import KEY, DigestCounts, digest_of
from dagster_gptimg.base.row_status import RowStatus
from dagster_gptimg.engine.plan.plan import Request
from dagster_gptimg.engine.purchase_rules import Found, Owns, accepted_at, given_up, owners, searching, state_of
from dagster_gptimg.engine.record.results import EARLIER, RunResults, settled_of
from dagster_gptimg.engine.submit.store_guard import Doubles
from dagster_gptimg.store.dataset import REREAD
from dagster_gptimg.store.parallel import side_by_side
from dagster_gptimg.store.settled.rows import Settled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagster_gptimg.engine.job import Job
    from dagster_gptimg.engine.plan.plan import Plan, PlannedRow
    from dagster_gptimg.store.receipts.facts import Attempt, Intent, Word
    from dagster_gptimg.store.receipts.receipts import Names
    from dagster_gptimg.store.settled.rows import Brief


LOOKED_FOR = timedelta(days=90)
"""How long every run looks for a request that was given up: fal looks up ids that far back."""


class OpenReceipts:
    """The facts of every key that is not settled.

    Attributes:
        facts: by key, for the whole dataset, other partitions included.
        runs: runs without an end mark when the receipts were listed.
        read_at: when that was, in seconds of the run's clock.
        paid_twice: rows with two billed requests that no run has reported yet: (row id, request ids).
    """

    def __init__(self, job: Job, results: RunResults) -> None:
        """Prepare for `read`, which must be called first."""
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
        # The index, or a piece of it, may have been removed: it is derived data.
        if found.runs or results.index.lost or (has_begun and not len(results.index)):
            await io(found._load)
        return found

    def _load(self) -> None:
        """List all receipts, and read those of keys that the index does not answer; the others are not kept.

        If a piece of the index is lost, the index is not used.
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
        # The lines of a lost piece may supersede those of the others: an erasure, a later attempt.
        some = unanswered.items() if is_whole else receipts.by_key()
        wanted = (found for found in some if found[0] not in facts)
        for (key, _), attempts in side_by_side(self._job.dataset.store, lambda found: receipts.read(found[1]), wanted):
            self._take(key, attempts)
        for key, attempts in facts.items():
            self._take(key, attempts)

    def _is_reread(self, brief: Brief, names: Names) -> bool:
        """Return whether version 1 may have taken a disturbance for a request's end: its facts then show it."""
        return REREAD in self.runs and (brief.kind == "refused" or any(name.attempt for _, name in names))

    def _take(self, key: str, attempts: list[Attempt]) -> None:
        """Keep the facts of an open key; settle those of an ended one."""
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
        """Note a double purchase by a run that did not know of `again`, which neither of the two runs has noticed."""
        paid = paid_requests(attempts)
        intent = next((a.intent for a in attempts if a.intent is not None), None)
        if len(paid) > 1 and intent is not None:
            self.paid_twice.append((intent.row_id, paid))

    def doubles(self) -> Doubles:
        """Return what two runs at once have sent for the same attempts, by all receipts, as far as no run has told it.

        Settles these requests anew: with the cost of both. Blocks. Raises `StoreError`.
        """
        receipts, found = self._job.dataset.receipts, Doubles([], 0, [])
        for key, names in receipts.by_key():
            if not _has_two(names):
                continue
            attempts, owns = receipts.read(names), self.owns(key)
            paid, intent = paid_requests(attempts), next((a.intent for a in attempts if a.intent is not None), None)
            is_open = any(len(a.accepted) > 1 and a.accepted.keys() - a.outcomes.keys() for a in attempts)
            settled = settled_of(key, attempts, owns, EARLIER)
            if is_open:
                found = found._replace(open=found.open + 1)
            if len(paid) > 1 and settled is not None and _says(settled) != _says(self._results.settled(key)):
                self._results.absorb(settled)
                found.rows.append((key if intent is None else intent.row_id, paid))
                costs = [
                    o.cost_usd for a in attempts for o in a.outcomes.values() if o is not None and o.kind == "stored"
                ]
                found.costs.extend(costs[1:])
        return found

    def owns(self, key: str) -> Owns:
        """Return a function that tells whether an attempt of a key owns a request id that was found twice."""

        def owns(attempt: int, request_id: str) -> bool:
            return self._owner.get(request_id, (key, attempt)) == (key, attempt)

        return owns

    def is_open(self, key: str) -> bool:
        """Return whether a key has something to follow, to resolve or to search for."""
        attempts = self.facts.get(key)
        if attempts is None:
            return False
        return self.is_left_open(attempts, self.owns(key))

    def is_left_open(self, attempts: list[Attempt], owns: Owns) -> bool:
        """Return whether the facts of a key leave something to follow, to resolve or to search for."""
        if state_of(attempts, owns).state in {"in_flight", "held"}:
            return True
        return bool(searching(attempts, owns)) or self._is_looked_for(attempts, owns)

    def _is_looked_for(self, attempts: list[Attempt], owns: Owns) -> bool:
        """Return whether every run looks for a request of this key that was given up."""
        since = self._job.runtime.clock.now() - LOOKED_FOR
        facts = (attempts[n].given_up[request_id] for n, request_id in given_up(attempts, owns))
        return any(fact is None or fact.recorded_at > since for fact in facts)

    def again_applies_to(self, key: str, attempts: list[Attempt], word: Word) -> int:
        """Return how many attempts of a key `again` applies to: those on record when the run began.

        It does not apply to attempts (or later ones) that were opened by the same `again`, or by that of another run
        without an end mark: the same `again` given to several concurrent runs buys once.
        """
        settled = self._results.index.get(key)
        stood = self._stood.get(key, 0 if settled is None else settled.attempt + 1)
        for n, attempt in enumerate(attempts[:stood]):
            opened_by = attempt.intent.word if attempt.intent is not None else None
            if opened_by is not None and (opened_by.id == word.id or opened_by.run in self.runs):
                return n
        return stood

    def request_ids(self) -> Iterator[str]:
        """Yield the ids of all requests on record, of open and of settled keys."""
        for attempts in self.facts.values():
            yield from (request_id for attempt in attempts for request_id in attempt.accepted)
        yield from self._results.request_ids()

    def in_doubt(self) -> Iterator[Intent]:
        """Yield the intents of all attempts that are searched for."""
        for key, attempts in self.facts.items():
            for n in searching(attempts, self.owns(key)):
                if (intent := attempts[n].intent) is not None:
                    yield intent

    def first(self, planned: Plan) -> Iterator[tuple[Request, bool]]:
        """Yield (request, whether it may be bought again).

        This table's open requests, then those that no row needs any more.

        These are processed before anything is bought.
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
        """Return whether a request is neither settled nor open, or is to be bought again by `again`."""
        if self.is_open(key):
            return False
        settled = self._results.brief(key) or self._results.settled(key)
        if settled is None:
            return True
        return self.is_again(row_id, RowStatus.MISSING if self._results.is_missing(key) else settled.status)

    def has_images(self, key: str) -> bool:
        """Whether a request has ended with images, and all of their files are there."""
        found = self._results.brief(key) or self._results.settled(key)
        return found is not None and found.kind == "stored" and not self.is_open(key) and not self.is_missing(key)

    def is_missing(self, key: str) -> bool:
        """Return whether a request has ended with images, and a file of them is missing."""
        return not self.is_open(key) and self._results.is_missing(key)

    def to_buy(self, planned: Plan) -> Iterator[tuple[PlannedRow, set[str]]]:
        """Yield the rows with requests to be bought for the first time according to the records, and their keys."""
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

    def is_again(self, row_id: str, status: RowStatus) -> bool:
        """Return whether `again` covers a request without images, or with missing ones."""
        return status.is_trouble and not self._job.options.again.isdisjoint({status, row_id})

    async def attempts(self, request: Request) -> list[Attempt]:
        """Return the facts of a request that are needed before it is processed. Raises `StoreError`."""
        if request.key in self.facts:
            return self.facts[request.key]
        if self._results.brief(request.key) is None and self._results.settled(request.key) is None:
            return []  # if this is wrong, the exclusive create fails
        return await self._job.runtime.io(self._job.dataset.receipts.load, request.key)

    def ended_runs(self, before: str) -> list[str]:
        """Return the runs older than `before` (a prefix of run ids) if nothing is open: their marks can be ended."""
        return [run for run in self.runs if run < before] if self.has_nothing_open() else []

    def has_nothing_open(self) -> bool:
        """Return whether everything on record has ended, according to the index or after this run has written it."""
        return not any(self.is_open(key) for key in self.facts)


def paid_requests(attempts: list[Attempt]) -> list[str]:
    """Return the ids of one key's requests with images: more than one is a double purchase."""
    return [r for a in attempts for r, o in a.outcomes.items() if o is not None and o.kind == "stored"]


def _says(settled: Settled | None) -> tuple[object, ...] | None:
    """Return the parts of a line that people read, without the run and time of its discovery."""
    return None if settled is None else (settled.kind, settled.request_id, settled.cost_usd)


def _is_odd(names: Names) -> bool:
    """Return, by file names alone, whether a key may have more requests than were known when it was settled.

    That is, an attempt that was given up has a request after all, or one attempt has two.
    """
    given_up = {name.attempt for _, name in names if name.kind == "void"}
    ended = [name.attempt for _, name in names if name.kind == "outcome"]
    return not given_up.isdisjoint(ended) or len(set(ended)) < len(ended)


def _has_two(names: Names) -> bool:
    """Return, by file names alone, whether an attempt has two requests: two runs have created its intent."""
    return any(
        len({n.request_id for _, n in names if n.attempt == a and n.request_id}) > 1
        for a in {n.attempt for _, n in names}
    )


def _has(names: Names, request_ids: set[str]) -> bool:
    return any(name.how and name.request_id in request_ids for _, name in names)


def _all_ended(names: Names) -> bool:
    """Return, by file names alone, whether every attempt has an accepted request, and each of these an outcome."""
    attempts = {name.attempt for _, name in names}
    accepted = {(name.attempt, name.request_id) for _, name in names if name.kind == "accepted"}
    outcomes = {(name.attempt, name.request_id) for _, name in names if name.kind == "outcome"}
    known = all(name.kind is not None for _, name in names)
    return known and attempts == {attempt for attempt, _ in accepted} and accepted <= outcomes
