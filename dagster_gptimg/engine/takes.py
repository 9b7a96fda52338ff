"""Takes of rows: which one each row has, and which get another by `again` or `regenerate` (docs/receipts.md#takes).

A row's take is the highest that each of its requests has, so all of them move together. What the two options open is
decided once, when the run begins; the take is on record before anything of it is bought, created exclusively under its
number, so of several runs and repetitions one makes it. `tests/specification/takes.py` has this protocol.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dagster_gptimg.base.plain_text import counted
from dagster_gptimg.base.row_status import REJECTED
from dagster_gptimg.errors import UsageError
from dagster_gptimg.store.layout import TAKES, parse_image
from dagster_gptimg.store.receipts.facts import Word
from dagster_gptimg.store.takes import Take, Takes
from dagster_gptimg.store.verdicts.verdict_columns import LastVerdicts
from dagster_gptimg.store.verdicts.verdicts import ImageId, Verdicts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dagster_gptimg.engine.job import Job
    from dagster_gptimg.engine.plan.plan import Plan, PlannedRow
    from dagster_gptimg.engine.record.results import RunResults
    from dagster_gptimg.engine.recover.open_receipts import OpenReceipts
    from dagster_gptimg.store.settled.rows import Settled

NAMED = 10


class _Candidate(NamedTuple):
    """A row that has takes, or may get another one.

    Attributes:
        takes: the ends of its requests by take, as far as they have ended, the first take first.
        keys: of the requests of the take behind the newest.
    """

    row_id: str
    first_keys: Sequence[str]
    takes: Sequence[Sequence[Settled | None]]
    keys: Sequence[str]
    has_seed: bool
    is_named: bool

    @property
    def newest(self) -> int:
        """The row's newest take."""
        return len(self.takes) - 1


class _Opening(NamedTuple):
    """A take that this run opens before it buys one of its requests.

    Attributes:
        number: the take's.
        shown: the take that the row has until then.
        is_approved: whether that one has an approved image: then it stays the row's current take.
    """

    row_id: str
    first_keys: Sequence[str]
    keys: Sequence[str]
    number: int
    shown: int
    is_approved: bool


class RunTakes:
    """The takes of the rows of one run. All methods block.

    Attributes:
        opened: how many rows get another take, as was asked for; empty if none.
        refused: which rows get none, and why; empty if there are none.
    """

    def __init__(
        self, job: Job, word: Word, openings: Sequence[_Opening] = (), opened: str = "", refused: str = ""
    ) -> None:
        """`word`: identity of `again` and `regenerate` of this run; `openings`: what it opens."""
        self._job, self._word, self.opened, self.refused = job, word, opened, refused
        self._openings = {key: opening for opening in openings for key in opening.keys}
        self._recorded = set[str]()

    def record(self, key: str) -> bool:
        """Put the take of a request on record, for all requests of its row, before the request is bought.

        Returns:
            Whether there was something to record.

        Raises:
            StoreError: it is not known whether it is on record; nothing of this take may be sent.
        """
        opening = self._openings.get(key)
        if opening is None or opening.row_id in self._recorded:
            return False
        takes, now = Takes(self._job.dataset), self._job.runtime.clock.now()
        for first, mine in zip(opening.first_keys, opening.keys, strict=True):
            takes.create(first, opening.number, Take(key=mine, word=self._word, recorded_at=now))
            self._job.runtime.reached("after take")
        self._recorded.add(opening.row_id)
        return True

    def settle(self, planned: Plan) -> None:
        """Move the rows whose takes were not recorded back to those that they have. Raises `TemporaryError`."""
        self._move(planned, [one for one in self._openings.values() if one.row_id not in self._recorded])

    @property
    def has_approved(self) -> bool:
        """Whether a row that gets another take has an approved one, which stays the current one."""
        return any(one.is_approved for one in self._openings.values())

    def show_approved(self, planned: Plan) -> None:
        """Move the rows that have an approved take back to it. Raises `TemporaryError`."""
        self._move(planned, [one for one in self._openings.values() if one.is_approved])

    @staticmethod
    def _move(planned: Plan, openings: Sequence[_Opening]) -> None:
        if openings:
            planned.move({one.row_id: one.shown for one in openings})


