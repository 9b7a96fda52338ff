"""What survives a process: fal, its weather, the store, time, and the rows."""

from __future__ import annotations

import base64
import hashlib
import itertools
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dagster_gptimg.fal.registry.builtin import get_model
from dagster_gptimg.prompts import Reference, RowBatch
from dagster_gptimg.store.root import Store
from tests.bender.face import Face, Hosts
from tests.bender.fal import Fal, Habits
from tests.bender.pictures import picture
from tests.bender.store import Lies
from tests.bender.weather import Weather

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from tests.bender.process import Process
    from tests.simulation.virtual_time import VirtualLoop

LOW = {"quality": "low", "image_size": "1024x1024"}


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        each: images that it asks for.
        is_edit: whether it has a reference image, which is uploaded.
        partitions: those that it is in; none: all.
    """

    prompt: str
    each: int = 1
    is_edit: bool = False
    partitions: frozenset[str] = frozenset()


_NUMBERS = itertools.count()
"""Each world has a folder of its own: an `id()` comes again when its object is gone."""


@dataclass
class World:
    """One history's world.

    Attributes:
        beside: what runs in each loop beside the processes.
        down: origins where nothing listens. strays: calls of others than fal's, with their headers.
    """

    seed: int
    rows: list[Row]
    habits: Habits = field(default_factory=Habits)
    slots: int = 20
    now: float = 0.0
    loop: VirtualLoop | None = None
    beside: list[Callable[[], Coroutine[Any, Any, None]]] = field(default_factory=list)
    down: set[str] = field(default_factory=set)
    strays: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    lives: list[Process] = field(default_factory=list)

    def __post_init__(self) -> None:
        random.seed(self.seed)  # the jitter of pauses between reads
        self.draw = random.Random(self.seed)
        self.fal = Fal(self.draw, self.habits, self.slots)
        self.face = Face(self.fal, self.time, Hosts())
        self.weather = Weather(self.face, self.draw)
        self.lies = Lies(self.draw, self.time)
        self.uri = f"memory://bender/{self.seed}-{next(_NUMBERS)}"
        self.store = Store(self.uri)
        self.model = get_model("gpt-image-1-mini")

    def time(self) -> float:
        """Seconds since the world began, by a clock that is right."""
        return self.now if self.loop is None else self.loop.time()

    def anybody(self) -> Process:
        """A process that is no run: whoever else calls fal."""
        from tests.bender.process import Process

        return Process(self, "receiver")

    def batch(self, partition: str | None) -> RowBatch:
        """The rows of a partition, checked as a table's are."""
        mine = [(n, row) for n, row in enumerate(self.rows) if not row.partitions or partition in row.partitions]
        wanted, references = [], []
        for _, row in mine:
            arguments: dict[str, Any] = LOW | ({"num_images": row.each} if row.each > 1 else {})
            known: dict[str, Reference] = {}
            if row.is_edit:
                data = picture(f"reference of {row.prompt}")
                token = f"sha256:{hashlib.sha256(data).hexdigest()}"
                known = {token: Reference(token, f"data:image/png;base64,{base64.b64encode(data).decode()}")}
                arguments = {**arguments, "image_urls": [token]}
            wanted.append(arguments)
            references.append(known)
        ids, prompts = [f"r{n}" for n, _ in mine], [row.prompt for _, row in mine]
        return RowBatch(ids, prompts, wanted, ["{}"] * len(mine), range(len(mine)), references)

    def clear(self) -> None:
        """Let everything be well from now on."""
        self.weather.rules.clear()
        self.lies.rates.clear()
        self.down.clear()
        self.fal.ends.clear()
        self.habits.ends, self.habits.slow, self.habits.fewer = {}, 0.0, 0.0

    def forget(self) -> None:
        """Delete the store's objects, which are held in memory."""
        if self.store.fs.exists(self.store.root):
            self.store.fs.rm(self.store.root, recursive=True)

    def files(self, folder: str) -> dict[str, bytes]:
        """What lies below a folder of the dataset, by its path there."""
        base, below = f"{self.store.root}/d/", f"{self.store.root}/d/{folder}"
        objects = self.store.fs.store.items()
        return {path.removeprefix(base): file.getvalue() for path, file in objects if path.startswith(below)}
