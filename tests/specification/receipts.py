"""The receipt protocol as an executable specification, explored exhaustively.

    python -m tests.specification.receipts                 every configuration, one line each; exit 1 on a violation
    python -m tests.specification.receipts --break NAME    one rule off: prints the shortest violating trace in words
    python -m tests.specification.receipts --list          the rules
    python -m tests.specification.receipts --as-written    without the last four rules

`protocol.py` has the world and the state table, `outcomes.py` and `runs.py` two parts of it, `steps.py` what may
happen, `properties.py` what must hold; here are the questions.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import deque
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from tests.specification.properties import double, later
from tests.specification.protocol import (
    ASSUMPTIONS,
    BLIP,
    IDLE,
    RULES,
    WORDING,
    Config,
    World,
    first_world,
)
from tests.specification.steps import steps

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from tests.specification.protocol import Fal, Process, Store

Found: TypeAlias = "tuple[int, str, list[str]]"
"""(states, the violation or '', the shortest trace to it)."""

LIMIT = 3_000_000
LIMIT_REACHED = "limit reached, not exhaustive"
EVERY = "abcdefg"
"""What must hold, by its letter in `properties.py`."""

_PLAIN = Config(cancel=False, webhook=False)
_FILES = replace(_PLAIN, words=1, ends="C", files=True)
_TWINS = replace(_PLAIN, keys=2, ends="CF")
CONFIGS = {
    "one key, 3 attempts": Config(attempts=3),
    "one key, 2 attempts, the user's word": Config(words=1),
    "one key, 3 attempts, the user's word": replace(_PLAIN, attempts=3, words=1, ends="CF"),
    "one key, 2 attempts, the word, something unreadable": replace(_PLAIN, words=1, unreadable=True),
    "one key, 2 attempts, the word, a stranger's equal request": replace(_PLAIN, words=1, foreign=True),
    "twins, 1 attempt each, cancel, webhook": Config(keys=2, attempts=1),
    "twins, 2 attempts each": _TWINS,
    "one key, 3 attempts, the word given to two runs": replace(_PLAIN, attempts=3, words=2, ends="U"),
    "one key, 2 attempts, the word, requests that end without images or are lost": Config(
        words=1, ends="CE", lost=True, cancel=False
    ),
    "one key, 3 attempts, the word, images that are gone, put back and pruned": replace(
        _PLAIN, attempts=3, words=1, ends="CF", files=True
    ),
    "one key, 2 attempts, wrongly free": Config(wrong="free?"),
    "one key, 2 attempts, wrongly refused, the word": Config(wrong="refused?", words=1, cancel=False),
    "one key, 2 attempts, wrongly free and lost, the word": Config(wrong="free?", words=1, lost=True, cancel=False),
    "one key, 2 attempts, wrongly refused and lost, the word": Config(
        wrong="refused?", words=1, lost=True, cancel=False
    ),
}
BLIPS = replace(_PLAIN, blip=True)
RESUBMIT = replace(_PLAIN, policy="resubmit", ends="CF")
RESUBMITTING = {
    "resubmit, one key, every assumption holds": RESUBMIT,
    "resubmit, twins, every assumption holds": replace(RESUBMIT, keys=2, ends="C"),
}
BREAKS = {
    "cancel_is_wish": Config(words=1),
    "unreadable_holds": replace(_PLAIN, unreadable=True),
    "name_by_request": Config(words=1),
    "follow_superseded": Config(words=1),
    "search_superseded": replace(_PLAIN, words=1),
    "one_attempt": replace(_PLAIN, words=1),
    "one_owner": _TWINS,
    "distinct_ids": _TWINS,
    "free_needs_reply": _TWINS,
    "deny_adopted": replace(RESUBMIT, keys=2, ends="C"),
    "words_only": replace(_PLAIN, words=1),
    "look_again": replace(_PLAIN, wrong="free?"),
    "stored_wins": replace(_PLAIN, wrong="free?"),
    "reopens": Config(blip=True, attempts=1, cancel=False),
    "given_is_followed": replace(_PLAIN, words=1, lost=True),
    "gone_needs_word": _FILES,
    "gone_is_fetched": _FILES,
    "back_counts": _FILES,
    "word_once": replace(_PLAIN, attempts=3, words=1, ends="CU"),
    "word_of_open_run": replace(_PLAIN, attempts=3, words=2, ends="CU"),
}
"""The configuration in which the lack of a rule shows; the others: the first one."""

DOUBLE = frozenset(
    {
        "exclusive",
        "nonce",
        "nonce_in_memory",
        "intent_first",
        "ambiguous_holds",
        "own_error_only",
        "cancel_is_wish",
        "free_needs_reply",
        "deny_adopted",
        "completed_first",
        "far_apart",
        "look_again",
        "gone_needs_word",
    }
)
"""Rules whose lack ends in a double purchase; a paid image that nobody collects would be found sooner."""

TOO_OFTEN = frozenset({"word_once", "word_of_open_run"})
"""Rules whose lack has a word of the user's buy more than once."""


# -- going through all worlds


def rest(c: Config, world: World) -> World:
    """The same world, with every process idle that can do nothing any more but give way."""
    store, fal, net, procs, runs = world
    return store, fal, net, tuple(IDLE if _is_over(c, world, process) else process for process in procs), runs


