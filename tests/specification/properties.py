"""What must hold in every world that can be reached.

a  no key has two billed successes without the user's word between them
b  what was paid for and is shown by fal is collected, and serves one key
c  a run without faults comes to rest, and leaves no key in flight
d  nothing is bought while an object is there that cannot be read (`steps.py` says so)
e  no image overwrites another one (`steps.py` says so)
f  no word of the user's buys a key more than once
g  no word of the user's buys what is in the store at that moment (`steps.py` says so)
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from tests.specification.outcomes import has_images, is_gone, says
from tests.specification.protocol import Config, World, files, gone, known, owners, put, searching, state_of
from tests.specification.runs import given_up_by, opened_by
from tests.specification.steps import reopens

if TYPE_CHECKING:
    from tests.specification.outcomes import Kinds
    from tests.specification.protocol import Fal, Store

MOST_STEPS = 40
"""Steps after which a run without faults has certainly come to rest."""

AT_REST = frozenset({"done", "missing", "refused", "ended", "held"})


def double(c: Config, world: World) -> str:
    """(a) and (f): what has been bought too often, or ''."""
    store, fal, _, _, runs = world
    words = sum(run.counts for run in runs)
    for k in range(c.keys):
        paid = sorted(n for key, n, status in fal if key == k and status == "C")
        for n, m in pairwise(paid):
            if n == m or not _is_spoken(store, k, n, m):
                return f"a: key {k} is paid for twice without the user's word (attempts {n} and {m})"
        if sum(map(bool, opened_by(store[k])[1:])) > words:
            return f"f: key {k} was bought again more often than the user has said"
    return ""


def _is_spoken(store: Store, k: int, n: int, m: int) -> bool:
    """Whether the user has given the word for attempt m after n: by opening an attempt, or by giving one up."""
    spoken = enumerate(store[k][n : m + 1], n)
    return any((attempt[4] and x > n) or (given_up_by(attempt) and x < m) for x, attempt in spoken)


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
        if not (state in AT_REST or (state == "open" and n >= c.attempts)):
            return f"c: key {k} stays {state} for ever"
    return ""


def _uncollected(end: Store, fal: Fal, *, history: bool, unreadable: bool) -> str:
    kept = _kept(end)
    paid = {r for r, (k, _, status) in enumerate(fal) if k >= 0 and status == "C"}
    if not history:
        paid &= known(end)  # fal's queue can only be asked for an id that is on record
    lost = paid - kept - _spare(end)
    strangers = sum(fal[r][0] < 0 for r in kept | _spare(end))  # an equal image of the account stands in for ours
    if len(lost) > strangers and not unreadable:
        return f"b: R{min(lost)} is paid for and shown, and no later run collects it"
    return ""


def _kept(end: Store) -> set[int]:
    """The requests whose images are in the store."""
    return {r for attempts in end for attempt in attempts for r, kinds in attempt[2] if _is_there(kinds)}


def _spare(end: Store) -> set[int]:
    """The requests that were collected, whose files are gone, and whose key has the images of another one."""
    found = set[int]()
    for attempts in end:
        every = [pair for attempt in attempts for pair in attempt[2]]
        if any(_is_there(kinds) for _, kinds in every):
            found |= {r for r, kinds in every if is_gone(kinds)}
    return found


def _is_there(kinds: Kinds) -> bool:
    return has_images(kinds) and not is_gone(kinds)


def _shared(c: Config, end: Store) -> str:
    own = owners(c, end)
    for r in _kept(end):
        serves = [
            k
            for k in range(c.keys)
            if any(
                x == r and has_images(kinds)
                for attempt in end[k]
                for x, kinds in attempt[2]
                if "one_owner" not in c.rules or own[x][0] == k
            )
        ]
        if len(serves) > 1:
            return f"b: R{r} serves keys {serves}: one image where two were paid for"
    return ""


def _fault_free_run(c: Config, store: Store, fal: Fal, *, history: bool) -> tuple[Store | None, Fal]:
    """One process, everything answers: fal ends what it has, history shows all of it (or cannot be reached).

    Webhooks that are still under way arrive first.
    """
    fal = tuple((k, n, "C" if status == "A" else status) for k, n, status in fal)
    for r, (k, n, _) in enumerate(fal):
        if reopens(c, store, fal, r):
            store = put(store, k, n, outcome=(r, "reopened"))
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
            after = _read(c, store, fal, k, n, r)
        elif (fetched := _fetched(c, store, fal, k)) != store:
            after = fetched
        elif state in {"to buy", "open"} and n < c.attempts:
            if n < len(store[k]) and store[k][n][0] == "intent":
                return None  # a broken rule would replace it: not a fault-free matter
            fal = (*fal, (k, n, "C"))
            after = put(store, k, n, accepted=(len(fal) - 1, "reply"))
        after = _collect_given_up(c, after, fal, k)
        if after == store and history:
            after = _adopted(store, fal, k, searching(c, store, k, own))
        if after != store:
            return after, fal
    return None


def _read(c: Config, store: Store, fal: Fal, k: int, n: int, r: int) -> Store:
    """A request's end, as fal has it, on record."""
    kind = {"C": "stored", "F": "free", "U": "refused"}.get(fal[r][2], "ended")
    if kind == "stored" and "stored_wins" not in c.rules and dict(store[k][n][2]).get(r):
        return store
    return put(store, k, n, outcome=(r, kind))


def _fetched(c: Config, store: Store, fal: Fal, k: int) -> Store:
    """The images that are gone from the store, and that fal still has."""
    for _, r in gone(c, store, k, owners(c, store)) if "gone_is_fetched" in c.rules else ():
        if fal[r][2] == "C":
            return files(store, k, r, there=True)
    return store


def _collect_given_up(c: Config, store: Store, fal: Fal, k: int) -> Store:
    """The images of what the user no longer waits for."""
    for n, attempt in enumerate(store[k]) if "given_is_followed" in c.rules else ():
        for r, kinds in attempt[2]:
            if says(kinds) == "given" and fal[r][2] == "C":
                store = put(store, k, n, outcome=(r, "stored"))
    return store


def _adopted(store: Store, fal: Fal, k: int, wanted: list[int]) -> Store:
    unknown = [r for r in range(len(fal)) if r not in known(store)]
    return put(store, k, wanted[0], accepted=(unknown[0], "history")) if wanted and unknown else store
