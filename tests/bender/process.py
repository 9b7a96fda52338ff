"""One process: the real engine and the real client of fal, on virtual time, over wires and a store that fail.

A process dies by `kill_after`: from then on none of its effects happens any more, as after a SIGKILL.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

from dagster_gptimg.engine.events import Finished
from dagster_gptimg.engine.job import Job, Options, Runtime
from dagster_gptimg.engine.run import generate
from dagster_gptimg.errors import GptImgError
from dagster_gptimg.fal.http.client import FalClient
from dagster_gptimg.fal.http.connections import Wire
from dagster_gptimg.fal.settings import FalSettings, FalUrls
from dagster_gptimg.store.dataset import Dataset
from tests.bender import judge
from tests.bender.fal import KEY
from tests.bender.store import lying_store
from tests.bender.transport import Transport
from tests.simulation.virtual_time import Clock, VirtualLoop, bury

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.bender.world import World

PATIENCE = 40.0
AT_MOST = 1200.0
"""Seconds within which every run ends, beyond its patience for each attempt of each row that waits for a place."""

ENDS_WITHIN = 10.0
"""Seconds within which an interrupted run ends."""


class Killed(BaseException):
    """The process is dead: nothing that it still does has an effect."""


@dataclass
class Process:
    """One run of the engine, from its start to its end or its death.

    Attributes:
        kill_after: so many effects it has. interrupt_at: seconds after its start at which somebody stops it.
        skew: seconds by which its machine's clock is ahead. jump: the same, from some seconds after its start on.
        starts: seconds until it starts.
        partition: the rows that it is for; None: all of them.
        word: what the user's word in `options.again` is known by; empty: the run's own id.
        table: the image table of its partition, as it left it.
    """

    world: World
    name: str = "process"
    options: Options = field(default_factory=lambda: Options(settle=60.0, max_in_flight=4, patience=PATIENCE))
    kill_after: int | None = None
    interrupt_at: float | None = None
    skew: float = 0.0
    jump: float | None = None
    starts: float = 0.0
    partition: str | None = None
    word: str = ""
    effects: int = 0
    events: list[Any] = field(default_factory=list)
    end: Finished | None = None
    refused: GptImgError | None = None
    is_dead: bool = False
    began: float = 0.0
    ended: float = 0.0
    clock: Clock | None = None
    table: list[dict[str, Any]] = field(default_factory=list)
    on_event: Callable[[Any], None] = lambda _: None

    # -- effects

    def effect(self) -> None:
        """Called around every effect; the process dies at the chosen one."""
        self.effects += 1
        if self.kill_after is not None and self.effects > self.kill_after:
            self.is_dead = True
            self._died.set()
            raise Killed

    async def on_the_wire(self) -> None:
        """A message on its way."""
        self.effect()
        await asyncio.sleep(self.world.draw.uniform(0.005, 0.1))
        self.effect()

    async def _io(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        self.effect()
        result = function(*args, **kwargs)
        self.effect()
        await asyncio.sleep(0.001)
        return result

    # -- its life

    async def live(self) -> None:
        """Run in a loop that other processes run in, too."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        self._died = asyncio.Event()
        await asyncio.sleep(self.starts)
        self.began = loop.time()
        self.clock = Clock(loop, self.skew, self.jump)
        interrupt = asyncio.Event()
        if self.interrupt_at is not None:
            loop.call_later(self.interrupt_at, interrupt.set)
        main, death = asyncio.create_task(self._main(interrupt)), asyncio.create_task(self._died.wait())
        turns = -(-len(self.world.rows) // (self.options.max_in_flight or 8))
        bound = turns * self.options.attempts * self.options.patience + AT_MOST
        await asyncio.wait({main, death}, timeout=bound, return_when=asyncio.FIRST_COMPLETED)
        self.ended = loop.time()
        death.cancel()
        if self.is_dead:
            return
        self.is_dead, self.kill_after = True, 0
        assert main.done(), f"{self.name} has not ended after {bound:.0f} s"
        main.result()
        if self.interrupt_at is not None and self.began + self.interrupt_at < self.ended:
            took = self.ended - self.began - self.interrupt_at
            assert took <= ENDS_WITHIN, f"{self.name} ended {took:.1f} s after its interrupt"

    async def _main(self, interrupt: asyncio.Event) -> None:
        try:
            async with self.client() as fal:
                async for event in generate(self._job(fal), interrupt):
                    self.events.append(event)
                    self.on_event(event)
                    if isinstance(event, Finished):
                        self.end, self.table = event, judge.manifest(self.world, self.partition)
        except GptImgError as error:
            self.refused = error
        is_interrupted = interrupt.is_set()  # before it had begun
        assert self.end is not None or self.refused is not None or is_interrupted, f"{self.name} ends without a word"

    def client(self) -> FalClient:
        """The real client, whose connections are the world's."""
        hosts = self.world.face.hosts
        urls = FalUrls(hosts.queue, hosts.queue, hosts.rest, hosts.cdn, hosts.api, hosts.backup)
        with plugged(self):
            return FalClient(FalSettings(KEY, urls))

    def _job(self, fal: FalClient) -> Job:
        world = self.world
        assert self.clock is not None
        return Job(
            rows=[world.batch(self.partition)],
            model=world.model,
            dataset=Dataset(lying_store(world.uri, world.lies), "d"),
            fal=fal,
            runtime=Runtime(self.clock, self._io, lambda: f"{world.draw.getrandbits(128):032x}"),
            partition=self.partition,
            options=self._options(),
        )

    def _options(self) -> Options:
        """The run's options, with the user's word where the release under test knows one."""
        knows = any(field.name == "word" for field in dataclasses.fields(Options))
        return dataclasses.replace(self.options, word=self.word) if knows else self.options


class plugged:  # noqa: N801 - used as a context manager, like those of the standard library
    """Has clients that are made meanwhile connect to the process's world."""

    def __init__(self, process: Process) -> None:
        self._process, self._true = process, Wire._client

    def __enter__(self) -> None:
        process = self._process

        def client(wire: Wire, _connections: int, **_how: bool) -> httpx.AsyncClient:
            settings = wire._settings
            if hasattr(wire, "_wall_clock") and process.clock is not None:
                wire._wall_clock = process.clock.now
            timeout = httpx.Timeout(settings.read_timeout, connect=settings.connect_timeout, pool=None)
            return httpx.AsyncClient(transport=Transport(process), timeout=timeout, follow_redirects=False)

        Wire._client = client  # type: ignore[assignment, method-assign]

    def __exit__(self, *_: object) -> None:
        Wire._client = self._true  # type: ignore[method-assign]


class Logs(logging.Handler):
    """Keeps what the package and its libraries log, as it would be written."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


def together(*processes: Process) -> None:
    """Have several processes of one world live at the same time."""
    world = processes[0].world
    loop = VirtualLoop(world.now)
    loop.set_exception_handler(lambda *_: None)  # the dead do not report
    world.loop = loop

    async def all_of_them() -> None:
        others = [asyncio.create_task(way()) for way in world.beside]
        await asyncio.gather(*(process.live() for process in processes))
        for other in others:
            other.cancel()
        for error in await asyncio.gather(*others, return_exceptions=True):
            if error is not None and not isinstance(error, asyncio.CancelledError):
                raise error

    try:
        loop.run_until_complete(all_of_them())
    finally:
        for process in processes:
            process.is_dead, process.kill_after = True, -1
        bury(loop)
        world.now, world.loop = loop.now, None
        world.lives.extend(processes)
