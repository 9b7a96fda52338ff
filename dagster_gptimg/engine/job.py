"""What a run is given: the job, its options, and the world it acts on."""

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
    """Time, as a run sees it."""

    def now(self) -> datetime:
        """The wall clock, with a time zone: for records only. No rule about money rests on it."""

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back."""

    async def sleep(self, seconds: float) -> None:
        """Let others run for so many seconds."""


class Io(Protocol):
    """Runs a blocking call of the store somewhere else."""

    async def __call__(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The function's result, or its error."""


class Fal(Protocol):
    """What the engine asks of fal. `dagster_gptimg.fal.http.client.FalClient` is it."""

    @property
    def clock_offset(self) -> float | None:
        """Seconds by which fal's clock is ahead of this machine's; None while that is not known."""

    def account(self, salt: str) -> str:
        """A salted hash of the key."""

    def request(
        self, endpoint: str, request_id: str, status_url: str = "", response_url: str = "", cancel_url: str = ""
    ) -> Submitted:
        """A request by its id, and its URLs where they are known."""

    async def submit(
        self,
        endpoint: str,
        arguments: Mapping[str, Json],
        ready: Callable[[], Awaitable[None]],
        headers: Mapping[str, str] | None = None,
        webhook_url: str | None = None,
    ) -> Submitted:
        """One POST, never repeated; its body leaves after `ready`, and not at all when that raises."""

    async def status(self, request: Submitted, *, logs: bool = False) -> Status:
        """Where a request is."""

    def stream_status(self, request: Submitted, *, logs: bool = False) -> AsyncIterator[Status]:
        """Every change of that, as fal tells it."""

    async def result(self, request: Submitted, *, take: Take | None = None) -> Answer:
        """How it ended; `take`: for an answer that may hold the images themselves, as for `fetch`."""

    async def cancel(self, request: Submitted) -> Cancelled:
        """Wish that it did not run."""

    def history(self, endpoint: str, start: datetime, end: datetime | None = None) -> AsyncIterator[HistoryPage]:
        """The account's requests since a moment, as far as fal shows them."""

    async def lookup(self, endpoint: str, request_id: str) -> HistoryItem | None:
        """One request's line in the history."""

    def images_of(self, output: Mapping[str, Json] | None) -> Images:
        """The images that a model's output names. Raises `ReadError` when it names none."""

    async def is_gone(self, endpoint: str) -> bool:
        """Whether fal's own list of models does not have an endpoint. Raises `ReadError` when it does not tell."""

    async def unit_price(self, endpoint: str) -> Decimal | None:
        """US dollars a billable unit."""

    async def fetch(self, file: ImageFile, sink: Sink, take: Take) -> str:
        """Put the bytes of one image into a sink; `take` is awaited with their number before they are read.

        Returns their content type, as the CDN tells it.
        """

    async def upload(self, data: bytes, content_type: str, file_name: str, seconds: int) -> str:
        """The URL under which fal's storage keeps these bytes for so long."""

    async def origin(self) -> str:
        """To whom datasets made with this client belong."""

    async def check(self, endpoint: str) -> None:
        """Raise `UsageError` when fal cannot be reached, or does not know the key."""


def _nothing(_point: str) -> None:
    """The hook of a normal run."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """The world: time, threads for the store, randomness.

    Attributes:
        token: a new random text, at least 128 bits: nonces and run ids.
        reached: called at each named point of a request's way; the kill suite dies there.
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
        again: `held`, `refused`, `lost`, `missing`, or row ids: the user's word to buy these again, once. It speaks of
            what stood on record when the run began. (`failed` is always tried again.)
        word: what the user's word in `again` is known by: the same for all partitions of a run, and for its retries.
            Empty: the run's own id.
        on_ambiguous: `hold` shows a submit in doubt until evidence settles it; `resubmit` bets (docs/guarantee.md).
        settle: seconds to wait for fal's history to show an ambiguous submit.
        attempts: attempts a request may be given in one run after failures that were free.
        is_model_chosen: whether nobody said the model, so that it must be the dataset's.
        recipe: what all rows are made with (template, model, arguments), as a digest: a manifest keeps it.
        table: the prompt table's name, without secrets; empty for one that has none. It tells whose records a run
            replaces in the image table.
        is_limited: whether only the first rows of the table were read: the records of the others stay.
        allow_rebuy: buy again what is there under another recipe, however much that is.
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
    word: str = ""
    on_ambiguous: Literal["hold", "resubmit"] = default("on_ambiguous")
    settle: float = default("settle")
    attempts: int = FREE_FAILURES.tries
    is_model_chosen: bool = False
    recipe: str = ""
    table: str = ""
    is_limited: bool = False
    allow_rebuy: bool = False
    patience: float = default("patience")
    request: RequestSettings = field(default_factory=RequestSettings)
    watch: Watch = "poll"
    webhook_url: str = ""
    logs: bool = False

    def __post_init__(self) -> None:
        names = ("max_in_flight", "again", "on_ambiguous", "settle", "allow_rebuy", "patience", "watch", "webhook_url")
        check(max_cost_usd=self.max_cost, logs=self.logs, **{name: getattr(self, name) for name in names})


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
