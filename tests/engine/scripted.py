"""One part of the engine by itself: a fal that answers by a list, a clock that nobody waits for, a store in memory."""

from __future__ import annotations

import io
import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any

from PIL import Image

from dagster_gptimg.engine.job import Job, Options, Runtime
from dagster_gptimg.engine.plan.plan import Plan, Request
from dagster_gptimg.engine.plan.request_keys import request_key
from dagster_gptimg.engine.purchase_rules import owns_all
from dagster_gptimg.engine.record.results import RunResults
from dagster_gptimg.engine.request_progress import RequestProgress
from dagster_gptimg.engine.submit.in_flight_limit import InFlightLimit, Place
from dagster_gptimg.errors import ReadError, StoreError
from dagster_gptimg.fal.registry.builtin import get_model
from dagster_gptimg.fal.registry.price_formulas import Price
from dagster_gptimg.fal.types import Completed, Failure, HistoryItem, HistoryPage, ImageFile, Images, Submitted
from dagster_gptimg.prompts import RowBatch
from dagster_gptimg.store.dataset import Dataset
from dagster_gptimg.store.receipts.facts import Accepted, Intent, Outcome, StoredImage, Word
from dagster_gptimg.store.root import Store
from dagster_gptimg.store.settled.rows import Settled

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from dagster_gptimg.engine.job import Take
    from dagster_gptimg.fal.types import Json, Sink

EPOCH = datetime(2026, 11, 24, tzinfo=UTC)
MODEL = get_model("gpt-image-1-mini")
ENDPOINT = MODEL.endpoint
RUN = "20261124T000000-0000aaaa"
UNIT_PRICE = Decimal("0.005")
SERVER_ERROR = Failure(kind="free", status_code=500, error_type="internal_server_error", message="it broke")
REFUSAL = Failure(kind="refused", status_code=422, error_type="content_policy_violation", message="no")

_NUMBERS = itertools.count()
"""Each store has a folder of its own."""


def at(seconds: float) -> datetime:
    """So many seconds after the clock's beginning."""
    return EPOCH + timedelta(seconds=seconds)


