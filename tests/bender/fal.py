"""A small model of fal, written from docs/fal-wire.md alone: accounts, slots, a queue, ends, and the bill.

Nothing here knows HTTP (`face.py` does), and nothing misbehaves (`bends.py` does). Times are seconds of the world's own
clock, which is right.
"""

from __future__ import annotations

import heapq
import random
import uuid
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal, TypeAlias

End: TypeAlias = Literal["ok", "refused", "failed", "unloaded", "empty", "cancelled"]
"""How a request ends: with images; a 422 about its content; fal's own 5xx; a 422 because a reference could not be
loaded; 200 without images; out of the queue at the caller's wish."""

KEY = "3f9d1c52-7b1e-4a08-9c55-d2f10b6a7e41:9b7c0d2e4f6a81b3c5d7e9f1a2b4c6d8"
ENDPOINT = "fal-ai/gpt-image-1-mini"
EDIT = f"{ENDPOINT}/edit"

RESULT_KEPT = 3600.0
"""Seconds after its end for which a result can be read; its payloads stay in the history."""

HOUR = 3600.0


@dataclass
class Request:
    """One accepted POST: a line of the bill.

    Attributes:
        takes: seconds that it runs, once it has a slot.
        end: how it ends, or will end.
        asked: images that were asked for. made: those that come.
        units: billable units, as fal tells them with the result; None where it tells none.
        billed: US dollars that it costs when it ends so.
        begins_at, ends_at: None while it waits, or runs.
    """

    id: str
    account: str
    endpoint: str
    arguments: dict[str, Any]
    accepted_at: float
    takes: float
    end: End
    asked: int
    made: int
    units: str | None
    billed: Decimal
    webhook: str | None = None
    tags: str = ""
    begins_at: float | None = None
    ends_at: float | None = None
    hides_units: bool = False

    @property
    def prompt(self) -> str:
        return str(self.arguments.get("prompt"))

    @property
    def app(self) -> str:
        return "/".join(self.endpoint.split("/")[:2])

    @property
    def files(self) -> list[str]:
        """The names of the request's images, as `pictures.picture` takes them."""
        return [f"{self.id}-{index}" for index in range(self.made)] if self.end == "ok" else []

    def has_begun(self, now: float) -> bool:
        return self.begins_at is not None and self.begins_at <= now

    def has_ended(self, now: float) -> bool:
        return self.ends_at is not None and self.ends_at <= now

    @property
    def is_free(self) -> bool:
        """Whether the request costs nothing, and may be bought again without the user's word."""
        return self.end in {"failed", "unloaded", "cancelled"}


@dataclass
class Habits:
    """What a world's fal does as a rule; docs/fal-wire.md leaves some of it open.

    Attributes:
        ends: how often a request ends in which way; the rest is `ok`.
        slow: how often one takes an hour.
        fewer: how often one makes an image less than it was asked for.
        unit_price: US dollars a unit. units: of an image.
        refusals_billed: whether a refusal, or an end without images, costs what images would have.
        lag: seconds until the history shows an ended request.
        shows_running: whether the history shows what has not ended.
        by_sent: whether the history filters by `sent_at`, and not by `ended_at`.
        fills_in: whether the history shows the defaults filled in.
        expired: what a request is that fal has no result of any more: `not_found`, `gone` (410), or `completed`.
        times_out: whether what fails has run out of the caller's start timeout.
        early: the HTTP status of a result that is asked for too early.
        submit_code: of an accepted submit.
    """

    ends: dict[End, float] = field(default_factory=dict)
    slow: float = 0.0
    fewer: float = 0.0
    latency: tuple[float, float] = (1.0, 5.0)
    unit_price: str = "0.01"
    units: str = "1"
    tells_units: bool = True
    refusals_billed: bool = False
    lag: float = 3.0
    shows_running: bool = False
    by_sent: bool = False
    fills_in: bool = False
    expired: str = "not_found"
    times_out: bool = False
    early: int = 400
    submit_code: int = 200
    is_verbose: bool = False


