"""The example's deployment on Celery: Postgres, Redis, S3, two workers, and what goes wrong there. The bill judges.

make test-distributed       two scenarios, small
make soak                   all of them, of 12 partitions with 600 rows, five times
"""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.distributed.deployment import SETTLE, Deployment, deployment

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.distributed

SCENARIOS = ["killed", "away", "plain", "step_killed", "database", "frozen"]
AWAY_SECONDS = 20.0
FROZEN_SECONDS = 60.0
"""Longer than Redis waits for a worker: its step is given to another one, and then it goes on."""


@pytest.fixture(scope="module")
def run_by(tmp_path_factory: pytest.TempPathFactory, partitions: int, rows: int) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("celery")
    with deployment(folder, "celery", SCENARIOS, partitions, rows) as running:
        yield running


def test_the_partition_of_a_killed_worker_is_made_by_another_and_nothing_is_paid_twice(run_by: Deployment) -> None:
    backfill = run_by.dev.backfill("killed", run_by.partitions, settle=SETTLE)
    run_by.until_half("killed")
    run_by.workers[0].kill()
    run_by.workers[0].start()
    run_by.finish("killed", run_by.dev.ended(backfill))


def test_two_backfills_at_once_over_a_store_that_is_away_for_a_while_pay_nothing_twice(run_by: Deployment) -> None:
    backfills = [run_by.dev.backfill("away", run_by.partitions, settle=SETTLE) for _ in range(2)]
    run_by.until_half("away")
    run_by.s3.rule = lambda _: "503"
    time.sleep(AWAY_SECONDS)
    run_by.s3.rule = lambda _: None
    ends = [run_by.dev.ended(backfill) for backfill in backfills]
    assert run_by.s3.struck["503"]
    run_by.finish("away", max(ends, key=lambda end: end["status"] == "COMPLETED_SUCCESS"))


@pytest.mark.soak
def test_a_backfill_without_any_trouble_buys_each_image_once(run_by: Deployment) -> None:
    end = run_by.dev.ended(run_by.dev.backfill("plain", run_by.partitions))
    assert end["status"] == "COMPLETED_SUCCESS"
    run_by.finish("plain", end)


@pytest.mark.soak
def test_a_killed_step_goes_back_to_the_queue_at_once(run_by: Deployment) -> None:
    backfill = run_by.dev.backfill("step_killed", run_by.partitions, settle=SETTLE)
    run_by.until_half("step_killed")
    for child in psutil.Process(run_by.workers[0].process.pid).children():
        child.kill()
    run_by.finish("step_killed", run_by.dev.ended(backfill))


@pytest.mark.soak
def test_a_restart_of_the_database_loses_nothing(run_by: Deployment) -> None:
    backfill = run_by.dev.backfill("database", run_by.partitions, settle=SETTLE)
    run_by.until_half("database")
    run_by.postgres.restart()
    run_by.finish("database", run_by.dev.ended(backfill))


@pytest.mark.soak
def test_a_worker_that_stood_still_goes_on_beside_the_one_that_has_its_step(run_by: Deployment) -> None:
    backfill = run_by.dev.backfill("frozen", run_by.partitions, settle=SETTLE)
    run_by.until_half("frozen")
    run_by.workers[0].signal(signal.SIGSTOP)
    time.sleep(FROZEN_SECONDS)
    run_by.workers[0].signal(signal.SIGCONT)
    run_by.finish("frozen", run_by.dev.ended(backfill))
