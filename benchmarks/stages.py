"""`stages`: where the time of a run over rows that are all done goes: CPU of one row, stage by stage."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from benchmarks.bought import buy
from benchmarks.processes import MODEL, folder, table
from benchmarks.results import Measured
from dagster_gptimg.base.digest_columns import KEY
from dagster_gptimg.engine.job import Options
from dagster_gptimg.engine.plan.plan import Plan
from dagster_gptimg.engine.record.manifest_rows import Content, all_ended
from dagster_gptimg.engine.record.summary import Tally
from dagster_gptimg.fal.registry.builtin import get_model
from dagster_gptimg.prompts import PromptSpec, read_rows
from dagster_gptimg.store.dataset import Dataset
from dagster_gptimg.store.root import Store
from dagster_gptimg.store.settled.index import SettledIndex

ROWS = 100_000


def measure(scale: float = 1.0) -> Measured:
    """In microseconds a row."""
    found, rows = Measured(), int(ROWS * scale)
    with folder() as home:
        prompts = table(home / "prompts.parquet", rows)
        buy(prompts, home / "store")
        stages(found, prompts, home / "store", rows)
    return found


def stages(found: Measured, prompts: Path, store: Path, rows: int) -> None:
    """Add what each stage takes; `store` has all images of the table, in the dataset `d`."""
    spec = PromptSpec(get_model(MODEL), arguments={"quality": "low", "image_size": "1024x1024"})
    dataset = Dataset(Store(str(store)), "d")

    @contextmanager
    def timed(what: str, less: float = 0.0) -> Iterator[Callable[[], float]]:
        began = time.process_time()
        yield lambda: time.process_time() - began
        found.add(f"one of {rows:,} rows: {what}", 1e6 * (time.process_time() - began - less) / rows, "µs of CPU")

    with timed("reading and checking it") as passed:
        for _ in read_rows(str(prompts), spec):
            continue
        reading = passed()
    with timed("its keys, and its line of the plan", reading):
        plan = Plan(read_rows(str(prompts), spec), spec.model)
    with plan:
        index = SettledIndex(dataset.store, dataset.folder)
        with timed("its line of the settled index"):
            index.load()
        with timed("its image in the listing of files"):
            index.look_for_images(dataset)
        content, tally = Content(dataset, None, plan.digest, Options()), Tally("")
        with timed("finding it in the index, and counting it"):
            places = index.places(plan.keys())
            for batch in plan.batches():
                briefs = batch.by_row(index.briefs(islice(places, len(batch.keys) // KEY)))
                ended = [row for found in briefs if (row := all_ended(found))]
                content.add(ended)
                tally.ended(ended)
    if tally.summary(0.0).stored != rows:
        raise RuntimeError("not what was to be measured")
