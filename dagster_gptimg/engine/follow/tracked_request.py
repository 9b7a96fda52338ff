"""A request that fal has, as the watcher and its schedule know it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from dagster_gptimg.fal.types import Status, Submitted

Hear: TypeAlias = "Callable[[str, Status | None], None]"
"""Called with a request id and a status from fal, or None if fal sends no more notifications for the request."""


class Teller(Protocol):
    """A channel by which fal sends notifications about requests."""

    def follow(self, request: Submitted, hear: Hear, *, fresh: bool) -> bool:
        """Make `hear` be called for a request from now on; False if that is not possible."""

    def leave(self, request: Submitted) -> None:
        """Note that a request is no longer waited for."""

    def turn(self) -> None:
        """Do periodic work; called at each turn of the timer."""

    def close(self) -> None:
        """Close everything."""


class Seen(NamedTuple):
    """The reason why a request is no longer watched.

    Attributes:
        is_completed: whether fal itself has said that it has ended. False: fal says that it does not know the request,
            which does not mean that it ended: it may have images.
        inference_time: seconds that the model took, if fal says it.
        error_type: the error that it ended with, if fal's status says it.
    """

    is_completed: bool
    inference_time: float | None = None
    error_type: str | None = None


class TooLate(NamedTuple):
    """A request has not ended within the run's patience: `why`, in words. The next run goes on watching."""

    why: str


@dataclass(slots=True, eq=False, kw_only=True)
class TrackedRequest:
    """One request that fal has. Times are in seconds of the run's clock.

    Attributes:
        number: its place in the order of submits.
        kind: requests of one kind take about as long.
        ended: done when fal says that it has ended, or when nobody waits for that any longer.
        began: when it was submitted, or found.
        fresh: whether this run has submitted it: then its position and age are known.
        until: until when it is waited for.
        started: since when it is assumed to run; None while it is assumed to wait.
        looked: when its status was last read; 0 if never.
        is_looked_at: whether its status is being read now.
        turn: counter of the plans made for it: only the last one is valid.
        tell: is called with each status.
        told: whether fal notifies about it: then its status is only read if a notification is overdue.
        unread: number of consecutive failed status reads.
        gone_since: since when every status read says that fal does not know it.
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