class Fal:
    """fal's side of the world.

    Attributes:
        accounts: by key, the slots of its account.
        requests: every accepted POST, by id, in their order: the bill.
        uploads: bytes by the path of their URL.
        ends: how requests of a prompt end, where that is not to be drawn.
        unwritable: prompts whose output no webhook can tell.
        single: prompts whose endpoint makes one `image`, instead of `images`.
    """

    def __init__(self, draw: random.Random, habits: Habits | None = None, slots: int = 20) -> None:
        self.draw, self.habits = draw, habits or Habits()
        self.accounts = {KEY: slots}
        self.requests: dict[str, Request] = {}
        self.uploads: dict[str, bytes] = {}
        self.ends: dict[str, End] = {}
        self.unwritable: set[str] = set()
        self.single: set[str] = set()
        self._queues: dict[str, list[Request]] = {}
        self._running: dict[str, list[tuple[float, str]]] = {}

    # -- the queue

    def accept(self, account: str, endpoint: str, arguments: dict[str, Any], now: float, **about: Any) -> Request:
        """Take a request: from now on it is on the bill."""
        self.advance(now)
        draw, habits = self.draw, self.habits
        asked = arguments.get("num_images", 1)
        asked = asked if isinstance(asked, int) else 1
        made = asked - 1 if asked > 1 and draw.random() < habits.fewer else asked
        made = min(made, 1) if str(arguments.get("prompt")) in self.single else made
        takes = HOUR if draw.random() < habits.slow else draw.uniform(*habits.latency)
        end = self.ends.get(str(arguments.get("prompt"))) or self._drawn_end()
        costs = end == "ok" or (end in {"refused", "empty"} and habits.refusals_billed)
        units = Decimal(habits.units) * asked if costs else Decimal(0)
        request = Request(
            id=str(uuid.UUID(int=draw.getrandbits(128), version=4)),
            account=account,
            endpoint=endpoint,
            arguments=arguments,
            accepted_at=now,
            takes=takes,
            end=end,
            asked=asked,
            made=made,
            units=f"{units:f}" if habits.tells_units else None,
            billed=units * Decimal(habits.unit_price),
            **about,
        )
        self.requests[request.id] = request
        running = self._running.setdefault(account, [])
        if len(running) < self.accounts[account]:
            self._begin(request, now)
        else:
            self._queues.setdefault(account, []).append(request)
        return request

    def _drawn_end(self) -> End:
        drawn = self.draw.random()
        for end, share in self.habits.ends.items():
            drawn -= share
            if drawn < 0:
                return end
        return "ok"

    def _begin(self, request: Request, at: float) -> None:
        request.begins_at, request.ends_at = at, at + request.takes
        heapq.heappush(self._running[request.account], (request.ends_at, request.id))

    def advance(self, now: float) -> None:
        """Let what has ended by now give its slot to the next one in the queue."""
        for account, running in self._running.items():
            queue = self._queues.get(account, [])
            while running and running[0][0] <= now:
                ended_at, _ = heapq.heappop(running)
                if queue:
                    self._begin(queue.pop(0), ended_at)

    def find(self, request_id: str, now: float) -> Request | None:
        self.advance(now)
        return self.requests.get(request_id)

    def position(self, request: Request) -> int:
        """The number of requests that are before this one in the queue."""
        queue = self._queues.get(request.account, [])
        return queue.index(request) if request in queue else 0

    def cancel(self, request: Request, now: float) -> bool:
        """Take a request out of the queue; returns whether it was still there."""
        self.advance(now)
        queue = self._queues.get(request.account, [])
        if request not in queue:
            return False
        queue.remove(request)
        request.end, request.ends_at, request.begins_at = "cancelled", now, now
        request.units, request.billed = "0", Decimal(0)
        return True

    def is_kept(self, request: Request, now: float) -> bool:
        """Whether a request's result can still be read."""
        return request.ends_at is None or now < request.ends_at + RESULT_KEPT

    # -- the history

    def lines(self, account: str, now: float) -> list[Request]:
        """What the history shows of an account, the newest first."""
        self.advance(now)
        lag, running = self.habits.lag, self.habits.shows_running
        every = (r for r in self.requests.values() if r.account == account)
        shown = [r for r in every if running or (r.ends_at is not None and r.ends_at + lag <= now)]
        return sorted(shown, key=lambda r: (-(r.ends_at or r.accepted_at), r.id))

    def all_ended_at(self) -> float:
        """The moment at which nothing runs or waits any more."""
        self.advance(float("inf"))
        return max((r.ends_at for r in self.requests.values() if r.ends_at is not None), default=0.0)
