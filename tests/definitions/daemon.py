"""A real `dagster dev` (code server, webserver, daemon) for tests, driven by GraphQL as the UI does."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from dagster_gptimg.testing import NO_TLS
from tests.support import ROOT

DAGSTER = [sys.executable, "-m", "dagster"]
DEADLINE = 420.0
"""Seconds, only so that a hang ends: the daemon looks at backfills every 30, and machines differ."""

HOME = """
telemetry: {enabled: false}
nux: {enabled: false}
run_queue: {max_concurrent_runs: 3, dequeue_interval_seconds: 1}
"""

LAUNCH = """mutation($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
RUN = """mutation($params: ExecutionParams!) { launchRun(executionParams: $params) {
    __typename ... on LaunchRunSuccess { run { id } } ... on PythonError { message } } }"""
STATUS = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
BACKFILL = """query($id: String!) { partitionBackfillOrError(backfillId: $id) {
    __typename ... on PartitionBackfill { status error { message }
      assetBackfillData { assetBackfillStatuses { ... on AssetPartitionsStatusCounts {
        numPartitionsTargeted numPartitionsMaterialized numPartitionsFailed } } } } } }"""
STATUSES = """query($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
    assetPartitionStatuses { __typename ... on DefaultPartitionStatuses {
      materializedPartitions failedPartitions unmaterializedPartitions } } } } }"""


@dataclass(frozen=True)
class Dev:
    """A running `dagster dev`.

    Attributes:
        home: its DAGSTER_HOME.
    """

    url: str
    home: Path
    log: Path

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """One GraphQL call."""
        asked = {"query": query, "variables": variables}
        answer = httpx.post(f"{self.url}/graphql", json=asked, timeout=60, verify=NO_TLS)
        found = answer.raise_for_status().json()
        assert "errors" not in found, found["errors"]
        return dict(found["data"])

    def backfill(self, assets: str | Sequence[str], partitions: Sequence[str], **config: Any) -> str:
        """Launch a backfill of one asset, or of several together, and return its id. `config`: of each asset's run."""
        named = [assets] if isinstance(assets, str) else assets
        params = {
            "assetSelection": [{"path": [name]} for name in named],
            "partitionNames": list(partitions),
            "runConfigData": json.dumps({"ops": {name: {"config": config} for name in named}} if config else {}),
        }
        found = self.ask(LAUNCH, params=params)["launchPartitionBackfill"]
        assert found["__typename"] == "LaunchBackfillSuccess", found
        return str(found["backfillId"])

    def launch(self, asset: str, partition: str | None = None) -> str:
        """Launch a run of one asset, and of its checks, and return its id."""
        tags = [{"key": "dagster/partition", "value": partition}] if partition else []
        where = {"repositoryLocationName": "pipeline.py", "repositoryName": "__repository__"}
        params = {
            "selector": {**where, "jobName": "__ASSET_JOB", "assetSelection": [{"path": [asset]}]},
            "executionMetadata": {"tags": tags},
            "mode": "default",
        }
        found = self.ask(RUN, params=params)["launchRun"]
        assert found["__typename"] == "LaunchRunSuccess", found
        return str(found["run"]["id"])

    def run_ended(self, run: str) -> str:
        """Wait until a run has ended: its status."""

        def status() -> str:
            return str(self.ask(STATUS, id=run)["runOrError"]["status"])

        self.until(f"run {run} ends", lambda: status() in {"SUCCESS", "FAILURE", "CANCELED"})
        return status()

    def ended(self, backfill: str) -> dict[str, Any]:
        """Wait until a backfill has ended: its status and its counts."""
        ends: list[dict[str, Any]] = []

        def has_ended() -> bool:
            try:
                found = self.ask(BACKFILL, id=backfill)["partitionBackfillOrError"]
            except httpx.HTTPStatusError:  # its database may be restarted
                return False
            done = str(found["status"]).startswith(("COMPLETED", "FAILED", "CANCELED"))
            ends.extend([found] * done)
            return done

        self.until(f"backfill {backfill} ends", has_ended)
        counts = ends[0]["assetBackfillData"]["assetBackfillStatuses"][0]
        names = {"Materialized": "materialized", "Failed": "failed", "Targeted": "targeted"}
        return {"status": ends[0]["status"]} | {word: counts[f"numPartitions{n}"] for n, word in names.items()}

    def statuses(self, asset: str) -> dict[str, list[str]]:
        """The keys of an asset's partitions by what the UI shows of them."""
        found = self.ask(STATUSES, key={"path": [asset]})["assetNodeOrError"]["assetPartitionStatuses"]
        return {n.removesuffix("Partitions"): sorted(keys) for n, keys in found.items() if n.endswith("Partitions")}

    def until(self, what: str, condition: Callable[[], bool]) -> None:
        """Wait until something holds."""
        end = time.monotonic() + DEADLINE
        while not condition():
            assert time.monotonic() < end, f"never: {what}\n{self.log.read_text(encoding='utf-8')[-4000:]}"
            time.sleep(0.5)


@contextmanager
def dagster_dev(folder: Path, arguments: Sequence[str], env: Mapping[str, str], home: str = HOME) -> Iterator[Dev]:
    """Run `dagster dev` with these arguments in a folder, until the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    path, log = folder / "dagster_home", folder / "dagster_dev.log"
    path.mkdir(exist_ok=True)
    if not (path / "dagster.yaml").exists():
        (path / "dagster.yaml").write_text(home, encoding="utf-8")
    given = {**os.environ, **env, "DAGSTER_HOME": str(path), "DAGSTER_DISABLE_TELEMETRY": "1", "PYTHONPATH": str(ROOT)}
    with log.open("a", encoding="utf-8") as out:
        process = subprocess.Popen(
            [*DAGSTER, "dev", *arguments, "-p", str(port), "-h", "127.0.0.1"],
            env=given,
            cwd=folder,
            stdout=out,
            stderr=out,
        )
    made = Dev(f"http://127.0.0.1:{port}", path, log)
    try:
        made.until("dagster dev answers", lambda: process.poll() is not None or _answers(made))
        assert process.poll() is None, log.read_text(encoding="utf-8")[-4000:]
        yield made
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(120)


def _answers(dev: Dev) -> bool:
    try:
        found = dev.ask("{ repositoriesOrError { __typename ... on RepositoryConnection { nodes { name } } } }")
    except httpx.HTTPError:
        return False
    return bool(found["repositoriesOrError"].get("nodes"))
