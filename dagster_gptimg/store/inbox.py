"""The inbox: webhooks that no run has processed yet. A receiver writes here before it answers 2xx.

`inbox/<run>/<key>.<attempt>.<request id>.json`: one folder per run, so that one listing shows which of a run's requests
have ended. `inbox/users/<digest>`: fal's names of the accounts of these requests. A webhook is untrusted: nothing in it
is used as a path, and its URLs are checked like those of any result.
"""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from dagster_gptimg.errors import StoreError, UnreadableError
from dagster_gptimg.store.layout import INBOX_USERS, inbox_folder, parse_webhook, run_start, webhook_name
from dagster_gptimg.store.receipts.facts import Accepted, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dagster_gptimg.store.layout import FactName
    from dagster_gptimg.store.receipts.receipts import Names, Receipts

LATE = "-late-"
"""Part of the name of the mark for a webhook that arrived when its attempt seemed to be over."""


class Callback(BaseModel):
    """The content of one webhook.

    Attributes:
        payload: the model's output, or its error.
        received_at: when it was received.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    request_id: str
    status: str
    error: str | None = None
    payload: dict[str, Any] | None = None
    received_at: datetime


class Arrival(NamedTuple):
    """The place of a stored webhook. `run`: the run that sent the request, whose inbox it is."""

    run: str
    key: str
    attempt: int
    request_id: str


MOST_IDS = 4
"""Maximum request ids from webhooks for one attempt: one is normal, and each is followed for ever."""

_BOUND: set[str] = set()
"""Places of recorded users, as far as this process knows: each store is asked once."""


class Reception(Enum):
    """What became of a callback that was brought.

    `UNKNOWN_ATTEMPT`: there is no intent that it could belong to. `FOREIGN`: fal has signed it, but for another
    account's request (whoever knows a URL can have one sent to it), or too many came before.
    """

    ON_RECORD = "on record"
    UNKNOWN_ATTEMPT = "no such attempt"
    FOREIGN = "not this attempt's"


class Inbox:
    """The webhooks of one dataset. All methods block."""

    def __init__(self, receipts: Receipts) -> None:
        """`receipts`: the dataset's receipts."""
        self._receipts, self._store, self._folder = receipts, receipts.store, receipts.folder

    def take(self, run: str, key: str, attempt: int, callback: Callback, user: str = "") -> Reception:
        """Record a webhook durably; a repetition changes nothing.

        An id that is not on record (the reply to its submit was lost) becomes a fact of the attempt in the webhook's
        URL. (`tests/specification/receipts.py` has this step, too.)

        Args:
            run: the run whose inbox it is.
            key: of the request.
            attempt: its number.
            callback: the webhook.
            user: a digest of fal's name for the request's account. The accounts of requests with a reply are noted:
                unknown
                ids are only accepted from one of these.

        Returns:
            Whether it is on record now, or why it was not taken.

        Raises:
            StoreError: it is not on record; it has to be sent again.
        """
        names = self._receipts.names(key)
        mine = [parsed for _, parsed in names if parsed.attempt == attempt]
        if not any(parsed.kind == "intent" for parsed in mine):
            return Reception.UNKNOWN_ATTEMPT
        if self._is_foreign(user, mine, callback.request_id):
            return Reception.FOREIGN
        if _is_collected(names, attempt, callback.request_id):
            self._reopen_outcome(run, key, attempt, names, callback)
            return Reception.ON_RECORD
        if not any(parsed.kind == "accepted" and parsed.request_id == callback.request_id for parsed in mine):
            intent = self._receipts.read(names)[attempt].intent
            if intent is None:
                msg = f"the intent of {key}.{attempt} exists but cannot be read"
                raise UnreadableError(msg)
            accepted = Accepted(
                request_id=callback.request_id,
                endpoint=intent.endpoint,
                status_url="",  # whoever follows it builds them: URLs that a callback brings are not trusted
                response_url="",
                cancel_url="",
                accepted_at=intent.created_at,
            )
            self._receipts.create_accepted(key, attempt, "webhook", accepted)
            if len(mine) > 1:
                self._reopen(f"{run}{LATE}{callback.request_id}")
        arrival = Arrival(run, key, attempt, callback.request_id)
        with suppress(FileExistsError):
            self._store.create(self._path(arrival), _json(callback))
        if _is_collected(self._receipts.names(key), attempt, callback.request_id):
            self.remove([arrival])  # it was collected meanwhile, and its run may have cleared the inbox before this
        return Reception.ON_RECORD

    def _is_foreign(self, user: str, mine: Sequence[FactName], request_id: str) -> bool:
        """Whether a callback is not to be taken. The account of a request whose reply came is noted."""
        hows = {parsed.how for parsed in mine if parsed.request_id == request_id}
        if "reply" in hows:
            self._note(user)
        return not hows and (self._is_strange(user) or self._are_many(mine))

    def _note(self, user: str) -> None:
        name = f"{self._folder}/{INBOX_USERS}/{user}"
        where = self._store.uri(name)
        if user and where not in _BOUND:
            with suppress(FileExistsError):
                self._store.create(name, b"{}")
            _BOUND.add(where)

    def _is_strange(self, user: str) -> bool:
        """Return whether accounts are known, but not this one."""
        known = self._store.names(f"{self._folder}/{INBOX_USERS}") if user else []
        return bool(known) and user not in known

    @staticmethod
    def _are_many(mine: Sequence[FactName]) -> bool:
        return sum(parsed.kind == "accepted" and parsed.how == "webhook" for parsed in mine) >= MOST_IDS

    def _reopen_outcome(self, run: str, key: str, attempt: int, names: Names, callback: Callback) -> None:
        """Record that a request has images after all, despite another outcome: the next run collects them.

        An image that appears later supersedes every other outcome (docs/receipts.md#evidence).
        """
        if callback.status != "OK" or not (callback.payload or {}).get("images"):
            return
        facts = self._receipts.read(names)[attempt]
        known = facts.outcomes.get(callback.request_id)
        if callback.request_id in facts.given_up:
            return  # every run looks for it anyway
        if known is None or known.kind in {"stored", "reopened"} or known.erased_at is not None:
            return
        now = callback.received_at
        reopened = Outcome(
            request_id=callback.request_id,
            kind="reopened",
            cost_usd=None,
            completed_at=now,
            recorded_at=now,
            evidence="a signed webhook",
        )
        self._receipts.create_outcome(key, attempt, reopened)
        self._reopen(f"{run}{LATE}{callback.request_id}")

    def _reopen(self, mark: str) -> None:
        """Make the next run list the receipts: the attempt had ended without this id, and so may its run have.

        (An attempt with nothing but its intent keeps its run open by itself.)
        """
        with suppress(FileExistsError):
            self._store.create(f"{self._folder}/{run_start(mark)}", b"{}")

    def arrivals(self, run: str) -> list[Arrival]:
        """Return the webhooks of a run that were not removed. One listing; no object is opened. Raises `StoreError`."""
        names = self._store.names(f"{self._folder}/{inbox_folder(run)}")
        return [Arrival(run, *parsed) for name in names if (parsed := parse_webhook(name)) is not None]

    def read(self, arrival: Arrival) -> Callback | None:
        """Return a webhook; None if there is none, or it cannot be read: then the result has to be read from fal."""
        try:
            return Callback.model_validate_json(self._store.read(self._path(arrival)))
        except (FileNotFoundError, StoreError, ValidationError):
            return None

    def clear(self, run: str) -> None:
        """Remove all webhooks of a run that has ended. Raises `StoreError`."""
        self.remove(self.arrivals(run))

    def remove(self, arrivals: Iterable[Arrival]) -> None:
        """Remove webhooks whose outcome is on record. Raises `StoreError`."""
        for arrival in arrivals:
            self._store.delete(self._path(arrival))

    def _path(self, arrival: Arrival) -> str:
        return f"{self._folder}/{webhook_name(*arrival)}"


def _is_collected(names: Names, attempt: int, request_id: str) -> bool:
    """Return whether a request has its outcome: then its run no longer reads its webhook."""
    found = (parsed for _, parsed in names)
    return any(p.kind == "outcome" and (p.attempt, p.request_id) == (attempt, request_id) for p in found)


def _json(callback: Callback) -> bytes:
    """Return a webhook as JSON; lone surrogates (a cut emoji) are replaced, since UTF-8 cannot encode them."""
    about = {**callback.model_dump(), "received_at": callback.received_at.isoformat()}
    return json.dumps(about, ensure_ascii=False).encode("utf-8", "replace")
