"""`receipts`: what durable receipts cost: writes on S3, and how long a submit waits for its intent."""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
import urllib.request
from pathlib import Path

from benchmarks.processes import MODEL, LoadServer, folder, load_server, run, table
from benchmarks.results import Measured
from benchmarks.s3 import BUCKET, WRITES, CountingS3, counting_s3

SLOTS, LATENCY, IMAGE = 40, 5.0, 100_000
IMAGES = 400
KINDS = ("images", "receipts")
BARE = 50
"""PUTs that the S3 server is timed with, alone."""


class Intents:
    """Times each submit between two of the engine's named points: before its intent, and before its POST."""

    def __init__(self) -> None:
        """Nothing was submitted yet."""
        self._began: dict[asyncio.Task[object] | None, float] = {}
        self.seconds: list[float] = []

    def __call__(self, point: str) -> None:
        """A submit (each is a task of its own) has reached a point."""
        if point == "before intent":
            self._began[asyncio.current_task()] = time.monotonic()
        elif point == "before POST":
            self.seconds.append(time.monotonic() - self._began.pop(asyncio.current_task()))


def measure(scale: float = 1.0) -> Measured:
    """A local folder, then S3 (moto's server on this machine)."""
    found, images = Measured(), max(int(IMAGES * scale), 10)
    with folder() as home, load_server(SLOTS, LATENCY, IMAGE) as server:
        waits = timed(server, table(home / "prompts.csv", images), str(home / "store"), {})
        add(found, "a submit waits for its intent, a local folder", waits, 50)
    with folder() as home, counting_s3() as s3, load_server(SLOTS, LATENCY, IMAGE) as server:
        waits = timed(server, table(home / "prompts.csv", images), f"s3://{BUCKET}", s3.env)
        count = s3.count()
        add(found, "a submit waits for its intent, S3 (moto)", waits, 50)
        add(found, "of which the server takes, when nobody else asks: a bare PUT", bare(s3), None)
        writes = {key: n for key, n in count.items() if key.startswith(WRITES)}
        each = sum(n for key, n in writes.items() if key.endswith(KINDS)) / images
        rest = sum(writes.values()) - round(each * images)
        about = f"{dict(sorted(writes.items()))}; {rest} others in the whole run"
        found.add("writes on S3 per image, image included", each, "writes", 4, about)
    return found


def add(found: Measured, what: str, waits: list[float], target: float | None) -> None:
    """A mean of seconds, in milliseconds."""
    about = f"95th percentile {1000 * sorted(waits)[int(0.95 * (len(waits) - 1))]:.1f} ms"
    found.add(what, 1000 * statistics.fmean(waits), "ms", target, about)


def bare(s3: CountingS3) -> list[float]:
    """Seconds that the server takes for objects as small as an intent, one after the other."""
    seconds = []
    for number in range(BARE):
        put = urllib.request.Request(f"{s3.url}/{BUCKET}/bare/{number}", data=b"x" * 1000, method="PUT")
        began = time.monotonic()
        urllib.request.urlopen(put).close()
        seconds.append(time.monotonic() - began)
    return seconds


def timed(server: LoadServer, prompts: Path, store: str, env: dict[str, str]) -> list[float]:
    """Seconds that each submit of a run waited for its intent."""
    ran = run((sys.executable, "-m", "benchmarks.receipts", str(prompts), store), {**server.env, **env})
    return [float(seconds) for seconds in json.loads(ran.stdout.splitlines()[-1])]


def main() -> None:
    """The worker, with an ear on the engine's named points: `python -m benchmarks.receipts TABLE STORE`."""
    from dagster_gptimg.engine import operations
    from dagster_gptimg.fal.registry.builtin import get_model
    from dagster_gptimg.fal.settings import FalSettings
    from dagster_gptimg.prompts import PromptSpec, read_rows
    from dagster_gptimg.store.dataset import Dataset
    from dagster_gptimg.store.root import Store

    intents = Intents()
    # The kill suite's hook: the same points, and nobody dies.
    operations._kill_hook = lambda: intents  # noqa: SLF001
    spec = PromptSpec(get_model(MODEL), arguments={"quality": "low", "image_size": "1024x1024"})
    dataset = Dataset(Store(sys.argv[2]), "d")
    operations.run(read_rows(sys.argv[1], spec), spec.model, dataset, FalSettings.from_env())
    print(json.dumps(intents.seconds))


if __name__ == "__main__":
    main()
