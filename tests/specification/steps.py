"""What may happen next: every step is one atomic effect on the store or on fal.

No clock exists: every pause is unbounded. A process may be killed in every state, as often as it likes (this covers
time-outs too); it forgets everything, its nonce included. A read that fails has no effect, so it is 'no step'.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from tests.specification.outcomes import has_images, is_gone, says
from tests.specification.protocol import (
    IDLE,
    Config,
    World,
    counted,
    files,
    gone,
    known,
    owners,
    put,
    searching,
    state_of,
)
from tests.specification.runs import meant, run_steps

if TYPE_CHECKING:
    from tests.specification.outcomes import Kinds
    from tests.specification.protocol import Fal, Net, Process, Runs, Store

Step: TypeAlias = "tuple[str, World, str]"
"""(words, the world after it, what it violates or '')."""

ENDS = {
    "A": "waits in the queue",
    "C": "completes: BILLED",
    "F": "fails, free",
    "U": "is refused (422)",
    "E": "ends without images",
}

WORDS = {"refused": "refused", "ended": "lost", "missing": "missing"}
"""By state, the user's word that buys such a request once more."""


def steps(c: Config, world: World) -> list[Step]:
    """Every step from here."""
    found = _Steps(c, world)
    found.of_the_network()
    found.of_fal()
    found.of_others()
    found.of_files()
    found.of_runs()
    for number in range(len(world[3])):
        found.of_process(number)
    return found.steps


