"""Runs that are begun with the user's word, and what the word of each of them speaks of.

A run is one start of the program, from its beginning to the mark of its end. It may be killed: then it has no end mark,
and nobody can tell it from one that still goes on. Any process of the model may do the work of any run.

The user's word is what a person says when a run begins: again=held, again=refused or again=lost, "buy this once more,
although it may be paid for already". It speaks of what stood on record when that run began, and of nothing that was
opened later. Each word buys a key once more at most, and nothing else does.

The same word given to several runs at once: a person, or a scheduler, starts several runs by one command (one for each
partition, or a retry), so that a run begins with the word while another run with the word still goes on. Both mean the
same purchase: the second word speaks of no attempt that the first one has opened, and counts as no further permission.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from tests.specification.outcomes import kind_of
from tests.specification.protocol import EMPTY, IDLE, Config, state_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.specification.protocol import Attempt, Attempts, Owners, Runs, World


class Run(NamedTuple):
    """One run that was begun with the user's word; runs are counted from 1, in the order in which they began.

    Attributes:
        speaks: how many attempts of each key its word speaks of: those with a lower number.
        has_ended: whether it has marked its end.
        counts: False for the same word given to several runs at once: no further permission.
    """

    speaks: tuple[int, ...]
    has_ended: bool
    counts: bool


def given_up_by(attempt: Attempt) -> int:
    """The run by whose word an attempt was given up; 0 for none."""
    words = chain([attempt[3]], *(kinds for _, kinds in attempt[2]))
    return next((int(word.split()[1]) for word in words if word and kind_of(word) in {"word", "given"}), 0)


def opened_by(attempts: Attempts) -> list[int]:
    """By whose word each attempt was opened: said when it was opened, or when the one before it was given up."""
    return [attempt[4] or given_up_by(before) for before, attempt in zip((EMPTY, *attempts), attempts, strict=False)]


def spoken_of(c: Config, attempts: Attempts, going: set[int]) -> int:
    """How many attempts of a key the word of a new run speaks of.

    None that a run which still goes on (`going`) has opened by its word, and none behind it.
    """
    if "word_of_open_run" not in c.rules:
        return len(attempts)
    return next((n for n, run in enumerate(opened_by(attempts)) if run in going), len(attempts))


def meant(c: Config, runs: Runs, k: int, n: int) -> int:
    """The run whose word speaks of attempt `n` of a key; 0 for none."""
    for number, run in enumerate(runs, 1):
        if not run.has_ended and ("word_once" not in c.rules or n < run.speaks[k]):
            return number
    return 0


def run_steps(c: Config, world: World, own: Owners) -> Iterator[tuple[str, Runs]]:
    """The runs that may end now, and the one that may begin: (words, all runs after it)."""
    store, _, _, procs, runs = world
    for number, run in enumerate(runs, 1):
        if not run.has_ended and procs == (IDLE, IDLE) and not _is_open(c, world, own):
            yield (
                f"run {number} marks its end",
                (*runs[: number - 1], run._replace(has_ended=True), *runs[number:]),
            )
    if len(runs) < c.words and any(store):
        going = {number for number, run in enumerate(runs, 1) if not run.has_ended}
        speaks = tuple(spoken_of(c, attempts, going) for attempts in store)
        yield (
            f"run {len(runs) + 1} begins, with the user's word",
            (*runs, Run(speaks, has_ended=False, counts=not going)),
        )


def _is_open(c: Config, world: World, own: Owners) -> bool:
    """Whether a run has to leave its end unmarked."""
    return any(state_of(c, world[0], k, own)[0] in {"in flight", "held"} for k in range(c.keys))
