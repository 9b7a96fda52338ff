"""A world without waiting: virtual time, a store in memory, and a fal in this process that misbehaves by seed.

The engine is the real one. A process dies by `Life.kill_after`: from then on none of its effects happens any more, as
after a SIGKILL. What fal has accepted goes on, and its bill is the judge.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache
from math import inf, isfinite
from typing import TYPE_CHECKING, Any

from PIL import Image

from dagster_gptimg.engine.events import Finished
from dagster_gptimg.engine.job import Job, Options, Runtime
from dagster_gptimg.engine.run import generate
from dagster_gptimg.errors import (
    AccountLockedError,
    AmbiguousSubmitError,
    GoneError,
    NotSentError,
    ReadError,
    RejectedError,
    StoreError,
)
from dagster_gptimg.fal.registry.builtin import get_model
from dagster_gptimg.fal.types import (
    Cancelled,
    Completed,
    Failure,
    HistoryItem,
    HistoryPage,
    ImageFile,
    Images,
    InProgress,
    Pending,
    Queued,
    Submitted,
)
from dagster_gptimg.prompts import RowBatch
from dagster_gptimg.store.dataset import Dataset
from dagster_gptimg.store.receipts.facts import Accepted
from dagster_gptimg.store.root import Store
from tests.simulation.virtual_time import EPOCH, Clock, VirtualLoop, bury

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from dagster_gptimg.engine.job import Take
    from dagster_gptimg.fal.types import Sink

PRICE = Decimal("0.01")
LOW = {"quality": "low", "image_size": "1024x1024"}
PATIENCE = 40.0
"""Seconds that a run waits for a request that does not end."""


class Killed(BaseException):
    """The process is dead: nothing that it still does has an effect."""


@dataclass
class Request:
    """One request that fal has accepted."""

    id: str
    arguments: dict[str, Any]
    sent_at: float
    ends_at: float
    end: str  # ok | refused | failed | cancelled | empty (without images) | vanished (fal has nothing of it)
    images: int = 1
    billed: int = 1

    @property
    def prompt(self) -> str:
        return str(self.arguments["prompt"])

    @property
    def accepted(self) -> Accepted:
        """What is put on record of it where only its id is known."""
        at = EPOCH + timedelta(seconds=self.sent_at)
        return Accepted(request_id=self.id, endpoint="e", status_url="", response_url="", cancel_url="", accepted_at=at)

    @property
    def urls(self) -> list[str]:
        return [f"cdn/{self.id}/{index}" for index in range(self.images)]


_NUMBERS = itertools.count()
"""Each world has a folder of its own: an `id()` comes again when its object is gone."""


@dataclass
class World:
    """What survives a process: fal, the store, time.

    Attributes:
        each: images that each row asks for.
    """

    seed: int
    faults: dict[str, float]
    rows: list[str]
    now: float = 0.0
    each: int = 1
    requests: dict[str, Request] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.flips = set[tuple[str, bytes]]()
        self.store = Store(f"memory://simulation/{self.seed}-{next(_NUMBERS)}")
        self.model = get_model("gpt-image-1-mini")

    def strikes(self, fault: str) -> bool:
        return self.random.random() < self.faults.get(fault, 0.0)

    def flip(self, url: str) -> bytes:
        """An image with one wrong bit, another one each time: the same one twice would be how fal has the file."""
        data = flipped(picture(url), self.random)
        while (url, data) in self.flips:
            data = flipped(picture(url), self.random)
        self.flips.add((url, data))
        return data

    def forget(self) -> None:
        """Give the memory back."""
        self.store.fs.rm(self.store.root, recursive=True)

    def billed(self) -> list[Request]:
        """Requests that cost money once everything has ended that ever does."""
        return [r for r in self.requests.values() if r.end == "ok" and isfinite(r.ends_at)]

    def when_all_has_ended(self) -> float:
        """The moment at which nothing runs any more, but what runs for ever."""
        return max([self.now, *(r.ends_at for r in self.requests.values() if isfinite(r.ends_at))])


@dataclass
class Life:
    """One process, from its start to its end or its death.

    Attributes:
        kill_after: so many effects it has. interrupt_after: seconds until somebody stops it.
        skew: seconds by which this machine's clock is wrong. jump: the same, from some seconds after its start on.
        starts: seconds until it starts. frozen: what it waits for between an intent's create and its POST.
        reached: told each named point of the engine, as the kill suite's hook is.
    """

    world: World
    kill_after: int | None = None
    interrupt_after: float | None = None
    options: Options = field(default_factory=lambda: Options(settle=60.0, max_in_flight=4, patience=PATIENCE))
    skew: float = 0.0
    jump: float | None = None
    starts: float = 0.0
    frozen: Callable[[], Awaitable[None]] | None = None
    reached: Callable[[str], None] = lambda _: None
    on_event: Callable[[Any], None] = lambda _: None
    effects: int = 0
    clock: Clock | None = None

    def clock_is_off(self, now: float) -> float:
        """Seconds by which this machine's clock is ahead now."""
        return self.clock.is_off(now) if self.clock is not None else self.skew

    def effect(self) -> None:
        """Called around every effect; the process dies at the chosen one."""
        self.effects += 1
        if self.kill_after is not None and self.effects > self.kill_after:
            raise Killed

    async def io(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        self.effect()
        if self.world.strikes("store"):
            raise StoreError("503 slow down")
        result = function(*args, **kwargs)
        self.effect()
        if self.world.strikes("store_reply"):
            raise StoreError("the reply was lost")
        await asyncio.sleep(0.001)
        return result

    def die(self) -> None:
        """As by a SIGKILL, here and now."""
        self.kill_after = 0
        self.effects += 1
        raise Killed

    def run(self) -> Finished | None:
        """Live; None when it died."""
        return together(self)[0]

    async def live(self) -> Finished | None:
        """The same inside a loop that others live in, too."""
        await asyncio.sleep(self.starts)
        try:
            return await self._main()
        except (Killed, StoreError):  # a store that fails at the start ends the run before anything is sent
            return None
        finally:
            self.kill_after = 0

    async def _main(self) -> Finished | None:
        loop = asyncio.get_running_loop()
        end = None
        watch = asyncio.create_task(self._watch())
        main = asyncio.create_task(self._consume(loop))
        await asyncio.wait({main, watch}, return_when=asyncio.FIRST_COMPLETED)
        if main.done():
            watch.cancel()
            end = main.result()
        else:
            raise Killed
        return end

    async def _watch(self) -> None:
        """Death is not an exception that somebody may catch: it is noticed from outside."""
        while self.kill_after is None or self.effects <= self.kill_after:  # noqa: ASYNC110 - effects come from anywhere
            await asyncio.sleep(0.5)

    def rows(self, arguments: dict[str, Any]) -> RowBatch:
        """The table's rows, with these arguments."""
        prompts, count = self.world.rows, len(self.world.rows)
        ids = [f"r{number}" for number in range(count)]
        return RowBatch(ids, prompts, [arguments] * count, ["{}"] * count, range(count), [{}] * count)

    async def _consume(self, loop: Any) -> Finished:
        clock = self.clock = Clock(loop, self.skew, self.jump)
        wanted = LOW | ({"num_images": self.world.each} if self.world.each > 1 else {})
        job = Job(
            rows=[self.rows(wanted)],
            model=self.world.model,
            dataset=Dataset(self.world.store, "d"),
            fal=SimFal(self, loop),
            runtime=Runtime(clock, self.io, lambda: f"{self.world.random.getrandbits(128):032x}", self.reached),
            options=self.options,
        )
        interrupt = asyncio.Event()
        if self.interrupt_after is not None:
            loop.call_later(self.interrupt_after, interrupt.set)
        async for event in generate(job, interrupt):
            self.on_event(event)
            if isinstance(event, Finished):
                return event
        raise AssertionError("a run without an end")


def together(*lives: Life) -> list[Finished | None]:
    """Several processes of one world at the same time; None for those that died."""
    world = lives[0].world
    loop = VirtualLoop(world.now)
    loop.set_exception_handler(lambda *_: None)  # the dead do not report

    async def all_of_them() -> list[Finished | None]:
        return await asyncio.gather(*(life.live() for life in lives))

    try:
        return loop.run_until_complete(all_of_them())
    finally:
        bury(loop)
        world.now = loop.now


class SimFal:
    """fal as one process sees it: the world's requests, through a network that fails by seed."""

    def __init__(self, life: Life, loop: VirtualLoop) -> None:
        self.life, self.world, self.loop = life, life.world, loop

    @property
    def clock_offset(self) -> float:
        """fal's clock is right; the process's may be wrong."""
        return -self.life.clock_is_off(self.loop.time())

    def account(self, salt: str) -> str:
        return "account"

    def request(self, endpoint: str, request_id: str, *urls: str) -> Submitted:
        return Submitted(request_id=request_id, endpoint=endpoint, status_url="", response_url="", cancel_url="")

    async def origin(self) -> str:
        return "fal"

    async def check(self, endpoint: str) -> None:
        return

    async def unit_price(self, endpoint: str) -> Decimal | None:
        return PRICE

    async def is_gone(self, endpoint: str) -> bool:
        await self._wire()
        return False

    def images_of(self, output: Any) -> Images:
        files = (output or {}).get("images") or []
        if not files:
            raise ReadError("no images")
        return Images(tuple(ImageFile(file["url"]) for file in files))

    async def submit(
        self,
        endpoint: str,
        arguments: Mapping[str, Any],
        ready: Callable[[], Awaitable[None]],
        headers: Mapping[str, str] | None = None,
        webhook_url: str | None = None,
    ) -> Submitted:
        await self._wire()
        if self.world.strikes("not_sent"):
            raise NotSentError("connection refused")
        await ready()
        if self.life.frozen is not None:
            await self.life.frozen()
        self.life.effect()
        for fault, error in _REJECTIONS.items():
            if self.world.strikes(fault):
                raise error
        if self.world.strikes("submit_dropped"):
            raise AmbiguousSubmitError("reset before fal had it")
        late = 30.0 if self.world.strikes("submit_late") else 0.0
        request = self._accept(arguments, late)
        self.life.effect()
        await self._wire()
        if late or self.world.strikes("submit_lost"):
            raise AmbiguousSubmitError("the reply was lost")
        return Submitted(request_id=request.id, endpoint=endpoint, status_url="", response_url="", cancel_url="")

    def _accept(self, arguments: Mapping[str, Any], late: float) -> Request:
        draw = self.world.random
        end = "refused" if self.world.strikes("refused") else "failed" if self.world.strikes("failed") else "ok"
        now = self.loop.time() + late
        ends_at = now + draw.uniform(2.0, 8.0)
        if self.world.strikes("stuck"):  # for ever, or for longer than a run waits
            ends_at = draw.choice([inf, now + draw.uniform(PATIENCE, 5 * PATIENCE)])
        asked = int(arguments.get("num_images", 1))
        images = asked - 1 if asked > 1 and self.world.strikes("fewer") else asked
        request = Request(f"R{len(self.world.requests)}", dict(arguments), now, ends_at, end, images, asked)
        self.world.requests[request.id] = request
        return request

    async def status(self, request: Submitted, *, logs: bool = False) -> Any:
        found = await self._read("status", request)
        if found.end == "vanished":
            raise GoneError("not found")
        if self.loop.time() >= found.ends_at:
            return Completed()
        return Queued(0) if self._waits(found) or self.world.strikes("requeue") else InProgress()

    def _waits(self, request: Request) -> bool:
        return self.loop.time() < min(request.ends_at - 2.0, request.sent_at + 6.0)

    async def stream_status(self, request: Submitted, *, logs: bool = False) -> AsyncIterator[Any]:
        raise ReadError("no streams here")
        yield

    async def result(self, request: Submitted, *, take: Take | None = None) -> Any:
        found = await self._read("result", request)
        if self.loop.time() < found.ends_at:
            return Pending()
        if found.end == "vanished" or self.world.strikes("expired"):
            raise GoneError("expired")
        if found.end == "empty":
            return Failure(
                kind="ended",
                status_code=200,
                error_type="ended_without_images",
                message="fal's result has no images",
                billable_units=Decimal(found.billed),
            )
        if found.end == "cancelled":
            return Failure(
                kind="ended", status_code=499, error_type="client_cancelled", message="the request was cancelled"
            )
        if found.end == "failed":
            return Failure(kind="free", status_code=500, error_type="internal_server_error", message="it broke")
        if found.end == "refused":
            return Failure(
                kind="refused",
                status_code=422,
                error_type="content_policy_violation",
                message="no",
                billable_units=Decimal(0),
            )
        return Images(tuple(map(ImageFile, found.urls)), Decimal(found.billed))

    async def cancel(self, request: Submitted) -> Cancelled:
        found = await self._read("cancel", request)
        if not self._waits(found) or self.world.strikes("cancel_loses"):
            return Cancelled(removed=False)
        found.end, found.ends_at = "cancelled", min(found.ends_at, self.loop.time())
        if self.world.strikes("cancel_lost"):
            raise ReadError("it left the queue, and nobody was told")
        return Cancelled(removed=True)

    async def history(self, endpoint: str, start: datetime, end: datetime | None = None) -> AsyncIterator[HistoryPage]:
        await self._wire()
        if self.world.strikes("history"):
            raise ReadError("the history is down")
        shown = [(item, item.ended_at or start) for item in self._shown()]
        yield HistoryPage(
            tuple(item for item, at in shown if start <= at and (end is None or at < end)), is_whole=True, cursor=None
        )

    async def lookup(self, endpoint: str, request_id: str) -> HistoryItem | None:
        await self._wire()
        if self.world.strikes("history"):
            raise ReadError("the history is down")
        return next((item for item in self._shown() if item.request_id == request_id), None)

    def _shown(self) -> list[HistoryItem]:
        now = self.loop.time()
        return [
            HistoryItem(
                request_id=r.id,
                endpoint_id="e",
                sent_at=EPOCH + timedelta(seconds=r.sent_at),
                ended_at=EPOCH + timedelta(seconds=r.ends_at),
                status_code={"ok": 200, "empty": 200, "refused": 422, "cancelled": 499}.get(r.end, 500),
                json_input={**r.arguments, "background": "auto"},
                json_output={"images": [{"url": url} for url in r.urls]} if r.end == "ok" else None,
            )
            for r in self.world.requests.values()
            if now >= r.ends_at + 3.0 and r.end != "vanished"
        ]

    async def upload(self, data: bytes, content_type: str, file_name: str, seconds: int) -> str:
        raise NotImplementedError

    async def fetch(self, file: ImageFile, sink: Sink, take: Take) -> str:
        sink.restart()
        sink.write(await self._image(file.url))
        return "image/png"

    async def _image(self, url: str) -> bytes:
        await self._wire()
        if self.world.strikes("image_broken"):
            return picture(url)[:-20]
        if self.world.strikes("image_flipped"):
            return self.world.flip(url)
        if self.world.strikes("image_html"):
            return b"<html>502</html>"
        if self.world.strikes("image_empty"):
            return b""
        if self.world.strikes("image_gone"):
            raise GoneError("404")
        if self.world.strikes("read"):
            raise ReadError("reset")
        return picture(url)

    async def _read(self, what: str, request: Submitted) -> Request:
        await self._wire()
        if self.world.strikes("read"):
            raise ReadError(f"{what}: nginx 503")
        return self.world.requests[request.request_id]

    async def _wire(self) -> None:
        self.life.effect()
        await asyncio.sleep(self.world.random.uniform(0.01, 0.2))


_REJECTIONS: dict[str, Exception] = {
    "rejected_429": RejectedError("too many", status_code=429, retry_after=3.0),
    "rejected_429_bare": RejectedError("too many, and fal does not say for how long", status_code=429),
    "rejected_400": RejectedError("bad", status_code=400),
    "locked": AccountLockedError("User is locked", status_code=403),
}


@cache
def picture(url: str) -> bytes:
    """A small PNG that is different for each URL (`cdn/R<number>/<index>`)."""
    number, index = map(int, url.rpartition("R")[2].split("/"))
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (number % 256, number // 256 % 256, 77 + index)).save(buffer, "PNG")
    return buffer.getvalue()


def flipped(data: bytes, draw: random.Random) -> bytes:
    """The same bytes but for one bit."""
    place = draw.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << draw.randrange(8)]) + data[place + 1 :]