class _Steps:
    """The steps from one world; `number` is the process whose turn it is."""

    def __init__(self, c: Config, world: World) -> None:
        self.c, self.world = c, world
        self.store, self.fal, self.net, self.procs, self.runs = world
        self.own = owners(c, self.store)
        self.number = 0
        self.steps: list[Step] = []

    def add(
        self,
        words: str,
        *,
        store: Store | None = None,
        fal: Fal | None = None,
        net: Net | None = None,
        procs: tuple[Process, ...] | None = None,
        runs: Runs | None = None,
        bad: str = "",
    ) -> None:
        after = (
            self.store if store is None else store,
            self.fal if fal is None else fal,
            tuple(sorted(self.net if net is None else net)),
            self.procs if procs is None else procs,
            self.runs if runs is None else runs,
        )
        self.steps.append((words, after, bad))

    def go(
        self,
        words: str,
        to: Process = IDLE,
        *,
        store: Store | None = None,
        fal: Fal | None = None,
        net: Net | None = None,
        bad: str = "",
    ) -> None:
        """One step of the process, after which it does `to`."""
        procs = (*self.procs[: self.number], to, *self.procs[self.number + 1 :])
        self.add(f"{'PQ'[self.number]} {words}", store=store, fal=fal, net=net, procs=procs, bad=bad)

    def send(self, words: str, k: int, n: int, *, store: Store | None = None, bad: str = "") -> None:
        """The process POSTs; only where policy resubmit is asked about, its pause before is a step of its own."""
        if self.c.policy == "resubmit":
            self.go(words, ("send", k, n), store=store, bad=bad)
        else:
            self.go(f"{words}, POSTs it", ("wait", k, n), store=store, net=(*self.net, (k, n)), bad=bad)

    def name(self, k: int, n: int) -> str:
        return f"attempt {n}" if self.c.keys == 1 else f"key {k} attempt {n}"

    # -- the network, fal, and what else there is

    def of_the_network(self) -> None:
        for i, (k, n) in enumerate(self.net):
            rest = self.net[:i] + self.net[i + 1 :]
            for status in "A" if self.c.queues else self.c.ends:
                words = f"the POST of {self.name(k, n)} reaches fal: it is R{len(self.fal)}, which {ENDS[status]}"
                self.add(words, net=rest, fal=(*self.fal, (k, n, status)))
            if self.c.policy == "resubmit":  # elsewhere 'lost' is the same as 'never arrives'
                self.add(f"the POST of {self.name(k, n)} is lost on its way", net=rest)

    def of_fal(self) -> None:
        for r, (k, n, status) in enumerate(self.fal):
            if status == "A":
                for end in self.c.ends:
                    self.add(f"R{r} {ENDS[end]}", fal=(*self.fal[:r], (k, n, end), *self.fal[r + 1 :]))
            elif self._calls_back(r, k, n, status):
                words = f"a webhook brings R{r} for {self.name(k, n)}"
                self.add(words, store=put(self.store, k, n, accepted=(r, "webhook")))
            elif reopens(self.c, self.store, self.fal, r):
                words = f"a webhook brings the images of R{r} after its outcome"
                self.add(words, store=put(self.store, k, n, outcome=(r, "reopened")))

    def _calls_back(self, r: int, k: int, n: int, status: str) -> bool:
        is_ours = self.c.webhook and k >= 0 and status in "CFUE" and n < len(self.store[k])
        return is_ours and r not in dict(self.store[k][n][1])

    def of_others(self) -> None:
        if self.c.foreign and all(k >= 0 for k, _, _ in self.fal):
            for status in self.c.ends:
                words = f"somebody else sends equal arguments: R{len(self.fal)}, which {ENDS[status]}"
                self.add(words, fal=(*self.fal, (-1, 0, status)))
        if not self.c.unreadable or any(attempt[0] for attempts in self.store for attempt in attempts):
            return
        for k, attempts in enumerate(self.store):
            for n, (_, accepted, outcomes, void, _) in enumerate(attempts):
                there = {"intent": True, "accepted": accepted, "outcome": outcomes, "void": void}
                for what in (name for name, is_there in there.items() if is_there):
                    words = f"the {what} of {self.name(k, n)} can no longer be read"
                    self.add(words, store=put(self.store, k, n, bad=what))

    def of_files(self) -> None:
        """Somebody removes image files, puts them back, or prunes: the deletion is on record before a file goes."""
        for k, attempts in enumerate(self.store) if self.c.files else ():
            for n, attempt in enumerate(attempts):
                for r, kinds in attempt[2]:
                    if not has_images(kinds):
                        continue
                    there = is_gone(kinds)
                    words = f"the image of R{r} is {'put back' if there else 'removed from the store'}"
                    self.add(words, store=files(self.store, k, r, there=there))
                    words = f"prune records the image of R{r} deleted"
                    self.add(words, store=put(self.store, k, n, outcome=(r, "deleted")))

    def of_runs(self) -> None:
        for words, runs in run_steps(self.c, self.world, self.own):
            self.add(words, runs=runs)

    # -- a process

    def of_process(self, number: int) -> None:
        self.number = number
        doing, *about = self.procs[number]
        if doing == "idle":
            for k in range(self.c.keys):
                self._looks(k)
            return
        if doing != "create":  # before its create a process has done nothing yet: a kill shows nowhere
            self.go("is killed" if doing != "wait" else self._hears_nothing(*about))
        if doing == "create":
            self._creates(*about)
        elif doing == "send":
            k, n = about
            self.go(f"POSTs {self.name(k, n)}", ("wait", k, n), net=(*self.net, (k, n)))
        elif doing == "wait":
            self._waits(*about)
        elif doing == "accept":
            k, n, r = about
            words = f"records R{r} accepted for {self.name(k, n)}, known by history"
            self.go(words, store=put(self.store, k, n, accepted=(r, "history")))
        elif doing == "void":
            k, n = about
            self.go(f"records void (settled) of {self.name(k, n)}", store=put(self.store, k, n, void="settled"))

    def _hears_nothing(self, k: int, n: int) -> str:
        return f"hears nothing about {self.name(k, n)} (time-out, reset, or killed)"

    def _creates(self, k: int, n: int, word: int) -> None:
        store, rules = self.store, self.c.rules
        if n >= len(store[k]):
            self.send(f"creates the intent of {self.name(k, n)}", k, n, store=put(store, k, n, word=word))
        elif store[k][n][0] == "intent" and "unreadable_holds" not in rules:
            words = f"replaces the unreadable intent of {self.name(k, n)}"
            bad = "d: bought although an object is there that cannot be read"
            self.send(words, k, n, store=put(store, k, n, bad=""), bad=bad)
        elif "exclusive" not in rules:
            self.send(f"creates the intent of {self.name(k, n)} a second time", k, n)
        else:
            self.go(f"finds the intent of {self.name(k, n)} created by another, and gives way")
            if "nonce" not in rules:
                self.send(f"creates the intent of {self.name(k, n)}, gets no clear reply, takes it as won", k, n)

    def _waits(self, k: int, n: int) -> None:
        for r, request in enumerate(self.fal):
            if request[:2] == (k, n):
                words = f"gets the reply R{r}, records it accepted for {self.name(k, n)}"
                self.go(words, store=put(self.store, k, n, accepted=(r, "reply")))
        if (k, n) in self.net:
            rest = list(self.net)
            rest.remove((k, n))
            words = f"is told that {self.name(k, n)} was not sent, or rejected (429): records void"
            self.go(words, store=put(self.store, k, n, void="proof"), net=tuple(rest))
        if "ambiguous_holds" not in self.c.rules:
            words = f"hears nothing about {self.name(k, n)}, takes it as not sent: records void"
            self.go(words, store=put(self.store, k, n, void="proof"))

    # -- an idle process: one look at the receipts, and what a run may do then
    # Reading fal and recording what it said is one step here: a status only moves forward, so a pause in between
    # records what a later read would.

    def _looks(self, k: int) -> None:
        c = self.c
        state, n, more = state_of(c, self.store, k, self.own)
        if state == "in flight":
            self._follows(k, n, more)
            if c.lost and (run := meant(c, self.runs, k, n)):
                words = f"has the user's word again=lost (run {run}), gives up R{more}"
                self.go(words, store=put(self.store, k, n, outcome=(more, f"given {run}")))
        self._follows_given_up(k)
        self._fetches_again(k)
        if state == "done":
            self._gives_files_up(k)
        if state in {"to buy", "open"} and n < c.attempts:
            if "intent_first" in c.rules:
                self.go(f"sees key {k} {state}, will create {self.name(k, n)}", ("create", k, n, 0))
            else:
                self.send(f"sees key {k} {state}, writes no intent for {self.name(k, n)}", k, n)
        if state in WORDS and n + 1 < c.attempts and (run := meant(c, self.runs, k, n)):
            words = f"has the user's word again={WORDS[state]} (run {run}), will create {self.name(k, n + 1)}"
            self.go(words, ("create", k, n + 1, run), bad=self._buys_what_is_there(k))
        if state == "held" and more == "ambiguous" and n + 1 < c.attempts:
            self._gives_up(k, n)
        self._searches(k)

    def _gives_up(self, k: int, n: int) -> None:
        c, name = self.c, self.name(k, n)
        if run := meant(c, self.runs, k, n):
            words = f"has the user's word again=held (run {run}), gives up {name}"
            self.go(words, store=put(self.store, k, n, void=f"word {run}"))
        if c.policy == "resubmit" and may_resubmit(c, self.world, k, n):
            self.go(f"waited, history shows nothing: gives up {name}", ("void", k, n))
        if "nonce_in_memory" not in c.rules:
            self.send(f"is restarted, takes the intent of {name} as its own", k, n)

    def _follows_given_up(self, k: int) -> None:
        """Each request that the user no longer waits for is looked for all the same."""
        if "given_is_followed" not in self.c.rules:
            return
        for n, attempt in enumerate(self.store[k]):
            for r, kinds in attempt[2]:
                if says(kinds) == "given":
                    self._follows(k, n, r)

    def _fetches_again(self, k: int) -> None:
        """The files of all that is stored of a key are gone: fal may still have them, whatever else the key has."""
        for _, r in gone(self.c, self.store, k, self.own) if "gone_is_fetched" in self.c.rules else ():
            if self.fal[r][2] == "C":
                self.go(f"fetches the image of R{r} again", store=files(self.store, k, r, there=True))

    def _gives_files_up(self, k: int) -> None:
        """The user's word speaks of images that are gone.

        The deletion is recorded before anything is bought: what is opened then decides, and not what is gone.
        """
        c, missing, last = self.c, gone(self.c, self.store, k, self.own), len(self.store[k]) - 1
        if not missing:
            return
        if run := meant(c, self.runs, k, last):
            store = self.store
            for n, r in missing:
                store = put(store, k, n, outcome=(r, "deleted"))
            self.go(
                f"has the user's word again=missing (run {run}), records the images of key {k} deleted", store=store
            )
        if "gone_needs_word" not in c.rules and last + 1 < c.attempts:
            self.go(
                f"sees the images of key {k} gone, will create {self.name(k, last + 1)}", ("create", k, last + 1, 0)
            )

    def _buys_what_is_there(self, k: int) -> str:
        is_there = any(has_images(kinds) and not is_gone(kinds) for kinds in self._counted(k))
        return f"g: key {k} is bought although its image is in the store" if is_there else ""

    def _counted(self, k: int) -> list[Kinds]:
        """The outcomes of each request that counts for one of a key's attempts."""
        return [
            kinds
            for n, attempt in enumerate(self.store[k])
            for r, kinds in attempt[2]
            if r in {x for x, _ in counted(self.c, self.own, k, n, attempt)}
        ]

    def _searches(self, k: int) -> None:
        """The history is read for what is in doubt; or the user names a request by its id (`verify --adopt`)."""
        store = self.store
        ids = known(store) if "distinct_ids" in self.c.rules else {r for attempt in store[k] for r, _ in attempt[1]}
        for n in searching(self.c, store, k, self.own):
            for r in range(len(self.fal)):
                if r not in ids:
                    self.go(f"finds R{r} in history, adopts it for {self.name(k, n)}", ("accept", k, n, r))

    def _follows(self, k: int, n: int, r: int) -> None:
        c, status = self.c, self.fal[r][2]
        known_kinds = dict(self.store[k][n][2]).get(r, ())
        if status == "C" and (not known_kinds or "stored_wins" in c.rules):
            there = {x for attempt in self.store[k] for x, kinds in attempt[2] if has_images(kinds)}
            clash = there - {r} and "name_by_request" not in c.rules
            bad = f"e: the image of R{r} overwrites that of R{min(there)}" if clash else ""
            self._ends(k, n, r, f"collects R{r} for {self.name(k, n)} and records it stored", "stored", bad=bad)
        elif status == "F":
            self._ends(k, n, r, f"reads fal's own error for R{r} twice, minutes apart, records it free", "free")
        elif status == "U":
            self._ends(k, n, r, f"reads words about the content for R{r} twice, records it refused", "refused")
        elif status in "EX":
            words = f"reads for R{r} twice, minutes apart, that it has no images, records it ended"
            self._ends(k, n, r, words, "ended")
        elif c.cancel and status == "A":  # somebody stops the run
            self._cancels(k, n, r)
        if status in "AC" and not known_kinds:
            self._reads_wrongly(k, n, r, status)

    def _cancels(self, k: int, n: int, r: int) -> None:
        gone = (*self.fal[:r], (*self.fal[r][:2], "X"), *self.fal[r + 1 :])
        self._ends(k, n, r, f"cancels R{r}: fal says it left the queue, records it free", "free", fal=gone)
        self.go(f"cancels R{r}: it left the queue, the answer is lost", fal=gone)
        if "cancel_is_wish" not in self.c.rules:
            self._ends(k, n, r, f"cancels R{r}: 202, records it free", "free")

    def _reads_wrongly(self, k: int, n: int, r: int, status: str) -> None:
        """What a rule that is switched off, or a blip that lasts, makes an outcome of."""
        c = self.c
        if "own_error_only" not in c.rules:
            self._ends(k, n, r, f"reads a gateway's 503 for R{r}, records it free", "free")
        if "completed_first" not in c.rules and status == "A":
            words = f"reads a 404 as R{r}'s status, takes it for an end, reads fal's own error, records it free"
            self._ends(k, n, r, words, "free")
        if status == "C" and ("far_apart" not in c.rules or c.blip):
            self._ends(k, n, r, f"reads fal's own error for R{r} in one blip, records it free", "free")
        if "words_only" not in c.rules:
            self._ends(k, n, r, f"reads a typed 429 for R{r}, records it refused", "refused")

    def _ends(self, k: int, n: int, r: int, words: str, kind: str, *, fal: Fal | None = None, bad: str = "") -> None:
        self.go(words, store=put(self.store, k, n, outcome=(r, kind)), fal=fal, bad=bad)


