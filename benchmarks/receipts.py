"""`receipts`: what durable receipts cost: writes on S3, and how long a submit waits for its intent."""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from pathlib import Path

from benchmarks.processes import LoadServer, folder, generate, load_server, run, table
from benchmarks.results import Measured
from benchmarks.s3 import BUCKET, WRITES, counting_s3

SLOTS, LATENCY, IMAGE = 40, 2.0, 100_000
IMAGES = 120
KINDS = ("images", "receipts")


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
    with folder() as home, counting_s3() as s3, load_server(SLOTS, LATENCY, IMAGE) as server:
        prompts, store = table(home / "prompts.csv", images), f"s3://{BUCKET}"
        generate(server, prompts, store, env=s3.env)
        count = s3.count()
        writes = {key: n for key, n in count.items() if key.startswith(WRITES)}
        each = sum(n for key, n in writes.items() if key.endswith(KINDS)) / images
        rest = sum(writes.values()) - round(each * images)
        about = f"{dict(sorted(writes.items()))}; {rest} others in the whole run"
        found.add("writes on S3 per image, image included", each, "writes", 4, about)
    for name in ("a local folder", "S3 (moto)"):
        with folder() as home, counting_s3() as s3, load_server(SLOTS, LATENCY, IMAGE) as server:
            prompts = table(home / "prompts.csv", images)
            where = str(home / "store") if name == "a local folder" else f"s3://{BUCKET}"
            waits = sorted(timed(server, prompts, where, s3.env))
            about = f"95th percentile {1000 * waits[int(0.95 * (len(waits) - 1))]:.1f} ms"
            found.add(f"a submit waits for its intent, {name}", 1000 * statistics.fmean(waits), "ms", 50, about)
    return found


def timed(server: LoadServer, prompts: Path, store: str, env: dict[str, str]) -> list[float]:
    """Seconds that each submit of a run waited for its intent."""
    ran = run((sys.executable, "-m", "benchmarks.receipts", str(prompts), store), {**server.env, **env})
    return [float(seconds) for seconds in json.loads(ran.stdout.splitlines()[-1])]


def main() -> None:
    """The worker, with an ear on the engine's named points: `python -m benchmarks.receipts TABLE STORE`."""
    from dagster_gptimg import session
    from dagster_gptimg.fal.models import DEFAULT_MODEL, get_model
    from dagster_gptimg.fal.settings import FalSettings
    from dagster_gptimg.prompts import PromptSpec, read_rows
    from dagster_gptimg.store.dataset import Dataset
    from dagster_gptimg.store.root import Store

    intents = Intents()
    # The kill suite's hook: the same points, and nobody dies.
    session._kill_hook = lambda: intents  # noqa: SLF001
    spec = PromptSpec(get_model(DEFAULT_MODEL), arguments={"quality": "low", "image_size": "1024x1024"})
    dataset = Dataset(Store(sys.argv[2]), "d")
    session.run(read_rows(sys.argv[1], spec), spec.model, dataset, FalSettings.from_env())
    print(json.dumps(intents.seconds))


if __name__ == "__main__":
    main()
