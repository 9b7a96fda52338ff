"""A request that fal has, as the watcher and its schedule know it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from dagster_gptimg.fal.types import Status, Submitted

Hear: TypeAlias = "Callable[[str, Status | None], None]"
"""Takes what fal tells of a request (by its id) by itself; None: it tells nothing of it any more."""


class Teller(Protocol):
    """A way in which fal tells of requests by itself."""

    def follow(self, request: Submitted, hear: Hear, *, fresh: bool) -> bool:
        """Have `hear` told of a request from now on; False when it will not be."""

    def leave(self, request: Submitted) -> None:
        """Nobody waits for it any more."""

    def turn(self) -> None:
        """Called at each turn of the timer."""

    def close(self) -> None:
        """Leave nothing behind."""


class Seen(NamedTuple):
    """Why nobody watches a request any more.

    Attributes:
        is_completed: whether fal itself has said that it has ended. False: fal says that it does not know it, which is
            no end: it may have images all the same.
        inference_time: seconds that the model took, where fal says it.
        error_type: the error that it ended with, where fal's status says it.
    """

    is_completed: bool
    inference_time: float | None = None
    error_type: str | None = None


class TooLate(NamedTuple):
    """A request has not ended within the run's patience: `why`, in words. The next run goes on watching."""

    why: str


@dataclass(slots=True, eq=False, kw_only=True)
class TrackedRequest:
    """One request that fal has. Times are the clock's seconds.

    Attributes:
        number: its place in the order of submits.
        kind: requests of one kind take about as long.
        ended: done when fal says that it has ended, or when nobody waits for that any longer.
        began: when it was submitted, or found.
        fresh: whether this run has submitted it: then its place in the order is known, and its age.
        until: up to when it is waited for.
        started: since when it is taken to run; None while it is taken to wait.
        looked: when it was looked at last; 0 for never.
        is_looked_at: whether somebody is asking just now.
        turn: counts the plans made for it: only the last one holds.
        tell: is told each status.
        told: whether fal tells of it by itself; then it is only looked at when that takes too long.
        unread: looks in a row that brought no status.
        gone_since: the clock's second since which every look has said that fal does not know it.
    """

    request: Submitted
    number: int
    kind: str
    ended: asyncio.Future[Seen | TooLate]
    began: float
    fresh: bool
    until: float
    started: float | None = None
    looked: float = 0.0
    is_looked_at: bool = False
    turn: int = 0
    tell: Callable[[Status], None] = lambda _status: None
    told: bool = False
    unread: int = 0
    gone_since: float | None = None