def choose(job: Job, planned: Plan, receipts: OpenReceipts, results: RunResults) -> RunTakes:
    """Move the rows of a plan to the takes that they have, or that `again` and `regenerate` open. Blocks.

    Raises:
        UsageError: a row that is to get another take has a fixed seed; nothing was sent.
        StoreError: takes or verdicts cannot be read; nothing was sent.
        TemporaryError: there is no room for temporary files.
    """
    word, again, named = (
        Word(id=job.options.word or results.run, run=results.run),
        job.options.again,
        job.options.regenerate,
    )
    takes = Takes(job.dataset).read()
    if not takes and not named and REJECTED not in again:
        return RunTakes(job, word)
    last = LastVerdicts(job.dataset)
    every = [one for row in planned if (one := _candidate(row, takes, receipts, results, last, named)) is not None]
    judge = _Judge(job, last, every)
    moves, openings, refused = dict[str, int](), list[_Opening](), dict[str, list[str]]()
    for one in every:
        shown = next((n for n in range(one.newest, -1, -1) if judge.is_approved(one.takes[n])), one.newest)
        moves[one.row_id] = shown
        if not one.is_named and not (REJECTED in again and judge.is_rejected(one.takes[-1])):
            continue
        if why := _why_not(one, takes, word, receipts):
            refused.setdefault(why, []).append(one.row_id)
            continue
        is_approved = judge.is_approved(one.takes[shown])
        openings.append(_Opening(one.row_id, one.first_keys, one.keys, one.newest + 1, shown, is_approved))
        moves[one.row_id] = one.newest + 1
    opened = {opening.row_id for opening in openings}
    _check_seeds([one.row_id for one in every if one.row_id in opened and one.has_seed])
    if any(moves.values()):
        planned.move({row_id: take for row_id, take in moves.items() if take})
    told = "; ".join(f"no other take of {_names(rows)}: {why}" for why, rows in refused.items())
    return RunTakes(job, word, openings, _words(openings, every, job.partition), told)


def _candidate(
    row: PlannedRow,
    takes: Mapping[str, Sequence[Take | None]],
    receipts: OpenReceipts,
    results: RunResults,
    last: LastVerdicts,
    named: frozenset[str],
) -> _Candidate | None:
    """Return a row if it has takes, is named, or has verdicts on its images."""
    newest, is_named = min(len(takes.get(key, ())) for key in row.first_keys), row.row_id in named
    if not newest and not is_named and not any(last.has_any(key) for key in row.first_keys):
        return None
    ends = [
        [None if receipts.is_open(key) else results.settled(key) for key in row.keys_of(take)]
        for take in range(newest + 1)
    ]
    seed = row.requests[0].arguments.get("seed")
    return _Candidate(row.row_id, row.first_keys, ends, row.keys_of(newest + 1), seed is not None, is_named)


def _why_not(one: _Candidate, takes: Mapping[str, Sequence[Take | None]], word: Word, receipts: OpenReceipts) -> str:
    """Return why `again` or `regenerate` opens no other take of a row that it means; empty if it does."""
    if None in one.takes[-1]:
        return "the newest one has not ended"
    if any(end is not None and end.kind == "erased" for end in one.takes[-1]):
        return "they were erased by `forget`"
    earlier = [take for key in one.first_keys for take in takes.get(key, ())]
    if None in earlier:
        return f"an object in {TAKES}/ cannot be read"
    if any(take is not None and take.word.id == word.id for take in earlier):
        return "this word has opened one before"
    newest = [takes[key][one.newest - 1] for key in one.first_keys] if one.newest else []
    if one.is_named and any(take is not None and take.word.run in receipts.runs for take in newest):
        return "the newest one was opened by a run that has not ended"
    return ""


class _Judge:
    """The last verdicts on the images of some rows; one that cannot be read is neither an approval nor a rejection."""

    def __init__(self, job: Job, last: LastVerdicts, rows: Sequence[_Candidate]) -> None:
        """`rows`: those whose images are judged."""
        images = {image for one in rows for ends in one.takes for image in _images(ends)}
        wanted = [(image, number) for image in images if (number := last.number(image))]
        read = Verdicts(job.dataset).read_all(wanted)
        self._verdicts = {image: found.verdict for (image, _), found in read if found is not None}

    def is_approved(self, ends: Sequence[Settled | None]) -> bool:
        """Return whether one of a take's images is approved."""
        return any(self._verdicts.get(image) == "approved" for image in _images(ends))

    def is_rejected(self, ends: Sequence[Settled | None]) -> bool:
        """Return whether a take has images, and each of them is rejected."""
        images = list(_images(ends))
        return bool(images) and all(self._verdicts.get(image) == "rejected" for image in images)


def _images(ends: Sequence[Settled | None]) -> Iterator[ImageId]:
    for end in ends:
        for image in end.images if end is not None and end.kind == "stored" else ():
            if (name := parse_image(image["path"])) is not None:
                yield ImageId(name.key, name.number, image["sha256"])


def _check_seeds(rows: Sequence[str]) -> None:
    if rows:
        msg = f"{counted(len(rows), 'row')} ({_names(rows)}) would get another take"
        raise UsageError(
            f"{msg}, but a fixed seed buys the same picture: leave it empty, or use another one. Nothing was sent"
        )


def _words(
    openings: Sequence[_Opening],
    every: Sequence[_Candidate],
    partition: str | None,
) -> str:
    opened = {opening.row_id for opening in openings}
    shared = [
        one.row_id
        for one in every
        if one.row_id in opened and any(end is not None and end.partition != partition for end in one.takes[-1])
    ]
    gets = "gets" if len(openings) == 1 else "get"
    told = [f"{counted(len(openings), 'row')} {gets} another take"] if openings else []
    told += [f"{len(shared)} of them ({_names(shared)}) share it with rows of another partition"] if shared else []
    return "; ".join(told)


def _names(row_ids: Sequence[str]) -> str:
    return ", ".join(repr(name[:80]) for name in row_ids[:NAMED])
