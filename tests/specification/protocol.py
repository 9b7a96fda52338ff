"""The world of the receipt protocol as one immutable value, its rules, and the state table of docs/receipts.md.

store   per key a tuple of attempts; an attempt is (bad, accepted, outcomes, void, word)
          bad       '' or the object of this attempt that is there and cannot be read: intent, accepted, outcome, void
          accepted  ((request, how), ...)   how: reply | webhook | history; the first to create the object decides
          outcomes  ((request, (kind, ...)), ...)  the kinds in the order in which they were recorded (outcomes.py)
          void      '' | proof (not sent, rejected) | word N (given up by the user in run N) | settled (policy resubmit)
          word      the run that opened the attempt at the user's word; 0 for none
fal     ((key, attempt, status), ...)  a request's index is its id; key -1 is somebody else's request
          A queued or running, C completed and billed, F failed free, U refused (billed), E ended without images,
          X removed by a cancel
net     POSTs under way ((key, attempt), ...): each may arrive at any later moment, or never
procs   two processes; one step of work each, kept in memory only
runs    the runs that were begun with the user's word, counted from 1: what a run is, what the word speaks of, and what
        the same word given to several runs at once means, stands in runs.py
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from tests.specification.outcomes import has_images, is_doubtful, is_gone, may_follow, says, with_files

if TYPE_CHECKING:
    from tests.specification.outcomes import Kinds
    from tests.specification.runs import Run

Accepted: TypeAlias = "tuple[tuple[int, str], ...]"
"""(request, how), ..."""
Outcomes: TypeAlias = "tuple[tuple[int, Kinds], ...]"
Attempt: TypeAlias = "tuple[str, Accepted, Outcomes, str, int]"
Attempts: TypeAlias = "tuple[Attempt, ...]"
Store: TypeAlias = "tuple[Attempts, ...]"
Fal: TypeAlias = "tuple[tuple[int, int, str], ...]"
Net: TypeAlias = "tuple[tuple[int, int], ...]"
Process: TypeAlias = "tuple[Any, ...]"
"""What a process does next, and of what: ("idle",), ("create", key, attempt, word), ("send" | "wait" | "void", key,
attempt), ("accept", key, attempt, request)."""
Runs: TypeAlias = "tuple[Run, ...]"
World: TypeAlias = "tuple[Store, Fal, Net, tuple[Process, ...], Runs]"
Owners: TypeAlias = "dict[int, tuple[int, int]]"
"""(key, attempt) by request: for which attempt an id counts."""

RULES = {
    "exclusive": "the create of an intent is not exclusive: a second one succeeds",
    "nonce": "a create whose reply was lost is taken as won, without reading the nonce back",
    "nonce_in_memory": "a restarted process takes the intents of its former life as its own, and sends them",
    "intent_first": "the POST leaves before the intent is on record",
    "ambiguous_holds": "a POST without an answer counts as not sent",
    "own_error_only": "a gateway's 5xx on a read counts as fal's own error: free",
    "completed_first": "a 404 on a status counts as an end, and the error that the result then answers as free",
    "far_apart": "an error of fal's own shape, read once, counts as free (or as ended without images)",
    "words_only": "a typed 4xx on a read (429, 403, 408, 404) counts as a refusal",
    "look_again": "what an earlier version wrote from a single reading is believed",
    "stored_wins": "an image that turns up after another outcome is not recorded",
    "reopens": "a webhook with images that comes after another outcome changes nothing",
    "given_is_followed": "a request that the user has given up is not looked for any more",
    "word_once": "the user's word speaks of what stands on record when its turn comes, not when the run began",
    "word_of_open_run": "the user's word speaks of an attempt that another run has just opened by the same word",
    "gone_needs_word": "a stored image whose file is gone is bought again without the user's word",
    "gone_is_fetched": "a stored image whose file is gone is not fetched from fal again",
    "back_counts": "a deletion on record counts, although the image is in the store again",
    "cancel_is_wish": "202 CANCELLATION_REQUESTED counts as cancelled: free",
    "name_by_request": "images are named by key alone, without the request id",
    "distinct_ids": "history may be adopted by a key although another key has that id",
    "one_owner": "an id found under two keys counts for both",
    "follow_superseded": "only the last attempt's accepted requests are followed",
    "unreadable_holds": "an unreadable intent is taken for a torn write and replaced",
    # Four rules that a first wording lacked; --as-written switches all of them off, to show why they are there.
    "free_needs_reply": "an id adopted from history that ended free opens the next attempt",
    "search_superseded": "history is read for held keys only, not for an attempt that was given up or overtaken",
    "one_attempt": "an id found under two attempts of one key counts for both",
    "deny_adopted": "resubmit: an id that was only adopted from history does not speak against sending again",
}
"""By name: what goes wrong in the code when the rule is switched off."""

WORDING = ("free_needs_reply", "search_superseded", "one_attempt", "deny_adopted")

ASSUMPTIONS = {
    "writer_quick": "who created the intent POSTs within settle, or never (no pause between intent and POST)",
    "post_quick": "a POST reaches fal within settle, or never",
    "fal_quick": "fal ends the request within settle (or its history shows queued ones)",
    "reply_quick": "who got the reply records it within settle, or never",
    "history_whole": "history has no hole: it shows every ended request, or is behind as a whole",
    "history_fresh": "history is not behind as a whole (or of another account) without our noticing",
}
"""Policy resubmit rests on these. Each is a bound by time that nobody can enforce, so each can fail."""

BLIP = "two readings, minutes apart and both of fal's own shape, are not of one blip"
"""The assumption on which it rests that a failure is free, or that a request has ended without images."""

IDLE: Process = ("idle",)
EMPTY: Attempt = ("", (), (), "", 0)


@dataclass(frozen=True)
class Config:
    """One question to the model.

    Attributes:
        keys: request keys whose arguments are equal.
        attempts: attempts of a key at most.
        words: how many runs are begun with the user's word.
        foreign: whether somebody else sends an equal request.
        unreadable: whether one object may turn unreadable.
        ends: how fal may end a request.
        off: rules that are switched off.
        assume: what policy `resubmit` may trust time with; nothing else looks at it.
        wrong: what an earlier version has recorded of the first request, which fal still has, from one reading.
        lost: whether the user's word may give up a request that is followed (again=lost).
        blip: whether two readings, minutes apart, may be of one blip.
        files: whether image files may be gone, be put back, and be pruned.
    """

    keys: int = 1
    attempts: int = 2
    policy: Literal["hold", "resubmit"] = "hold"
    words: int = 0
    foreign: bool = False
    webhook: bool = True
    cancel: bool = True
    unreadable: bool = False
    ends: str = "CFU"
    off: tuple[str, ...] = ()
    assume: frozenset[str] = frozenset(ASSUMPTIONS)
    wrong: Literal["", "free?", "refused?"] = ""
    lost: bool = False
    blip: bool = False
    files: bool = False

    @cached_property
    def rules(self) -> frozenset[str]:
        """The rules that are on."""
        return frozenset(RULES) - set(self.off)

    @cached_property
    def queues(self) -> bool:
        """Whether a request's way through the queue shows: in a cancel and a resubmit only; else it ends on arrival."""
        return self.cancel or self.policy == "resubmit"


