"""The multiprocess executor on Postgres and S3: Dagster runs killed steps and runs again. The bill judges."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil
import pytest

from tests.distributed.deployment import SETTLE, Deployment, deployment

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.distributed, pytest.mark.soak]


@pytest.fixture(scope="module")
def run_by(tmp_path_factory: pytest.TempPathFactory, partitions: int, rows: int) -> Iterator[Deployment]:
    folder, scenarios = tmp_path_factory.mktemp("multiprocess"), ["step_killed", "run_killed"]
    with deployment(folder, "multiprocess", scenarios, partitions, rows, workers=0) as running:
        yield running


def spawned(process: psutil.Process) -> list[psutil.Process]:
    """The children of a process that Python's multiprocessing has started for work."""
    return [child for child in process.children() if "spawn_main" in " ".join(child.cmdline())]


def runs() -> list[psutil.Process]:
    """The processes of runs that have a process of a step: children of Dagster's code server."""
    every = psutil.Process().children(recursive=True)
    servers = [process for process in every if "api grpc" in " ".join(process.cmdline())]
    return [run for server in servers for run in spawned(server) if spawned(run)]


@pytest.mark.parametrize("what", ["step", "run"])
def test_what_is_killed_is_run_again_and_nothing_is_paid_twice(run_by: Deployment, what: str) -> None:
    name = f"{what}_killed"
    backfill = run_by.dev.backfill(name, run_by.partitions, settle=SETTLE)
    run_by.until_half(name)
    run = runs()[0]
    (run if what == "run" else spawned(run)[0]).kill()
    run_by.finish(name, run_by.dev.ended(backfill))
