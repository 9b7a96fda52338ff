"""The example's deployment on Celery, with everything it needs on this machine: `Deployment`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import fsspec

from tests.definitions.daemon import Dev, dagster_dev
from tests.distributed.services import Postgres, postgres, redis
from tests.faulty_s3 import FaultyS3, faulty_s3
from tests.harness import Fal, emulator, records, s3_server
from tests.support import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["SETTLE", "Deployment", "Worker", "deployment"]

DEPLOY = ROOT / "example_project" / "deploy"
VISIBILITY_TIMEOUT = "30"
STORE = "s3://bucket/images"
TABLES = "s3://bucket/tables"
SETTLE = 5.0
"""Seconds that a run looks for a submit in doubt; then its row is held, which is what happens here after a kill."""

LATENCY = "0.5"
SLOTS = "20"


@dataclass
class Worker:
    """One of Celery's workers: a process with a child that executes a step, in a process group of their own."""

    name: str
    env: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] = field(init=False)

    def start(self) -> None:
        """Start it, and go on."""
        app = ["-A", "example_project.deploy.celery.app", "worker", "-c", "1", "-Q", "dagster", "-l", "INFO"]
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "celery", *app, "-n", f"{self.name}@%h"],
                env=self.env,
                cwd=ROOT,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def signal(self, number: signal.Signals) -> None:
        """Send all its processes a signal, as the end or a pause of their machine would."""
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """SIGKILL: nothing is cleaned up, nothing is said."""
        self.signal(signal.SIGKILL)
        self.process.wait(10)


@dataclass(frozen=True)
class Deployment:
    """Dagster on Postgres with its queue, daemon and workers, the store on S3, and fal.

    Attributes:
        dev: Dagster's webserver.
        fal: the emulator; its bill is the judge.
        s3: the S3 server that workers see; faults can be put in front of it.
        env: the environment in which the store is reached without faults.
        workers: Celery's; none with the multiprocess executor.
        partitions: of each asset.
        rows: of each partition.
    """

    dev: Dev
    fal: Fal
    s3: FaultyS3
    postgres: Postgres
    env: dict[str, str]
    workers: list[Worker]
    partitions: list[str]
    rows: int

    def accepted(self, asset: str) -> list[dict[str, str]]:
        """What the bill has of an asset's requests: those that fal accepted, by whoever they were sent."""
        return [row for row in self.fal.bill()["rows"] if str(row["prompt"]).startswith(f"{asset} ")]

    def begun(self, asset: str) -> set[str]:
        """The partitions of which fal has accepted something."""
        return {str(row["prompt"]).split()[1] for row in self.accepted(asset)}

    def held(self, asset: str) -> int:
        """Judge by the bill: no image was bought twice, and all that were are in the image table.

        Returns:
            the rows without an image; of each of them it is not known whether its submit reached fal.
        """
        wanted = {f"{asset} {part} {number}" for part in self.partitions for number in range(self.rows)}
        charged = [row for row in self.accepted(asset) if float(row["cost_usd"]) > 0]
        bought = Counter(row["prompt"] for row in charged)
        twice = [row for row in charged if bought[row["prompt"]] > 1]
        assert not twice, f"paid twice: {twice}"
        table = {row["prompt"]: row for row in records(STORE, asset, self.env)}
        assert set(table) == wanted
        stored = {prompt: row["request_id"] for prompt, row in table.items() if row["status"] == "stored"}
        assert stored == {row["prompt"]: row["request_id"] for row in charged}, "paid for, and not in the image table"
        without = [row["status"] for row in table.values() if row["status"] != "stored"]
        assert set(without) <= {"held"}, Counter(without)
        return len(without)

    def finish(self, asset: str, end: dict[str, object]) -> None:
        """Judge what a backfill came to, give the user's word for what it left in doubt, and judge the whole."""
        if self.held(asset) or end["status"] != "COMPLETED_SUCCESS":
            end = self.dev.ended(self.dev.backfill(asset, self.partitions, settle=SETTLE, again=["held"]))
        assert (end["status"], end["materialized"]) == ("COMPLETED_SUCCESS", len(self.partitions))
        assert self.held(asset) == 0

    def until_half(self, asset: str) -> None:
        """Wait until two partitions are at work, and about half of what they have has been sent."""
        half = len(self.workers or [None, None]) * self.rows // 2
        self.dev.until(
            f"two workers are at {asset}",
            lambda: len(self.begun(asset)) >= 2 and len(self.accepted(asset)) >= half,
        )


def write_tables(env: dict[str, str], scenarios: Sequence[str], partitions: Sequence[str], rows: int) -> None:
    """Write a prompt table for each scenario."""
    named = {"key": "AWS_ACCESS_KEY_ID", "secret": "AWS_SECRET_ACCESS_KEY", "endpoint_url": "AWS_ENDPOINT_URL"}
    store = fsspec.filesystem("s3", **{argument: env[name] for argument, name in named.items()})
    for name in scenarios:
        lines = [
            json.dumps({"id": f"{part}-{number}", "part": part, "prompt": f"{name} {part} {number}"})
            for part in partitions
            for number in range(rows)
        ]
        store.pipe_file(f"{TABLES}/{name}.jsonl", "\n".join(lines).encode())


@contextmanager
def deployment(
    folder: Path, executor: str, scenarios: Sequence[str], partitions: int, rows: int, workers: int = 2
) -> Iterator[Deployment]:
    """Everything, until the block ends."""
    keys = [f"part{number:02}" for number in range(partitions)]
    with ExitStack() as stack:
        fal = stack.enter_context(emulator(folder / "fal", "--latency", LATENCY, "--slots", SLOTS))
        s3 = stack.enter_context(s3_server())
        proxy, behind = stack.enter_context(faulty_s3(s3, seed=0))
        database = stack.enter_context(postgres())
        broker = stack.enter_context(redis())
        write_tables(s3, scenarios, keys, rows)
        env = {
            **fal.env,
            **behind,
            **database.env,
            "SCENARIOS": " ".join(scenarios),
            "PARTITIONS": " ".join(keys),
            "TABLES": TABLES,
            "IMAGE_ROOT": STORE,
            "EXECUTOR": executor,
            "BROKER_URL": broker,
            "VISIBILITY_TIMEOUT": VISIBILITY_TIMEOUT,
            "DAGSTER_HOME": str(folder / "dagster_home"),
            "DAGSTER_DISABLE_TELEMETRY": "1",
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "",
        }
        home = (DEPLOY / "celery" / "dagster.yaml").read_text(encoding="utf-8")
        arguments = ["-m", "tests.distributed.pipeline", "-d", str(ROOT)]
        dev = stack.enter_context(dagster_dev(folder, arguments, env, home))
        started = [Worker(f"w{number}", env, folder / f"w{number}.log") for number in range(workers)]
        for worker in started:
            worker.start()
            stack.callback(worker.kill)
        yield Deployment(dev, fal, proxy, database, s3, started, keys, rows)