def first_world(c: Config) -> World:
    """Nothing has happened yet; or only what an earlier version took for an end."""
    store: Store = ((),) * c.keys
    fal: Fal = ()
    if c.wrong:
        store = ((("", ((0, "reply"),), ((0, (c.wrong,)),), "", 0),), *store[1:])
        fal = ((0, 0, "A"),)
    return store, fal, (), (IDLE, IDLE), ()


# -- reading the receipts


def known(store: Store) -> set[int]:
    """Every id that is on record, under whatever key."""
    return {r for attempts in store for attempt in attempts for r, _ in attempt[1]}


def is_end(c: Config, kinds: Kinds) -> bool:
    """Whether the outcomes of a request end its being followed."""
    kind = says(kinds)
    return kind != "reopened" and not (is_doubtful(kind) and "look_again" in c.rules)


def owners(c: Config, store: Store) -> Owners:
    """For which attempt an id counts: one that has it by reply or webhook, else the lower key and attempt.

    No reply names an id twice here. Where one does, the first of them has it: the code knows the time of each.
    """
    best: dict[int, tuple[bool, int, int]] = {}
    for k, attempts in enumerate(store):
        for n, attempt in enumerate(attempts):
            for r, how in attempt[1]:
                rank = (how == "history" or attempt[0] == "accepted", k, n if "one_attempt" in c.rules else 0)
                if r not in best or rank < best[r]:
                    best[r] = rank
    return {r: rank[1:] for r, rank in best.items()}


def counted(c: Config, own: Owners, k: int, n: int, attempt: Attempt) -> list[tuple[int, str]]:
    """The accepted requests that count for this attempt."""
    if "one_owner" not in c.rules:
        return list(attempt[1])
    return [(r, how) for r, how in attempt[1] if own[r] == (k, n if "one_attempt" in c.rules else 0)]


def state_of(c: Config, store: Store, k: int, own: Owners) -> tuple[str, int, Any]:
    """The state table, line by line: (state, attempt, request or reason)."""
    attempts = store[k]
    last = len(attempts) - 1
    in_flight = _in_flight(c, own, k, attempts)
    if in_flight is not None:
        return "in flight", *in_flight
    for n, attempt in enumerate(attempts):
        if attempt[0] != "outcome" and "stored" in _ends(c, own, k, n, attempt):
            return "done", n, None  # as far as facts tell: who looks into the store may find that the files are gone
    if not attempts:
        return "to buy", 0, None
    if "unreadable_holds" in c.rules:
        for n, attempt in enumerate(attempts):
            if attempt[0]:
                return "held", n, "unreadable " + attempt[0]
    elif attempts[last][0] == "intent":
        return "to buy", last, None
    return _last_attempt(c, own, k, last, attempts[last])


