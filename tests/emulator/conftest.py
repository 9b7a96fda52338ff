"""Emulators for the tests: a shared quick one, and as many of one's own as needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .harness import ENDPOINT, Emulator

Start = Callable[..., Emulator]


@pytest.fixture(scope="module")
def start_shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    yield from _starter(lambda: tmp_path_factory.mktemp("emulator"))


@pytest.fixture
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts emulators that end with the test."""
    yield from _starter(lambda: tmp_path_factory.mktemp("emulator"))


def _starter(folder: Callable[[], Path]) -> Iterator[Start]:
    started: list[Emulator] = []

    def begin(**settings: Any) -> Emulator:
        started.append(Emulator(folder(), **settings))
        return started[-1]

    yield begin
    for emulator in started:
        emulator.kill()


@pytest.fixture(scope="module")
def module_emulator(start_shared: Start) -> Emulator:
    return start_shared(latency=0.02, slots=100, slow_seconds=0.3)


@pytest.fixture
def quick(module_emulator: Emulator) -> Iterator[Emulator]:
    """One emulator for a module's tests: short latency, many slots; idle and without faults when a test begins."""
    before = module_emulator.http.get("/emulator/settings").json()
    yield module_emulator
    module_emulator.http.delete("/emulator/faults")
    module_emulator.set(cancel_stops_running=True)
    for row in module_emulator.bill()["rows"]:
        if row["status"] != "COMPLETED":
            module_emulator.http.put(f"/{ENDPOINT}/requests/{row['request_id']}/cancel")
    module_emulator.set(**before)
