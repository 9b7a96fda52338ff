"""The input of a run: the job, its options, and its interfaces to time, fal and the store."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, ParamSpec, Protocol, TypeAlias, TypeVar

from dagster_gptimg.base.retry_policies import FREE_FAILURES
from dagster_gptimg.fal.request_settings import RequestSettings
from dagster_gptimg.options import check, default
from dagster_gptimg.prompts.references import References

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
    from datetime import datetime
    from decimal import Decimal

    from dagster_gptimg.fal.registry.model import FalModel
    from dagster_gptimg.fal.types import (
        Answer,
        Cancelled,
        HistoryItem,
        HistoryPage,
        ImageFile,
        Images,
        Json,
        Sink,
        Status,
        Submitted,
    )
    from dagster_gptimg.prompts import RowBatch
    from dagster_gptimg.store.dataset import Dataset

    Take: TypeAlias = Callable[[int], Awaitable[None]]

Watch: TypeAlias = Literal["poll", "stream", "webhook"]
P = ParamSpec("P")
T = TypeVar("T")


class Clock(Protocol):
    """The clock of a run."""

    def now(self) -> datetime:
        """The wall clock, with a time zone: for records only. No rule about money rests on it."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary moment; never decreases."""

    async def sleep(self, seconds: float) -> None:
        """Sleep for a number of seconds."""


