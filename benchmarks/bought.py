"""A store in which a whole table is bought, without having bought it: what a run leaves, by the project's own hands.

Keys come from the plan; index and run marks are written as a run writes them. Left out are the receipts, which no run
lists once all earlier ones have ended, and the images' bytes: their files are empty, and nobody opens them again.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.processes import MODEL
from dagster_gptimg.engine.plan.plan import Plan
from dagster_gptimg.fal.registry.builtin import get_model
from dagster_gptimg.prompts import PromptSpec, read_rows
from dagster_gptimg.store.dataset import Dataset, FirstModel
from dagster_gptimg.store.root import Store
from dagster_gptimg.store.settled.index import SettledIndex
from dagster_gptimg.store.settled.rows import Settled

if TYPE_CHECKING:
    from collections.abc import Iterator

ORIGIN = "emulator:load-server"
RUN = "20260101T000000-benchmark"
PIECE = 20_000
"""Lines of the index that are in memory at once here; a run writes 1,000 at a time, and merges them in the end."""

WHEN = datetime(2026, 1, 1, tzinfo=UTC)


def buy(table: Path, store: Path, origin: str = ORIGIN) -> int:
    """Fill the dataset `d` with all that a table asks for; returns how many requests that is."""
    spec = PromptSpec(get_model(MODEL), arguments={"quality": "low", "image_size": "1024x1024"})
    dataset = Dataset(Store(str(store)), "d")
    dataset.open(origin, FirstModel(spec.model.name, spec.model.endpoint))
    dataset.start_run(RUN)
    images = store / "d" / "images"
    for prefix in range(256):
        (images / f"{prefix:02x}").mkdir(parents=True)
    index = SettledIndex(dataset.store, dataset.folder)
    with Plan(read_rows(str(table), spec), spec.model) as plan:
        lines = (_line(key) for row in plan for key in row.keys)
        piece = 0
        while some := list(islice(lines, PIECE)):
            piece += 1
            _touch(store / "d", some)
            index.write(f"{RUN}-{piece:04d}", some)
        index.merge(f"{RUN}-merged")
        dataset.end_runs([RUN])
        return plan.requests


def _line(key: str) -> Settled:
    """As `settled_of` makes it of a stored image's facts."""
    request_id = f"{key[:8]}-{key[8:12]}-{key[12:16]}-{key[16:20]}-{key[20:32]}"
    image = {
        "path": f"images/{key[:2]}/{key}-{request_id}-0.png",
        "sha256": key[::-1],
        "bytes": 0,  # as long as its file is
        "width": 1024,
        "height": 1024,
        "content_type": "image/png",
    }
    return Settled(
        key=key,
        attempt=0,
        request_id=request_id,
        kind="stored",
        images=[image],
        cost_usd=Decimal("0.01"),
        billable_units=Decimal(1),
        error_type=None,
        error=None,
        partition=None,
        bought_by=RUN,
        settled_by=RUN,
        inference_s=10.0,
        submitted_at=WHEN,
        completed_at=WHEN,
        stored_at=WHEN,
    )


def _touch(dataset: Path, lines: list[Settled]) -> None:
    for path in _paths(lines):
        (dataset / path).touch()


def _paths(lines: list[Settled]) -> Iterator[str]:
    return (str(image["path"]) for line in lines for image in line.images)