def reopens(c: Config, store: Store, fal: Fal, r: int) -> bool:
    """Whether a webhook may say of a request that it has images, although another outcome stands on record."""
    k, n, status = fal[r]
    if not (c.webhook and "reopens" in c.rules and k >= 0 and status == "C" and n < len(store[k])):
        return False
    kinds = dict(store[k][n][2]).get(r)
    # What the user has given up is followed all the same.
    return kinds is not None and not has_images(kinds) and says(kinds) not in {"reopened", "given"}


def may_resubmit(c: Config, world: World, k: int, n: int) -> bool:
    """Whether, after settle seconds, a history of the same account that was read whole speaks for sending again.

    What time may be trusted with is assumed.
    """
    store, fal, net, procs, _ = world
    too_early = {
        "writer_quick": ("send", k, n) in procs,
        "post_quick": (k, n) in net,
        "fal_quick": (k, n, "A") in fal,
        "reply_quick": ("wait", k, n) in procs,
    }
    if any(is_so and name in c.assume for name, is_so in too_early.items()):
        return False
    ended = {r for r, request in enumerate(fal) if request[2] != "A"}
    sure = {
        r
        for attempts in store
        for attempt in attempts
        for r, how in attempt[1]
        if how != "history" or "deny_adopted" not in c.rules
    }
    if not ended - sure:
        return True  # an honest history shows nothing that could be ours
    if "history_whole" not in c.assume:
        return True  # a hole just where ours would be
    return "history_fresh" not in c.assume and not ended & sure  # behind as a whole; unnoticed only without a witness