def _in_flight(c: Config, own: Owners, k: int, attempts: Attempts) -> tuple[int, int] | None:
    """The first attempt that has an accepted request without its end, and that request."""
    for n, attempt in enumerate(attempts):
        if n < len(attempts) - 1 and "follow_superseded" not in c.rules:
            continue
        ended = {r for r, kinds in attempt[2] if is_end(c, kinds)}
        for r, _ in counted(c, own, k, n, attempt):
            if r not in ended:
                return n, r
    return None


def _last_attempt(c: Config, own: Owners, k: int, n: int, attempt: Attempt) -> tuple[str, int, Any]:
    kinds = {kind.rstrip("?") for kind in _ends(c, own, k, n, attempt)}
    for kind, state in (("deleted", "missing"), ("refused", "refused"), ("ended", "ended")):
        if kind in kinds:
            return state, n, None
    got = counted(c, own, k, n, attempt)
    free = got and ("free_needs_reply" not in c.rules or any(how != "history" for _, how in got))
    return ("open", n + 1, None) if attempt[3] or free or "given" in kinds else ("held", n, "ambiguous")


def _ends(c: Config, own: Owners, k: int, n: int, attempt: Attempt) -> set[str]:
    """What the outcomes of each request that counts for this attempt say."""
    counts = {r for r, _ in counted(c, own, k, n, attempt)}
    return {_says(c, kinds) for r, kinds in attempt[2] if r in counts}


def _says(c: Config, kinds: Kinds) -> str:
    return "deleted" if "back_counts" not in c.rules and "deleted" in kinds else says(kinds)


def gone(c: Config, store: Store, k: int, own: Owners) -> list[tuple[int, int]]:
    """The stored requests (attempt, request) of a key whose files are gone; none while one of them has its files.

    What a run finds that looks into the store, for a key that is done or missing.
    """
    stored = [
        (n, r, kinds)
        for n, attempt in enumerate(store[k])
        for r, kinds in attempt[2]
        if has_images(kinds) and r in {x for x, _ in counted(c, own, k, n, attempt)}
    ]
    return [(n, r) for n, r, _ in stored] if all(is_gone(kinds) for *_, kinds in stored) else []


def searching(c: Config, store: Store, k: int, own: Owners) -> list[int]:
    """The attempts that a run looks for in history: no id of their own, and no proof that none exists."""
    state, n, why = state_of(c, store, k, own)
    if "search_superseded" not in c.rules:
        held = state == "held" and why == "ambiguous"
        return [n] if held and not counted(c, own, k, n, store[k][n]) else []
    found = []
    for n, attempt in enumerate(store[k]):
        got, ends = counted(c, own, k, n, attempt), {r: says(kinds) for r, kinds in attempt[2]}
        settled = any(how != "history" or ends.get(r, "stored") in {"stored", "deleted"} for r, how in got)
        if not attempt[0] and attempt[3] != "proof" and not settled:
            found.append(n)
    return found


# -- writing facts


def put(
    store: Store,
    k: int,
    n: int,
    *,
    bad: str | None = None,
    accepted: tuple[int, str] | None = None,
    outcome: tuple[int, str] | None = None,
    void: str = "",
    word: int | None = None,
) -> Store:
    """Create one fact exclusively: what is there already stays as it is.

    An outcome is put behind those of its request, where it may follow them.
    """
    attempts = list(store[k])
    while len(attempts) <= n:
        attempts.append(EMPTY)
    was_bad, got, outs, was_void, was_word = attempts[n]
    if accepted is not None and accepted[0] not in {r for r, _ in got}:
        got = tuple(sorted((*got, accepted)))
    if outcome is not None:
        ends, (request, kind) = dict(outs), outcome
        kinds = ends.get(request, ())
        if may_follow(kinds, kind):
            ends[request] = with_files((*kinds, kind), there=not is_gone(kinds))
            outs = tuple(sorted(ends.items()))
    new_bad, new_word = was_bad if bad is None else bad, was_word if word is None else word
    attempts[n] = (new_bad, got, outs, was_void or void, new_word)
    return (*store[:k], tuple(attempts), *store[k + 1 :])


def files(store: Store, k: int, r: int, *, there: bool) -> Store:
    """The same facts, with the image files of a stored request there, or gone: they are named by key and request."""
    attempts: list[Attempt] = []
    for bad, got, outs, void, word in store[k]:
        ends = {x: with_files(kinds, there=there) if x == r and has_images(kinds) else kinds for x, kinds in outs}
        attempts.append((bad, got, tuple(sorted(ends.items())), void, word))
    return (*store[:k], tuple(attempts), *store[k + 1 :])
