"""Takes as an executable specification: another take of a row is opened once for a word, and never bought in secret.

    python -m tests.specification.takes                 every configuration, one line each; exit 1 on a violation
    python -m tests.specification.takes --break NAME    one rule off: prints the shortest violating trace in words

A take is a number in the request key, absent for the first one (0). So each take of a request is a key of its own, for
which `receipts.py` holds: its intent is created exclusively, and it is bought once. What is left is specified here:
when take n exists. That is a fact of its own for each key, created exclusively, with the word that opened it.

A row has several requests, and rows share keys. A row's take is the highest that every one of its keys has: so all
requests of a row move together, also when a process was killed between two of its facts, and no row is moved because of
another one that shares one of its keys.

world
  takes   per key the words by which its takes 1, 2, ... were opened
  states  per key and take: '' not bought, A in flight, S stored, X rejected, Y rejected once and not any more,
          U ended without images
  procs   two processes: None, or (row, take, how many of the row's facts it has dealt with, word)
  runs    the runs that were begun with the user's word

A run decides when it begins, from what it then reads; any process may do the work of any run, at any later time, and
may be killed. A run without an end mark may be started again with the same word (a retry).
"""

from __future__ import annotations

import argparse
import sys
from collections import deque
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

Takes: TypeAlias = "tuple[tuple[int, ...], ...]"
States: TypeAlias = "tuple[tuple[str, ...], ...]"
Process: TypeAlias = "tuple[int, int, int, int] | None"
World: TypeAlias = "tuple[Takes, States, tuple[Process, ...], tuple[Run, ...]]"
Step: TypeAlias = "tuple[str, World]"

RULES = {
    "take_exclusive": "whoever opens a take creates the next one, instead of the one that it decided on, exclusively",
    "take_before_money": "a take is bought before it is on record that it exists",
    "newest_ended": "a take is opened although a request of the newest one has not ended",
    "all_rejected": "again=rejected opens a take although an image is left that is not rejected",
    "has_images": "again=rejected opens a take because the newest one has no images at all",
    "all_keys_move": "a row's take is the highest that one of its keys has",
    "word_opens_once": "a word opens a take although it has opened one: a retry buys another",
    "word_of_open_run": "regenerate opens a take behind one that a run which still goes on has just opened",
}
"""By name: what goes wrong in the code when the rule is switched off."""


class Run(NamedTuple):
    """One run that was begun with the user's word; runs are counted from 1.

    Attributes:
        row: the row that `regenerate` names; -1 for again=rejected, which means all.
        opens: by row, the take that it decided to open; 0 for none.
        has_ended: whether it has marked its end.
        ended: the runs that had marked their ends when it began.
    """

    row: int
    opens: tuple[int, ...]
    has_ended: bool = False
    ended: tuple[int, ...] = ()


@dataclass(frozen=True)
class Config:
    """One question to the model.

    Attributes:
        rows: the keys of each row.
        most: takes of a key at most, the first one included.
        words: number of runs with a word.
        regenerates: whether a word may be `regenerate`.
        off: rules that are switched off.
    """

    rows: tuple[tuple[int, ...], ...] = ((0,),)
    most: int = 3
    words: int = 2
    regenerates: bool = True
    off: tuple[str, ...] = ()

    def has(self, rule: str) -> bool:
        """Whether a rule is on."""
        return rule not in self.off

    @property
    def keys(self) -> range:
        """All keys."""
        return range(1 + max(k for row in self.rows for k in row))


CONFIGS = {
    "one row of one request, 2 takes": Config(most=2),
    "one row of one request": Config(),
    "one row of one request, again=rejected, three words": Config(words=3, regenerates=False),
    "one row of two requests": Config(((0, 1),), most=2),
    "two rows that share a request": Config(((0, 1), (0,)), most=2),
}
BREAKS = {"all_keys_move": CONFIGS["two rows that share a request"]}
"""The configuration in which the lack of a rule shows; the others: the first one."""


def first_world(c: Config) -> World:
    """The first takes are bought and stored; nothing else has happened."""
    return ((),) * len(c.keys), (("S",) + ("",) * (c.most - 1),) * len(c.keys), (None, None), ()


def take_of(c: Config, takes: Takes, row: int) -> int:
    """A row's newest take."""
    return (min if c.has("all_keys_move") else max)(len(takes[k]) for k in c.rows[row])