def _is_over(c: Config, world: World, process: Process) -> bool:
    store, fal, net, _, _ = world
    doing, *about = process
    if doing == "accept":
        k, n, r = about
        return r in dict(store[k][n][1])
    if doing == "create" and not c.off:
        k, n, _ = about
        return bool(n < len(store[k]))
    if doing == "wait" and not c.off:
        k, n = about
        known_here = dict(store[k][n][1])
        return (k, n) not in net and not any(
            request[:2] == (k, n) and r not in known_here for r, request in enumerate(fal)
        )
    return False


def canon(world: World) -> World:
    """The same for worlds that differ in names only: processes are alike, and request ids are only names."""
    store, fal, net, procs, runs = world
    order = sorted(range(len(fal)), key=fal.__getitem__)
    if order != list(range(len(fal))):
        new = {r: i for i, r in enumerate(order)}
        fal = tuple(fal[r] for r in order)
        procs = tuple((*p[:3], new[p[3]]) if p[0] == "accept" else p for p in procs)
        store = tuple(
            tuple(
                (
                    bad,
                    tuple(sorted((new[r], how) for r, how in accepted)),
                    tuple(sorted((new[r], kinds) for r, kinds in outcomes)),
                    void,
                    word,
                )
                for bad, accepted, outcomes, void, word in attempts
            )
            for attempts in store
        )
    return store, fal, net, tuple(sorted(procs)), runs


def explore(c: Config, only: Collection[str] = EVERY, limit: int = LIMIT) -> Found:
    """All worlds, breadth first, so that a trace is a shortest one. `only`: the violations that are looked for."""
    first = first_world(c)
    parent: dict[World, tuple[World, str] | None] = {canon(first): None}
    judged: dict[tuple[Store, Fal], str] = {}
    queue = deque([first])
    while queue:
        world = queue.popleft()
        bad = double(c, world)
        if bad[:1] not in only:
            bad = ""
        if not bad and "b" in only:
            bad = _judged(c, world, judged)
        if bad:
            return len(parent), bad, _trace(parent, world)
        for words, after, broken in steps(c, world):
            if broken and broken[0] in only:
                return len(parent), broken, [*_trace(parent, world), words]
            following = rest(c, after)
            key = canon(following)
            if key not in parent:
                parent[key] = (world, words)
                queue.append(following)
        if len(parent) > limit:
            return len(parent), LIMIT_REACHED, []
    return len(parent), "", []


def _judged(c: Config, world: World, judged: dict[tuple[Store, Fal], str]) -> str:
    """What a later run would find; each store with each fal is judged once."""
    if world[3] != (IDLE, IDLE):
        return ""
    if world[:2] not in judged:
        judged[world[:2]] = later(c, world)
    return judged[world[:2]]


def _trace(parent: dict[World, tuple[World, str] | None], world: World) -> list[str]:
    words = []
    while (came := parent[canon(world)]) is not None:
        world, step = came
        words.append(step)
    return words[::-1]


# -- the questions, and their answers


def broken(name: str) -> Found:
    """What happens without a rule."""
    off = (name, "one_owner") if name == "distinct_ids" else (name,)  # either of the two alone is enough
    only = "f" if name in TOO_OFTEN else "a" if name in DOUBLE else "d" if name == "unreadable_holds" else EVERY
    return explore(replace(BREAKS.get(name, Config()), off=off), only)


def report(name: str, find: Callable[[], Found]) -> bool:
    """One line; the trace below it when there is a violation. True when all holds."""
    began = time.monotonic()
    states, bad, words = find()
    print(f"{name}: {states:,} states, {time.monotonic() - began:.1f} s: {bad or 'holds'}", flush=True)
    for step in words:
        print("      " + step)
    return not bad


def without(assumption: str) -> str:
    """What policy resubmit comes to when this assumption alone fails; '' when it still holds."""
    return explore(replace(RESUBMIT, assume=frozenset(ASSUMPTIONS) - {assumption}))[1]


def in_one_blip() -> str:
    """What it comes to when two readings, minutes apart, may be of one blip after all."""
    return explore(BLIPS)[1]


def _resubmit() -> bool:
    """Which assumption, when it alone fails, lets policy resubmit buy twice."""
    (one, alone), (both, twins) = RESUBMITTING.items()
    ok = report(one, partial(explore, alone))
    for name, text in ASSUMPTIONS.items():
        print(f"   without {name} ({text}): {without(name) or 'holds'}")
    return report(both, partial(explore, twins)) and ok


def main() -> int:
    """The command line. Returns its exit status: 0 when everything is as it must be (with `--break`: when it broke)."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--break", dest="off", choices=sorted(RULES), metavar="NAME", help="switch this rule off")
    parser.add_argument(
        "--as-written", action="store_true", help="without the changes of wording: " + ", ".join(WORDING)
    )
    parser.add_argument("--list", action="store_true", help="the rules, and what breaks them")
    given = parser.parse_args()
    if given.list:
        print("\n".join(f"{name:20} off: {text}" for name, text in RULES.items()))
        return 0
    if given.off:
        print(f"without {given.off}: {RULES[given.off]}")
        return 1 if report(given.off, partial(broken, given.off)) else 0
    off = WORDING if given.as_written else ()
    ok = [report(name, partial(explore, replace(c, off=off))) for name, c in CONFIGS.items()]
    print(f"   without the assumption about blips ({BLIP}): {in_one_blip() or 'holds'}")
    ok.append(_resubmit())
    return 0 if all(ok) else 1


if __name__ == "__main__":
    sys.exit(main())
