"""`stores`: what each store does, tried on real servers. `python -m benchmarks.stores [NAME ...]` prints a table.

Its lines are those of docs/stores.md: whether one of 32 creators in two processes wins, what `doctor` says, what a
first and a second run buy, two at once, and one that was killed; and how many calls an image takes. The bill of the
emulator judges.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from benchmarks.results import Measured

if TYPE_CHECKING:
    from multiprocessing.queues import Queue
    from multiprocessing.synchronize import Barrier

    from tests.harness import Fal, Ran
    from tests.store_servers import StoreServer

RACES, EACH = 20, 16
"""Races of each store, and creators of each of the two processes."""

ROWS, SOME = 24, 8
LOW = ("--set", "quality=low", "--set", "image_size=1024x1024", "--settle", "2")
IMAGE = b"\x89PNG" * 250_000
"""What stands for an image where only the store is timed: 1 MB."""

STORES: Final[Mapping[str, str]] = {
    "folder": "",
    "s3 (moto)": "moto",
    "s3 (localbucket)": "localbucket",
    "gs (fake-gcs-server)": "google",
    "abfs (Azurite)": "azure",
}
"""The server of each store, in `tests.store_servers`."""


@dataclass(frozen=True)
class Tried:
    """What came of one store; counts are of `ROWS` rows, and None where it was not tried."""

    name: str
    doctor: str
    winners: int
    first: int
    second: int
    twice: int
    killed: str
    calls: float | None
    seconds: float

    def line(self) -> str:
        """Return its line of the table."""
        won = "yes" if self.winners == 1 else f"no: up to {self.winners} won"
        calls = "" if self.calls is None else f"{self.calls:.1f}"
        cells = (self.name, won, self.doctor, self.first, self.second, self.twice, self.killed, calls)
        return f"| {' | '.join(map(str, cells))} |"


HEAD = (
    "| store | one of 32 creators wins | `doctor` | first run buys | second run buys | two at once: paid twice "
    "| killed, and run again | calls an image |\n|---|---|---|---|---|---|---|---|"
)


def measure(_: float = 1.0) -> Measured:
    """Calls and seconds an image, of each store."""
    found = Measured()
    print(HEAD)
    for name in STORES:
        one = tried(name)
        print(one.line(), flush=True)
        if one.calls is not None:
            found.add(
                f"calls an image, {name}", one.calls, "calls", None, "all methods; the first run, images included"
            )
        about = "four writes and one read, one after the other; the image has 1 MB"
        found.add(f"seconds an image in the store alone, {name}", one.seconds, "s", None, about)
    return found


def tried(name: str) -> Tried:
    """Try one store; its server is started for it."""
    from tests import store_servers
    from tests.harness import emulator

    kind = STORES[name]
    with (
        TemporaryDirectory() as home,
        emulator(Path(home, "fal"), "--latency", "0.2", "--slots", "20") as fal,
        getattr(store_servers, kind)() if kind else nullcontext() as server,
    ):
        root, env = (home, {}) if server is None else (server.root, dict(server.env))
        with _environment(env):
            return _Trial(name, fal, root, env, server, Path(home)).tried()


class _Trial:
    """The trials of one store whose server runs."""

    def __init__(
        self, name: str, fal: Fal, root: str, env: dict[str, str], server: StoreServer | None, home: Path
    ) -> None:
        self.name, self.fal, self.root, self.env, self.server, self.home = name, fal, root, env, server, home

    def tried(self) -> Tried:
        from tests.harness import cli

        said = cli(self.fal, "doctor", "--store", self._place(), env=self.env)
        assert "created exclusively" in said.stdout, said.stdout
        doctor = "✓ created exclusively"
        command = self._command(self._place(), ROWS)
        first, second = (self._run(command).summary["bought"] for _ in range(2))
        calls = None if self.server is None else self._calls(self.server)
        return Tried(
            self.name, doctor, self._winners(), first, second, self._at_once(), self._killed(), calls, self._seconds()
        )

    def _place(self) -> str:
        return f"{self.root}/{uuid.uuid4().hex}"

    def _command(self, place: str, rows: int) -> tuple[str, ...]:
        # Prompts of its own: an equal request of the same account may be adopted for one that is in doubt.
        prompts = self.home / f"{uuid.uuid4().hex}.jsonl"
        prompts.write_text("\n".join(json.dumps({"prompt": f"{prompts.stem} {n}"}) for n in range(rows)), "utf-8")
        return ("generate", str(prompts), "--store", place, "--dataset", "d", "--json", *LOW)

    def _run(self, command: tuple[str, ...], env: dict[str, str] | None = None) -> Ran:
        from tests.harness import cli

        ran = cli(self.fal, *command, env=env or self.env)
        assert ran.status == 0, ran.stderr
        return ran

    def _calls(self, server: StoreServer) -> float:
        """Calls an image of a first run: of one with more rows, less those of one with few."""
        from tests.faulty_s3 import faulty_store

        counts = []
        for rows in (SOME, ROWS):
            with faulty_store(server.url, self.env) as (proxy, env):
                self._run(self._command(self._place(), rows), env)
                counts.append(proxy.calls.total())
        return (counts[1] - counts[0]) / (ROWS - SOME)

    def _bill(self) -> list[str]:
        return [str(row["request_id"]) for row in self.fal.charged()]

    def _at_once(self) -> int:
        """How many of `ROWS` rows two runs at once have paid for twice."""
        from tests.harness import begin

        before, place = len(self._bill()), self._place()
        command = self._command(place, ROWS)
        both = [begin(self.fal, *command, env=self.env) for _ in range(2)]
        for process in both:
            process.join()
        return len(self._bill()) - before - ROWS

    def _killed(self) -> str:
        from tests.harness import cli, kill, records, start, until

        before, place = len(self._bill()), self._place()
        command = self._command(place, ROWS)
        process = start(self.fal, *command, "--max-in-flight", "3", env=self.env)
        until("some were bought", lambda: len(self._bill()) >= before + SOME)
        kill(process)
        cli(self.fal, *command, env=self.env)
        if held := sum(row["status"] == "held" for row in records(place, "d", self.env)):
            self._run(command=(*command, "--again", "held"))
        stored = sum(row["status"] == "stored" for row in records(place, "d", self.env))
        words = f"{len(self._bill()) - before} bought, {stored} stored"
        return f"{words}; {held} held until the user's word" if held else words

    def _winners(self) -> int:
        """The most of 32 creators, in two processes, that were told in one of the races that they had won."""
        context, place = multiprocessing.get_context("spawn"), self._place()
        barrier, queue = context.Barrier(2), context.Queue()
        both = [context.Process(target=create_at_once, args=(place, barrier, queue)) for _ in range(2)]
        for process in both:
            process.start()
        won = Counter(queue.get() for _ in range(2 * RACES * EACH))
        for process in both:
            process.join()
        return max(count for (_, is_won), count in won.items() if is_won)

    def _seconds(self) -> float:
        from dagster_gptimg.store.root import Store

        # Not a file system that was made for the server before this one.
        store, began = Store(self._place(), {"skip_instance_cache": True} if self.server else None), time.monotonic()
        for number in range(SOME):
            for fact in ("intent", "accepted", "outcome"):
                store.create(f"receipts/{number}.{fact}.json", b"{}" * 400)
            store.read(f"receipts/{number}.intent.json")
            store.write(f"images/{number}.png", IMAGE)
        return (time.monotonic() - began) / SOME


def create_at_once(place: str, barrier: Barrier, queue: Queue[tuple[int, bool]]) -> None:
    """Have 16 threads of this process create an object at once, for each race; tell who was told that it had won."""
    from dagster_gptimg.store.root import Store

    store, together = Store(place), threading.Barrier(EACH, lambda: _wait(barrier))

    def create(body: bytes) -> None:
        for number in range(RACES):
            together.wait()
            try:
                store.create(f"races/{number}.json", body)
            except FileExistsError:
                queue.put((number, False))
            else:
                queue.put((number, True))

    threads = [threading.Thread(target=create, args=(uuid.uuid4().hex.encode(),)) for _ in range(EACH)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _wait(barrier: Barrier) -> None:
    barrier.wait()


@contextmanager
def _environment(env: Mapping[str, str]) -> Iterator[None]:
    """What this process and those that it starts find in their environment."""
    before = dict(os.environ)
    os.environ.update(env)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


if __name__ == "__main__":
    print(HEAD)
    for wanted in sys.argv[1:] or STORES:
        print(tried(wanted).line(), flush=True)
