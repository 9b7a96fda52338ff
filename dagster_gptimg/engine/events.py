"""The kinds of events that a run tells, as data; `reports.py` keeps those of one run until somebody takes them."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, TypeAlias

from dagster_gptimg.base.row_status import RowStatus

if TYPE_CHECKING:
    from dagster_gptimg.engine.record.summary import Summary
    from dagster_gptimg.fal.types import LogLine


@dataclass(frozen=True, slots=True)
class Planned:
    """The plan, before the first POST: what is there already, what will be bought, and its cost range."""

    summary: Summary


@dataclass(frozen=True, slots=True)
class Warned:
    """A warning about the whole run."""

    message: str


@dataclass(frozen=True, slots=True)
class Stated:
    """A fact about the whole run that was asked for, and is no warning."""

    message: str


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a run. All counts are of requests.

    Attributes:
        done: requests that need nothing more from this run.
        total: requests that were open when it began.
        in_flight: requests that fal has, or may have.
        failed: requests of `done` without images.
        spent: US dollars of ended requests, known or at worst case.
        others_ahead: requests in fal's queue before this run's, at least, that other runs of the account have sent.
    """

    done: int
    total: int
    in_flight: int
    failed: int
    spent: Decimal
    others_ahead: int = 0


Trouble: TypeAlias = RowStatus | Literal["paid_twice"]
"""Why a run names a row: its status (one that `is_trouble`), or that more than one request of it brought images."""


@dataclass(frozen=True, slots=True)
class Noticed:
    """A message about one request: it failed, is held, lost, missing, or was paid for twice."""

    row_id: str
    request_id: str | None
    status: Trouble
    message: str


@dataclass(frozen=True, slots=True)
class Updated:
    """What fal says of one request on its way, when `Options.logs` asks for it: each change once.

    Attributes:
        row_id: the row's id.
        request_id: fal's id of the request.
        status: in fal's words.
        position: requests before it in fal's queue, where fal says so.
        logs: the lines of its log that are new. Text from outside.
    """

    row_id: str
    request_id: str
    status: Literal["IN_QUEUE", "IN_PROGRESS", "COMPLETED"]
    position: int | None
    logs: tuple[LogLine, ...]


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event.

    Attributes:
        manifest: where the manifest is; None when it could not be written.
        store_failed: whether the store could not be used, at any moment of the run.
        spent: US dollars of this run's requests, at worst case if not known; the budget counts them.
    """

    summary: Summary
    manifest: str | None
    store_failed: bool = False
    spent: Decimal = Decimal(0)


Event: TypeAlias = Planned | Warned | Stated | Progress | Noticed | Updated | Finished