class Io(Protocol):
    """Runs blocking calls of the store in another thread."""

    async def __call__(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the function's result, or raise its error."""


class Fal(Protocol):
    """The calls of fal that the engine needs; implemented by `dagster_gptimg.fal.http.client.FalClient`."""

    @property
    def clock_offset(self) -> float | None:
        """Seconds by which fal's clock is ahead of this machine's; None while not known."""

    def account(self, salt: str) -> str:
        """Return a salted hash of the key."""

    def request(
        self, endpoint: str, request_id: str, status_url: str = "", response_url: str = "", cancel_url: str = ""
    ) -> Submitted:
        """Return a request from its id, and its URLs if known."""

    async def submit(
        self,
        endpoint: str,
        arguments: Mapping[str, Json],
        ready: Callable[[], Awaitable[None]],
        headers: Mapping[str, str] | None = None,
        webhook_url: str | None = None,
    ) -> Submitted:
        """Send one POST, never repeated; its body is sent after `ready`, and not at all if that raises."""

    async def status(self, request: Submitted, *, logs: bool = False) -> Status:
        """Return a request's status."""

    def stream_status(self, request: Submitted, *, logs: bool = False) -> AsyncIterator[Status]:
        """Yield every status of a request, as fal streams it."""

    async def result(self, request: Submitted, *, take: Take | None = None) -> Answer:
        """Return how a request ended; `take`: for an answer that may contain the images, as in `fetch`."""

    async def cancel(self, request: Submitted) -> Cancelled:
        """Ask fal to cancel a request."""

    def history(self, endpoint: str, start: datetime, end: datetime | None = None) -> AsyncIterator[HistoryPage]:
        """Yield the account's requests since a moment, as far as fal shows them."""

    async def lookup(self, endpoint: str, request_id: str) -> HistoryItem | None:
        """Return one request's entry in the history."""

    def images_of(self, output: Mapping[str, Json] | None) -> Images:
        """Return the images that a model's output lists. Raises `ReadError` if it lists none."""

    async def is_gone(self, endpoint: str) -> bool:
        """Return whether fal's own list of models lacks an endpoint. Raises `ReadError` if it cannot be read."""

    async def unit_price(self, endpoint: str) -> Decimal | None:
        """Return US dollars per billable unit."""

    async def fetch(self, file: ImageFile, sink: Sink, take: Take) -> str:
        """Write the bytes of one image into a sink; return their content type, as the CDN names it.

        `take` is awaited with the number of bytes before they are read.
        """

    async def upload(self, data: bytes, content_type: str, file_name: str, seconds: int) -> str:
        """Upload bytes to fal's storage for `seconds`; return their URL."""

    async def origin(self) -> str:
        """Return the origin of datasets made with this client: `fal`, or an emulator with its id."""

    async def check(self, endpoint: str) -> None:
        """Raise `UsageError` if fal cannot be reached, or does not accept the key."""


def _nothing(_point: str) -> None:
    """Do nothing at the named points of a normal run."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """The environment of a run: time, threads for the store, randomness.

    Attributes:
        token: returns a new random text of at least 128 bits, for nonces and run ids.
        reached: called at each named point of a request's processing; the kill suite kills the process there.
    """

    clock: Clock
    io: Io
    token: Callable[[], str]
    reached: Callable[[str], None] = _nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a run behaves.

    Attributes:
        max_in_flight: requests in flight at most; None: as many as the account's slots call for
            (`engine/submit/in_flight_limit.py`).
        max_cost: US dollars that this run may spend at most; reserved at worst case before each POST. None: no bound.
        again: `held`, `refused`, `lost`, `missing`, or row ids: buy these again, once, if they were on record when
            the run began. (`failed` is always tried again.)
        regenerate: row ids: buy another take of these.
        word: identity of `again` and `regenerate`: the same for all partitions of a run, and for its retries.
            Empty: the run's own id.
        on_ambiguous: `hold` shows a submit in doubt until evidence settles it; `resubmit` bets (docs/guarantee.md).
        settle: seconds to wait for fal's history to show an ambiguous submit.
        attempts: attempts a request may be given in one run after failures that were free.
        is_model_chosen: whether the user named no model, so that it must be the dataset's.
        recipe: what all rows are made with (template, model, arguments), as a digest: a manifest keeps it.
        table: the prompt table's name, without secrets; empty for one that has none. It tells whose records a run
            replaces in the image table.
        is_limited: whether only the first rows of the table were read: the records of the others stay.
        allow_rebuy: buy existing images of another recipe again, however many they are.
        alone: whether the user sees to it that no other run uses the dataset, where the store is not known to keep
            two runs apart.
        patience: seconds after which a request that does not end, or whose images cannot be had, is left to a later
            run.
        request: priority, start time-out, tags and other headers of every submit.
        watch: how the end of a request is noticed: `poll` asks when it is likely done; `stream` has fal tell changes
            at once, over a connection for each request in flight, of which there are at most 64 then.
            `webhook` has fal post it to a receiver, which puts it into the store's inbox; asking is the backstop.
        webhook_url: the receiver's public URL, for `webhook`.
        logs: whether `Updated` events tell of queue positions, states and the model's log.

    Raises:
        UsageError: one of them is not what `dagster_gptimg.options` says that it must be.
    """

    max_in_flight: int | None = None
    max_cost: Decimal | None = None
    again: frozenset[str] = frozenset()
    regenerate: frozenset[str] = frozenset()
    word: str = ""
    on_ambiguous: Literal["hold", "resubmit"] = default("on_ambiguous")
    settle: float = default("settle")
    attempts: int = FREE_FAILURES.tries
    is_model_chosen: bool = False
    recipe: str = ""
    table: str = ""
    is_limited: bool = False
    allow_rebuy: bool = False
    alone: bool = False
    patience: float = default("patience")
    request: RequestSettings = field(default_factory=RequestSettings)
    watch: Watch = "poll"
    webhook_url: str = ""
    logs: bool = False

    def __post_init__(self) -> None:
        flags = ("allow_rebuy", "alone", "logs")
        names = ("max_in_flight", "again", "regenerate", "on_ambiguous", "settle", "patience", "watch", "webhook_url")
        check(max_cost_usd=self.max_cost, **{name: getattr(self, name) for name in (*names, *flags)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run over one partition of a prompt table.

    Attributes:
        rows: checked rows, in batches; raises `TableError` at its end when any row is invalid.
        partition: the partition's key, or None for a table that has none.
        references: reads the reference images of edits.
    """

    rows: Iterable[RowBatch]
    model: FalModel
    dataset: Dataset
    fal: Fal
    runtime: Runtime
    partition: str | None = None
    options: Options = field(default_factory=Options)
    references: References = field(default_factory=References)