@cache
def png(url: str) -> bytes:
    """A small PNG, another one for each URL."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (sum(url.encode()) % 256, len(url), 77)).save(buffer, "PNG")
    return buffer.getvalue()


def images(*urls: str, units: int | None = 2, **about: Any) -> Images:
    """A result with these images, for so many billable units."""
    return Images(tuple(map(ImageFile, urls)), None if units is None else Decimal(units), **about)


def request(prompt: str = "a cup", copy: int = 0, **arguments: Json) -> Request:
    """What a row of the table needs: one image of low quality, where nothing else is said."""
    told = {"prompt": prompt, "quality": "low", "image_size": "1024x1024", "num_images": 1, **arguments}
    return Request(request_key(MODEL, told, copy), f"row of {prompt}", ENDPOINT, told)


CUP = request()


def rows(*wanted: Request) -> RowBatch:
    """The rows of a table with these requests, a row each."""
    own = {"prompt", "num_images"}
    arguments = [{name: value for name, value in one.arguments.items() if name not in own} for one in wanted]
    ids, prompts = [one.row_id for one in wanted], [str(one.arguments["prompt"]) for one in wanted]
    count = len(wanted)
    return RowBatch(ids, prompts, arguments, ["{}"] * count, range(count), [{}] * count)


def plan(*wanted: Request) -> Plan:
    """The plan of a table with these requests, a row each. Use it as a context manager."""
    return Plan([rows(*wanted)], MODEL)


def line(request_id: str, wanted: Request, sent: float = 1.0, **about: Any) -> HistoryItem:
    """A line of fal's history: the request was sent so many seconds after the clock's beginning, and has ended."""
    told = {"json_input": dict(wanted.arguments), "json_output": None, "status_code": 200, "ended_at": at(sent + 5)}
    return HistoryItem(request_id=request_id, endpoint_id=ENDPOINT, sent_at=at(sent), **(told | about))


class Clock:
    """Time that passes when somebody sleeps, and only then.

    Attributes:
        slept: the seconds of each sleep.
        then: called after each sleep.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.slept: list[float] = []
        self.then: list[Callable[[], object]] = []

    def now(self) -> datetime:
        return at(self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds
        for call in self.then:
            call()


@dataclass
class Fal:
    """fal, as a test has it answer.

    Attributes:
        says: by the name of a method, what it answers in turn, the last one for ever: a value, an error that it raises,
            or a function of the call's arguments whose value it is.
        calls: (method, what it was asked about) of each call, in their order; a POST is `POST`.
        headers: of each POST. webhooks: the URL for its webhook, of each POST.
    """

    says: dict[str, list[Any]] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    headers: list[Mapping[str, str] | None] = field(default_factory=list)
    webhooks: list[str | None] = field(default_factory=list)
    clock_offset: float | None = 0.0
    key: str = "the key"

    def count(self, method: str) -> int:
        """How often a method was called."""
        return sum(name == method for name, _ in self.calls)

    def _answer(self, method: str, about: str, *arguments: Any, otherwise: Any = None) -> Any:
        self.calls.append((method, about))
        answers = self.says.get(method, [otherwise])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if callable(answer):
            answer = answer(*arguments)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def account(self, salt: str) -> str:
        return f"{self.key} with {salt}"

    def request(
        self, endpoint: str, request_id: str, status_url: str = "", response_url: str = "", cancel_url: str = ""
    ) -> Submitted:
        return Submitted(
            request_id=request_id,
            endpoint=endpoint,
            status_url=status_url,
            response_url=response_url,
            cancel_url=cancel_url,
        )

    async def submit(
        self,
        endpoint: str,
        arguments: Mapping[str, Json],
        ready: Callable[[], Awaitable[None]],
        headers: Mapping[str, str] | None = None,
        webhook_url: str | None = None,
    ) -> Submitted:
        """`says["connect"]`: before the intent; `says["POST"]`: the reply to the POST."""
        self._answer("connect", endpoint)
        await ready()
        self.headers.append(headers)
        self.webhooks.append(webhook_url)
        answer = self._answer("POST", str(arguments["prompt"]), arguments, otherwise="R1")
        return self.request(endpoint, answer, f"status/{answer}", f"result/{answer}", f"cancel/{answer}")

    async def status(self, request: Submitted, *, logs: bool = False) -> Any:
        return self._answer("status", request.request_id, otherwise=Completed())

    async def stream_status(self, request: Submitted, *, logs: bool = False) -> AsyncIterator[Any]:
        raise ReadError("no streams here")
        yield

    async def result(self, request: Submitted, *, take: Take | None = None) -> Any:
        return self._answer("result", request.request_id, otherwise=images("cdn/0"))

    async def cancel(self, request: Submitted) -> Any:
        return self._answer("cancel", request.request_id)

    async def history(self, endpoint: str, start: datetime, end: datetime | None = None) -> AsyncIterator[HistoryPage]:
        """`says["history"]`: its lines, all of them whenever they are from; or a `HistoryPage`."""
        found = self._answer("history", endpoint, otherwise=())
        yield found if isinstance(found, HistoryPage) else HistoryPage(tuple(found), is_whole=True, cursor=None)

    async def lookup(self, endpoint: str, request_id: str) -> HistoryItem | None:
        found: HistoryItem | None = self._answer("lookup", request_id)
        return found

    def images_of(self, output: Mapping[str, Json] | None) -> Images:
        found: Any = (output or {}).get("images")
        if not found:
            raise ReadError("no images")
        return images(*(file["url"] for file in found), units=None)

    async def is_gone(self, endpoint: str) -> bool:
        return bool(self._answer("is_gone", endpoint))

    async def unit_price(self, endpoint: str) -> Decimal | None:
        price: Decimal | None = self._answer("unit_price", endpoint, otherwise=UNIT_PRICE)
        return price

    async def fetch(self, file: ImageFile, sink: Sink, take: Take) -> str:
        """`says["fetch"]`: the bytes; the picture of that URL where nothing else is said."""
        data = self._answer("fetch", file.url, file.url, otherwise=png(file.url))
        await take(len(data))
        sink.restart()
        sink.write(data)
        return "image/png"

    async def upload(self, data: bytes, content_type: str, file_name: str, seconds: int) -> str:
        return str(self._answer("upload", file_name, otherwise="https://fal.media/up.png"))

    async def origin(self) -> str:
        return "emulator:here"

    async def check(self, endpoint: str) -> None:
        self._answer("check", endpoint)


@dataclass
class Scene:
    """One job over an empty dataset.

    Attributes:
        fails: by the name of a function of the store's, how many of its next calls raise `StoreError`.
        did: names of the functions that were called of the store, and `POST`s are not among them.
    """

    options: Options = field(default_factory=lambda: Options(settle=60.0))
    partition: str | None = None
    fal: Fal = field(default_factory=Fal)
    clock: Clock = field(default_factory=Clock)
    fails: dict[str, int] = field(default_factory=dict)
    did: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = Store(f"memory://scripted/{next(_NUMBERS)}")
        self.dataset = Dataset(self.store, "d")
        self.dataset.open("emulator:here")
        runtime = Runtime(self.clock, self.io, lambda: f"token {next(_NUMBERS)}")
        self.job = Job(
            rows=[],
            model=MODEL,
            dataset=self.dataset,
            fal=self.fal,
            runtime=runtime,
            partition=self.partition,
            options=self.options,
        )
        self.results = RunResults(self.dataset, self.io, RUN)

    async def io(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        name = function.__name__
        self.did.append(name)
        if self.fails.get(name, 0) > 0:
            self.fails[name] -= 1
            raise StoreError("503 slow down")
        return function(*args, **kwargs)

    def forget(self) -> None:
        """Give the memory back."""
        self.store.fs.rm(self.store.root, recursive=True)

    def receipts(self, wanted: Request) -> list[str]:
        """What is on record of a request: `0.intent`, `0.accepted.R1.reply` and so on, in the order of names."""
        names = (name for name, _ in self.dataset.receipts.names(wanted.key))
        return sorted(name.removeprefix(f"{wanted.key}.").removesuffix(".json") for name in names)

    def has_whole(self, image: StoredImage) -> bool:
        """Whether the store has an image, as many bytes as are on record."""
        return len(self.store.read(f"d/{image.path}")) == image.bytes

    def progress(self, wanted: Request, **about: Any) -> RequestProgress:
        """A request on its way through the run, by what is on record of it now."""
        attempts = self.dataset.receipts.load(wanted.key)
        told: dict[str, Any] = {
            "owns": owns_all, "price": Price(Decimal("0.01"), Decimal("0.01")), "buys": True, "left": 3,
            "place": Place(InFlightLimit()), "word": Word(id="the word", run=RUN), "again_applies_to": len(attempts),
            "seen_at": self.clock.monotonic(),
        }  # fmt: skip
        return RequestProgress(wanted, attempts, **(told | about))

    # -- what stands on record before a test begins

    def intent(self, wanted: Request, n: int = 0, **about: Any) -> Intent:
        """Put an intent on record, as an earlier run made it when the clock began."""
        told: dict[str, Any] = {
            "endpoint": wanted.endpoint, "arguments": wanted.arguments, "partition": self.partition,
            "row_id": wanted.row_id, "run": "an earlier run", "cost_high_usd": Decimal("0.01"), "nonce": "n",
            "account": self.fal.account(self.dataset.salt), "created_at": EPOCH, "clock_offset_s": 0.0,
        }  # fmt: skip
        fact = Intent(**(told | about))
        assert self.dataset.receipts.create_intent(wanted.key, n, fact)
        return fact

    def accepted(self, wanted: Request, request_id: str, n: int = 0, how: Any = "reply") -> None:
        """Put on record that fal has a request."""
        fact = Accepted(
            request_id=request_id, endpoint=wanted.endpoint, status_url=f"status/{request_id}", response_url="",
            cancel_url="", accepted_at=EPOCH,
        )  # fmt: skip
        self.dataset.receipts.create_accepted(wanted.key, n, how, fact)

    def outcome(self, wanted: Request, request_id: str, kind: Any = "stored", n: int = 0, **about: Any) -> Outcome:
        """Put an outcome on record; of a stored one also its image into the store."""
        stored = [self._image(wanted, request_id)] if kind == "stored" else []
        told: dict[str, Any] = {"cost_usd": Decimal("0.01"), "completed_at": at(9), "recorded_at": at(10)}
        fact = Outcome(request_id=request_id, kind=kind, images=tuple(stored), **(told | about))
        return self.dataset.receipts.create_outcome(wanted.key, n, fact)

    def settled(self, wanted: Request, request_id: str, **about: Any) -> Settled:
        """The line of the settled index for a request that this run has bought, with one image."""
        image = self._image(wanted, request_id).model_dump(exclude={"notes"})
        told: dict[str, Any] = {
            "attempt": 0, "kind": "stored", "images": [image], "cost_usd": Decimal("0.01"), "billable_units": None,
            "error_type": None, "error": None, "partition": self.partition, "bought_by": RUN, "settled_by": RUN,
            "inference_s": None, "submitted_at": at(1), "completed_at": at(9), "stored_at": at(10),
        }  # fmt: skip
        return Settled(key=wanted.key, request_id=request_id, **(told | about))

    def _image(self, wanted: Request, request_id: str) -> StoredImage:
        data, path = png(request_id), f"images/{wanted.key[:2]}/{wanted.key}-{request_id}-0.png"
        self.store.write(f"d/{path}", data)
        return StoredImage(path=path, sha256="0" * 64, bytes=len(data), width=8, height=8, content_type="image/png")