def opens(c: Config, world: World, number: int, row: int, named: int) -> int:
    """The take of a row that run `number` decides to open when it begins; 0 for none. `named`: by regenerate, or -1."""
    takes, states, _, runs = world
    take = take_of(c, takes, row)
    if named not in {-1, row} or take + 1 >= c.most:
        return 0
    ends = [states[k][take] for k in c.rows[row]]
    if c.has("newest_ended") and not {"", "A"}.isdisjoint(ends):
        return 0
    if c.has("word_opens_once") and any(number in takes[k] for k in c.rows[row]):
        return 0
    if named >= 0:
        going = {n for n, run in enumerate(runs, 1) if not run.has_ended and n != number}
        by = {takes[k][take - 1] for k in c.rows[row]} if take and c.has("all_keys_move") else set()
        return 0 if c.has("word_of_open_run") and by & going else take + 1
    if c.has("has_images") and {"S", "X", "Y"}.isdisjoint(ends):
        return 0
    return 0 if c.has("all_rejected") and not {"S", "Y"}.isdisjoint(ends) else take + 1


def steps(c: Config, world: World) -> Iterator[Step]:
    """Every step from here."""
    yield from _of_people(c, world)
    yield from _of_fal(c, world)
    yield from _of_runs(c, world)
    for number in range(2):
        yield from _of_process(c, world, number)


def _with(states: States, k: int, t: int, state: str) -> States:
    return (*states[:k], (*states[k][:t], state, *states[k][t + 1 :]), *states[k + 1 :])


def _of_people(c: Config, world: World) -> Iterator[Step]:
    takes, states, procs, runs = world
    for k in c.keys:
        for t, state in enumerate(states[k]):
            if state in {"S", "Y"}:
                yield f"the image of key {k} take {t} is rejected", (takes, _with(states, k, t, "X"), procs, runs)
            elif state == "X":
                yield f"the image of key {k} take {t} is approved", (takes, _with(states, k, t, "Y"), procs, runs)


def _of_fal(c: Config, world: World) -> Iterator[Step]:
    takes, states, procs, runs = world
    for k in c.keys:
        for t, state in enumerate(states[k]):
            for end in "SU" if state == "A" else "":
                words = f"key {k} take {t} {'is stored' if end == 'S' else 'ends without images'}"
                yield words, (takes, _with(states, k, t, end), procs, runs)


def _of_runs(c: Config, world: World) -> Iterator[Step]:
    takes, states, procs, runs = world
    number, ended = len(runs) + 1, tuple(n for n, run in enumerate(runs, 1) if run.has_ended)
    for row in (-1, *(range(len(c.rows)) if c.regenerates else ())) if len(runs) < c.words else ():
        decided = tuple(opens(c, world, number, one, row) for one in range(len(c.rows)))
        words = f"run {number} begins with {'again=rejected' if row < 0 else f'regenerate row {row}'}"
        yield words, (takes, states, procs, (*runs, Run(row, decided, ended=ended)))
    for n, run in enumerate(runs, 1):
        if run.has_ended:
            continue
        again = tuple(opens(c, world, n, one, run.row) for one in range(len(c.rows)))
        if again != run.opens:
            words = f"run {n} is started again, with the same word"
            started = run._replace(opens=again, ended=ended)
            yield words, (takes, states, procs, (*runs[: n - 1], started, *runs[n:]))
        if procs == (None, None) and not any("A" in some for some in states):
            words = f"run {n} marks its end"
            yield words, (takes, states, procs, (*runs[: n - 1], run._replace(has_ended=True), *runs[n:]))


