"""Receipts: facts in 256 folders, by the first digits of their keys; each is created once (docs/receipts.md).

Together they are the only truth about money. Nothing here changes a fact; when a row is forgotten, `store/erasure.py`
writes its facts a second time, with less content and the same cost.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, TypeAlias

from dagster_gptimg.errors import StoreError, UnreadableError
from dagster_gptimg.store.layout import (
    RECEIPTS,
    FactName,
    How,
    parse_image,
    parse_receipt,
    prefix_of,
    prefixes,
    receipt_name,
    receipts_folder,
)
from dagster_gptimg.store.parallel import side_by_side
from dagster_gptimg.store.receipts.facts import (
    Accepted,
    Attempt,
    Deleted,
    GivenUp,
    Intent,
    Outcome,
    Void,
    parse_fact,
)
from dagster_gptimg.store.receipts.recorded_files import not_as_recorded

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from dagster_gptimg.store.root import Store

Names: TypeAlias = list[tuple[str, FactName]]
"""Names of receipts, each with its parsed form."""

OUTCOMES_MOST = 100
"""Maximum outcomes of one request: each differs from the last, so there are hardly ever more than two."""


class Receipts:
    """The receipts of one dataset. All methods block."""

    def __init__(self, store: Store, folder: str) -> None:
        """`folder`: the dataset's, relative to the store."""
        self.store, self.folder = store, folder

    # -- writing: each fact once, exclusively

    def create_intent(self, key: str, attempt: int, intent: Intent) -> bool:
        """Create the intent of an attempt; return True if it is ours, and only then may its POST be sent.

        A repeated conditional put (s3fs repeats by itself) makes a winner look like a loser, and a lost reply looks
        like a failure: in both cases our nonce in the object decides, which no other process knows. An intent in a
        remote store is read back: a store that has lost it, or has let another process write, is noticed before
        anything is paid for.

        Raises:
            StoreError: the owner is not known. Nothing may be sent.
        """
        try:
            self._create(key, attempt, "intent", intent)
        except (FileExistsError, StoreError) as error:
            return self._has_nonce(key, attempt, intent.nonce, error)
        return self.store.is_near or self._is_there(key, attempt, intent.nonce)

    def create_accepted(self, key: str, attempt: int, how: How, accepted: Accepted) -> None:
        """Record that fal has a request for this attempt. A repetition changes nothing."""
        self._record(key, attempt, f"accepted.{accepted.request_id}.{how}", accepted)

    def create_outcome(self, key: str, attempt: int, outcome: Outcome) -> Outcome:
        """Record how a request ended, and return the outcome that is now valid.

        A repetition changes nothing. An image is recorded after any other outcome, and so is another outcome after one
        that ended nothing (see `Outcome.may_follow`).

        Raises:
            UnreadableError: one is on record, but the store does not return it.
            StoreError: it is not on record.
        """
        there: list[Outcome] = []
        for number in range(OUTCOMES_MOST):
            kind = f"outcome.{outcome.request_id}.{number}" if number else f"outcome.{outcome.request_id}"
            name, told = (
                f"{self.folder}/{receipt_name(key, attempt, kind)}",
                FactName(key, attempt, "outcome", outcome.request_id),
            )
            is_there = False
            if outcome.may_follow(there):
                try:
                    self._create(key, attempt, kind, outcome)
                except FileExistsError:
                    is_there = True
                else:
                    return outcome
            try:
                there.append(parse_outcome(self.store.read(name), name, told))
            except FileNotFoundError as error:
                if is_there:
                    raise UnreadableError(f"{name} exists, but the store does not return it: {error}") from error
                return next((known for known in there if known.kind == "stored"), there[-1])
        msg = f"request {outcome.request_id} has {OUTCOMES_MOST} outcomes on record: check these files"
        raise StoreError(msg)

    def create_given_up(self, key: str, attempt: int, given_up: GivenUp) -> None:
        """Record that the user no longer waits for a request. A repetition changes nothing."""
        self._record(key, attempt, f"given_up.{given_up.request_id}", given_up)

    def create_deleted(self, key: str, attempt: int, deleted: Deleted) -> None:
        """Record that the images of a request are no longer in the store. A repetition changes nothing."""
        self._record(key, attempt, f"deleted.{deleted.request_id}", deleted)

    def create_void(self, key: str, attempt: int, void: Void) -> None:
        """Record that an attempt has no request. A repetition changes nothing."""
        self._record(key, attempt, "void", void)

    def _record(self, key: str, attempt: int, kind: str, fact: Accepted | Deleted | GivenUp | Void) -> None:
        try:
            self._create(key, attempt, kind, fact)
        except FileExistsError:
            return

    def _create(
        self, key: str, attempt: int, kind: str, fact: Intent | Accepted | Outcome | GivenUp | Deleted | Void
    ) -> None:
        self.store.create(f"{self.folder}/{receipt_name(key, attempt, kind)}", fact.model_dump_json().encode())

    def _is_there(self, key: str, attempt: int, nonce: str) -> bool:
        """Return whether an acknowledged intent is ours. One that cannot be read now counts as acknowledged."""
        try:
            return self._has_nonce(key, attempt, nonce, StoreError("the store has acknowledged it, and lost it"))
        except UnreadableError:
            return True

    def _has_nonce(self, key: str, attempt: int, nonce: str, error: Exception) -> bool:
        name = f"{self.folder}/{receipt_name(key, attempt, 'intent')}"
        try:
            return parse_fact(Intent, self.store.read(name), name).nonce == nonce
        except FileNotFoundError:
            msg = f"an intent could not be created and does not exist: {error}"
            raise StoreError(msg) from error
        except UnreadableError:
            if isinstance(error, FileExistsError):
                return False
            raise

    # -- reading

    def load(self, key: str) -> list[Attempt]:
        """Return the facts of one key, by attempt. Raises `StoreError` if the folder cannot be listed."""
        return self.read(self.names(key))

    def by_key(self) -> Iterator[tuple[str, Names]]:
        """Yield the names of all receipts, key by key, from concurrent listings; no object is opened.

        Raises `StoreError`.
        """
        there = prefixes(self.store.names(f"{self.folder}/{RECEIPTS}"))
        for _, names in side_by_side(self.store, self.names, there):
            for key, group in groupby(names, lambda found: found[1].key):
                yield key, list(group)

    def known(self, request_ids: Collection[str], hows: Collection[How]) -> set[str]:
        """Return those of some request ids that are on record, in one of these ways. Raises `StoreError`.

        For an id that only an outcome names, the way is not known: it counts as one from the history.
        """
        every = (parsed for _, names in self.by_key() for _, parsed in names if parsed.request_id in request_ids)
        return {parsed.request_id for parsed in every if (parsed.how or "history") in hows}

    def read(self, names: Names) -> list[Attempt]:
        """Read the facts with these names, which are all those of one key; return them by attempt.

        An attempt without an intent is included: a fact without its intent means that something was lost.
        """
        attempts: dict[int, Attempt] = {}
        for name, parsed in sorted(names, key=lambda pair: (pair[1].request_id, pair[1].number)):
            self._read_into(attempts.setdefault(parsed.attempt, Attempt()), name, parsed)
        for attempt in attempts.values():
            self._keep_what_is_gone(attempt)
            for request_id in attempt.outcomes:  # a power cut may keep the later of two names: it tells the id as well
                attempt.accepted.setdefault(request_id, ("history", None))
        return [attempts.get(n, Attempt()) for n in range(max(attempts, default=-1) + 1)]

    def _keep_what_is_gone(self, attempt: Attempt) -> None:
        """Remove deletions that no longer count: the images exist again, or were erased for good."""
        for request_id in list(attempt.deleted):
            outcome = attempt.outcomes.get(request_id)
            if outcome is None or outcome.erased_at or not not_as_recorded(self.store, self.folder, outcome.images):
                del attempt.deleted[request_id]

    def names(self, prefix: str) -> Names:
        """Return the receipts whose keys have this prefix (at least that of a folder); no object is opened.

        Raises `StoreError`.
        """
        names = self.store.names(f"{self.folder}/{receipts_folder(prefix_of(prefix))}", prefix)
        return [(name, parsed) for name in names if (parsed := parse_receipt(name)) is not None]

    def _read_into(self, attempt: Attempt, name: str, parsed: FactName) -> None:
        path = f"{self.folder}/{receipts_folder(prefix_of(parsed.key))}/{name}"
        try:
            self._read_fact(attempt, path, parsed)
        except (UnreadableError, FileNotFoundError) as error:
            attempt.unreadable.append(str(error))
            if parsed.kind == "accepted":
                attempt.accepted.setdefault(parsed.request_id, ("history", None))
            elif parsed.kind == "outcome":
                attempt.add_outcome(parsed.request_id, None)
            elif parsed.kind == "given_up":
                attempt.given_up[parsed.request_id] = None

    def _read_fact(self, attempt: Attempt, path: str, parsed: FactName) -> None:
        if parsed.kind is None:
            msg = f"{path} is a receipt of a kind that this version does not know"
            raise UnreadableError(msg)
        data = self.store.read(path)
        if parsed.kind == "intent":
            attempt.intent = parse_fact(Intent, data, path)
        elif parsed.kind == "void":
            attempt.void = parse_fact(Void, data, path)
        elif parsed.kind == "outcome":
            attempt.add_outcome(parsed.request_id, parse_outcome(data, path, parsed))
        elif parsed.kind == "given_up":
            attempt.given_up[parsed.request_id] = parse_fact(GivenUp, data, path)
        elif parsed.kind == "deleted":
            attempt.deleted[parsed.request_id] = parse_fact(Deleted, data, path)
        elif parsed.how is not None:
            known = attempt.accepted.get(parsed.request_id)
            if known is None or known[0] == "history":
                attempt.accepted[parsed.request_id] = (parsed.how, parse_fact(Accepted, data, path))


def parse_outcome(data: bytes, path: str, name: FactName) -> Outcome:
    """Return the outcome in an object, if all its images are those of its own request.

    Raises:
        UnreadableError: it is not an outcome, or names other files: files that it names are read, shown and deleted.
    """
    outcome = parse_fact(Outcome, data, path)
    for image in outcome.images:
        told = parse_image(image.path)
        if told is None or (told.key, told.request_id) != (name.key, name.request_id):
            msg = f"{path} names the file {image.path!r}, which is not an image of its request: check the receipt"
            raise UnreadableError(msg)
    return outcome
