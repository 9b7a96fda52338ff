"""The receipt protocol as an executable specification, explored exhaustively.

    python -m tests.specification.receipts                 every configuration, one line each; exit 1 on a violation
    python -m tests.specification.receipts --break NAME    one rule off: prints the shortest violating trace in words
    python -m tests.specification.receipts --list          the rules
    python -m tests.specification.receipts --as-written    without the last four rules

`protocol.py` has the world and the state table, `steps.py` what may happen; here is what must hold.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import deque
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

from tests.specification.protocol import (
    ASSUMPTIONS,
    IDLE,
    RULES,
    WORDING,
    Config,
    World,
    known,
    owners,
    put,
    searching,
    state_of,
)
from tests.specification.steps import steps

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from tests.specification.protocol import Fal, Process, Store

Found: TypeAlias = "tuple[int, str, list[str]]"
"""(states, the violation or '', the shortest trace to it)."""

LIMIT = 3_000_000
LIMIT_REACHED = "limit reached, not exhaustive"
MOST_STEPS = 40
"""Steps after which a run without faults has certainly come to rest."""

_PLAIN = Config(cancel=False, webhook=False)
_TWINS = replace(_PLAIN, keys=2, ends="CF")
CONFIGS = {
    "one key, 3 attempts": Config(attempts=3),
    "one key, 2 attempts, the user's word": Config(words=1),
    "one key, 3 attempts, the user's word": replace(_PLAIN, attempts=3, words=1, ends="CF"),
    "one key, 2 attempts, the word, something unreadable": replace(_PLAIN, words=1, unreadable=True),
    "one key, 2 attempts, the word, a stranger's equal request": replace(_PLAIN, words=1, foreign=True),
    "twins, 1 attempt each, cancel, webhook": Config(keys=2, attempts=1),
    "twins, 2 attempts each": _TWINS,
}
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
    }
)
"""Rules whose lack ends in a double purchase; a paid image that nobody collects would be found sooner."""


# -- what must hold


def double(c: Config, world: World) -> str:
    """(a) no key has two billed successes without the user's word between them."""
    store, fal = world[:2]
    for k in range(c.keys):
        paid = sorted(n for key, n, status in fal if key == k and status == "C")
        for n, m in pairwise(paid):
            if n == m or not _is_spoken(store, k, n, m):
                return f"a: key {k} is paid for twice without the user's word (attempts {n} and {m})"
    return ""


def _is_spoken(store: Store, k: int, n: int, m: int) -> bool:
    """Whether the user has given the word for attempt m after n: by opening an attempt, or by giving one up."""
    spoken = enumerate(store[k][n : m + 1], n)
    return any((word and x > n) or (void == "word" and x < m) for x, (_, _, _, void, word) in spoken)


def later(c: Config, world: World) -> str:
    """(b) and (c): every process is gone, the faults are over, one more run comes."""
    unreadable = any(attempt[0] for attempts in world[0] for attempt in attempts)
    for history in (True, False):
        end, fal = _fault_free_run(c, world[0], world[1], history=history)
        if end is None:
            return "c: a fault-free run never comes to rest"
        found = _stuck(c, end) or _uncollected(end, fal, history=history, unreadable=unreadable)
        if not found and history and c.keys > 1:
            found = _shared(c, end)
        if found:
            return found
    return ""


def _stuck(c: Config, end: Store) -> str:
    own = owners(c, end)
    for k in range(c.keys):
        state, n, _ = state_of(c, end, k, own)
        if not (state in {"done", "refused", "held"} or (state == "open" and n >= c.attempts)):
            return f"c: key {k} stays {state} for ever"
    return ""


def _uncollected(end: Store, fal: Fal, *, history: bool, unreadable: bool) -> str:
    kept = _kept(end)
    paid = {r for r, (k, _, status) in enumerate(fal) if k >= 0 and status == "C"}
    if not history:
        paid &= known(end)  # fal's queue can only be asked for an id that is on record
    lost = paid - kept
    strangers = sum(fal[r][0] < 0 for r in kept)  # an equal image of the same account stands in for ours
    if len(lost) > strangers and not unreadable:
        return f"b: R{min(lost)} is paid for and shown, and no later run collects it"
    return ""