def _of_process(c: Config, world: World, number: int) -> Iterator[Step]:
    takes, states, procs, runs = world
    name = "PQ"[number]

    def then(doing: Process) -> tuple[Process, ...]:
        return (*procs[:number], doing, *procs[number + 1 :])

    doing = procs[number]
    if doing is not None:
        yield f"{name} is killed", (takes, states, then(None), runs)
        row, take, place, word = doing
        k = c.rows[row][place]
        after = (row, take, place + 1, word) if place + 1 < len(c.rows[row]) else None
        is_there = len(takes[k]) >= take and c.has("take_exclusive")
        if is_there or len(takes[k]) + 1 >= c.most:
            yield f"{name} finds take {take} of key {k} there", (takes, states, then(after), runs)
        else:
            made = (*takes[:k], (*takes[k], word), *takes[k + 1 :])
            yield f"{name} records that key {k} has another take, by run {word}", (made, states, then(after), runs)
        return
    for row, keys in enumerate(c.rows):
        newest = take_of(c, takes, row)
        for k in keys:
            if not states[k][newest]:
                words = f"{name} buys key {k} take {newest} for row {row}"
                yield words, (takes, _with(states, k, newest, "A"), procs, runs)
        for n, run in enumerate(runs, 1):
            if run.opens[row] and not run.has_ended:
                words, bought = f"{name} will open take {run.opens[row]} of row {row} for run {n}", states
                if not c.has("take_before_money") and not states[keys[0]][run.opens[row]]:
                    words, bought = f"{words}, and buys it", _with(states, keys[0], run.opens[row], "A")
                yield words, (takes, bought, then((row, run.opens[row], 0, n)), runs)


def wrong(c: Config, world: World) -> str:
    """What must hold in every world that can be reached; '' if it does.

    a  what is bought is a take that is on record
    b  again=rejected opens a take behind one that has ended, has images, and whose images were rejected, each of them;
       regenerate behind one that has ended
    c  a word opens one take of a key at most
    d  regenerate, given to several runs at once, opens one take: none behind that of a run which still went on
    """
    takes, states, _, runs = world
    for k in c.keys:
        for t, state in enumerate(states[k]):
            if state and t > len(takes[k]):
                return f"a: key {k} take {t} is bought, and no record says that it exists"
        for t, word in enumerate(takes[k]):
            if not any(_may_follow(states, row, t, runs[word - 1]) for row in c.rows if k in row):
                return f"b: take {t + 1} of key {k} was opened behind one that has not ended, or was not rejected"
        if len({*takes[k]}) < len(takes[k]):
            return f"c: a word has opened two takes of key {k}"
        for before, word in pairwise(takes[k]):
            both = runs[before - 1].row >= 0 and runs[word - 1].row >= 0
            if both and before not in runs[word - 1].ended:
                return f"d: regenerate, given to runs {before} and {word} at once, has bought key {k} twice"
    return ""


def _may_follow(states: States, row: tuple[int, ...], take: int, run: Run) -> bool:
    ends = {states[k][take] for k in row}
    has_ended = ends <= {"S", "X", "Y", "U"}
    return has_ended and (run.row >= 0 or (bool(ends & {"X", "Y"}) and "S" not in ends))


def explore(c: Config) -> tuple[int, str, list[str]]:
    """All worlds, breadth first: (states, the violation or '', the shortest trace to it)."""
    first = first_world(c)
    parent: dict[World, tuple[World, str] | None] = {first: None}
    queue = deque([first])
    while queue:
        world = queue.popleft()
        if bad := wrong(c, world):
            return len(parent), bad, _trace(parent, world)
        for words, (takes, states, procs, runs) in steps(c, world):
            after = takes, states, tuple(sorted(procs, key=repr)), runs  # processes are alike
            if after not in parent:
                parent[after] = (world, words)
                queue.append(after)
    return len(parent), "", []


def _trace(parent: dict[World, tuple[World, str] | None], world: World) -> list[str]:
    words = []
    while (came := parent[world]) is not None:
        world, step = came
        words.append(step)
    return words[::-1]


def broken(rule: str) -> tuple[int, str, list[str]]:
    """What happens without a rule."""
    return explore(replace(BREAKS.get(rule, Config()), off=(rule,)))


def main() -> int:
    """The command line. Returns its exit status: 0 when everything is as it must be (with `--break`: when it broke)."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--break", dest="off", choices=sorted(RULES), metavar="NAME", help="switch this rule off")
    off = parser.parse_args().off
    rule = f"without {off}: {RULES[off]}" if off else ""
    questions = {rule: replace(BREAKS.get(off, Config()), off=(off,))} if off else CONFIGS
    is_well = True
    for name, config in questions.items():
        count, bad, trace = explore(config)
        print(f"{name}: {count:,} states: {bad or 'holds'}")
        print("\n".join(f"      {step}" for step in trace), end="\n" if trace else "")
        is_well &= bool(bad) if off else not bad
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
