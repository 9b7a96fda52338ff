"""`waiting`: the CPU of a worker that has 1,000 requests in flight, and nothing to submit or to collect."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import TypeAlias

from benchmarks.processes import CLI, LOW, Sample, folder, load_server, run, table
from benchmarks.results import Measured

REQUESTS, LATENCY, WINDOW = 1000, 120.0, 50.0
SETTLE = 8.0
"""Seconds after the last submit until the measurement begins."""

INTERRUPTED = 130
Calls: TypeAlias = Callable[[], dict[str, int]]


class Meter:
    """Looks at the worker until it has waited for long enough, and interrupts it then."""

    def __init__(self, server_calls: Calls, window: float) -> None:
        """`server_calls` tells how many calls of each kind the server has seen."""
        self._calls, self._window = server_calls, window
        self._began: Sample | None = None
        self._all_there = self._asked = 0.0
        self._before: dict[str, int] = {}
        self.cpu = self.seconds = 0.0
        self.looks = 0

    def __call__(self, process: subprocess.Popen[bytes], sample: Sample) -> None:
        """One more look at the process."""
        if self.seconds:
            return
        if self._began is not None and sample.at - self._began.at >= self._window:
            self._end(process, sample)
        elif self._began is None and self._all_there and sample.at - self._all_there >= SETTLE:
            self._began, self._before = sample, self._calls()
        elif not self._all_there and sample.at - self._asked > 1.0:
            self._asked = sample.at
            if self._calls().get("submit") == REQUESTS:
                self._all_there = sample.at

    def _end(self, process: subprocess.Popen[bytes], sample: Sample) -> None:
        assert self._began is not None
        after = self._calls()
        if any(after.get(kind, 0) != self._before.get(kind, 0) for kind in ("submit", "result", "file")):
            raise RuntimeError("something was submitted or collected meanwhile: this is no waiting")
        self.looks = after.get("status", 0) - self._before.get("status", 0)
        self.cpu, self.seconds = sample.cpu - self._began.cpu, sample.at - self._began.at
        process.terminate()


def measure(scale: float = 1.0) -> Measured:
    """More slots than requests, so that all of them run."""
    found = Measured()
    with folder() as home, load_server(2 * REQUESTS, LATENCY, 1000) as server:
        meter = Meter(lambda: dict(server.stats()["calls"]), WINDOW * scale)
        prompts, began = table(home / "prompts.csv", REQUESTS), time.monotonic()
        command = (*CLI, "generate", str(prompts), "--store", str(home / "store"), "--dataset", "d", *LOW)
        run(command, server.env, status=INTERRUPTED, watch=meter)
    about = (
        f"{meter.cpu:.2f} CPU-seconds in {meter.seconds:.0f} s, {meter.looks / meter.seconds:.1f} looks a second; "
        f"{time.monotonic() - began:.0f} s in all"
    )
    share = 100 * meter.cpu / meter.seconds
    found.add("CPU while 1,000 requests of 120 s are in flight, of a core", share, "%", 5, about)
    return found