def _kept(end: Store) -> set[int]:
    return {r for attempts in end for attempt in attempts for r, kind in attempt[2] if kind == "stored"}


def _shared(c: Config, end: Store) -> str:
    own = owners(c, end)
    for r in _kept(end):
        serves = [
            k
            for k in range(c.keys)
            if any(
                x == r and kind == "stored"
                for attempt in end[k]
                for x, kind in attempt[2]
                if "one_owner" not in c.rules or own[x][0] == k
            )
        ]
        if len(serves) > 1:
            return f"b: R{r} serves keys {serves}: one image where two were paid for"
    return ""


def _fault_free_run(c: Config, store: Store, fal: Fal, *, history: bool) -> tuple[Store | None, Fal]:
    """One process, everything answers: fal ends what it has, history shows all of it (or cannot be reached)."""
    fal = tuple((k, n, "C" if status == "A" else status) for k, n, status in fal)
    for _ in range(MOST_STEPS):
        after = _fault_free_step(c, store, fal, history=history)
        if after is None:
            return store, fal
        store, fal = after
    return None, fal


def _fault_free_step(c: Config, store: Store, fal: Fal, *, history: bool) -> tuple[Store, Fal] | None:
    """The next thing that such a run does; None when there is nothing left to do."""
    own = owners(c, store)
    for k in range(c.keys):
        state, n, r = state_of(c, store, k, own)
        after = store
        if state == "in flight":
            kind = {"C": "stored", "F": "free"}.get(fal[r][2], "refused")
            after = put(store, k, n, outcome=(r, kind))
        elif state in {"to buy", "open"} and n < c.attempts:
            if n < len(store[k]) and store[k][n][0] == "intent":
                return None  # a broken rule would replace it: not a fault-free matter
            fal = (*fal, (k, n, "C"))
            after = put(store, k, n, accepted=(len(fal) - 1, "reply"))
        if after == store and history:
            after = _adopted(store, fal, k, searching(c, store, k, own))
        if after != store:
            return after, fal
    return None


def _adopted(store: Store, fal: Fal, k: int, wanted: list[int]) -> Store:
    unknown = [r for r in range(len(fal)) if r not in known(store)]
    return put(store, k, wanted[0], accepted=(unknown[0], "history")) if wanted and unknown else store


# -- going through all worlds


def rest(c: Config, world: World) -> World:
    """The same world, with every process idle that can do nothing any more but give way."""
    store, fal, net, procs = world
    return store, fal, net, tuple(IDLE if _is_over(c, world, process) else process for process in procs)


def _is_over(c: Config, world: World, process: Process) -> bool:
    store, fal, net, _ = world
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
    store, fal, net, procs = world
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
                    tuple(sorted((new[r], kind) for r, kind in outcomes)),
                    void,
                    word,
                )
                for bad, accepted, outcomes, void, word in attempts
            )
            for attempts in store
        )
    return store, fal, net, tuple(sorted(procs))


def first_world(c: Config) -> World:
    """Nothing has happened yet."""
    return ((),) * c.keys, (), (), (IDLE, IDLE)


def explore(c: Config, only: Collection[str] = "abcde", limit: int = LIMIT) -> Found:
    """All worlds, breadth first, so that a trace is a shortest one. `only`: the violations that are looked for."""
    first = first_world(c)
    parent: dict[World, tuple[World, str] | None] = {canon(first): None}
    judged: dict[tuple[Store, Fal], str] = {}
    queue = deque([first])
    while queue:
        world = queue.popleft()
        if bad := double(c, world) or ("b" in only and _judged(c, world, judged)) or "":
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
    only = "a" if name in DOUBLE else "d" if name == "unreadable_holds" else "abcde"
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
    ok.append(_resubmit())
    return 0 if all(ok) else 1


if __name__ == "__main__":
    sys.exit(main())
