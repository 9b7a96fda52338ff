"""Runs that fal tells of ends by status streams, on the emulator: its counter and its bill are the judges."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from dagster_gptimg import FalSettings
from dagster_gptimg.fal.settings import FalUrls
from dagster_gptimg.notebook import generate
from tests.harness import Fal, cli

if TYPE_CHECKING:
    from pathlib import Path

    from dagster_gptimg.engine.events import Updated

ROWS = 30
LOW = ("--set", "quality=low", "--set", "image_size=1024x1024")
AROUND = 4
"""Calls of a run besides those for its images: whether fal knows the key, who it is, the model's status, one price."""


def run(fal: Fal, tmp_path: Path, store: Path, *more: str, rows: int = ROWS) -> tuple[Any, float]:
    """The summary of a run with streams, and its calls an image."""
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join(json.dumps({"prompt": f"picture {n}"}) for n in range(rows)), encoding="utf-8")
    before = fal.calls()
    arguments = ("generate", str(path), "--store", str(store), "--dataset", "d", "--json", *LOW)
    ran = cli(fal, *arguments, "--watch", "stream", *more)
    assert (ran.status, ran.summary["images"], len(fal.charged())) == (0, rows, rows), ran.stderr
    return ran, (fal.calls() - before - AROUND) / rows


def test_four_calls_an_image_and_no_lag(fal: Fal, store: Path, tmp_path: Path) -> None:
    fal.set(latency=1.0, slots=10)
    _, calls = run(fal, tmp_path, store)
    assert calls <= 4.1


def test_streams_that_break_off_are_opened_again(fal: Fal, store: Path, tmp_path: Path) -> None:
    fal.set(latency=1.0, faults={"stream_drop": 0.5})
    _, calls = run(fal, tmp_path, store)
    assert 4.1 < calls < 6.5


def test_without_streams_a_run_asks(fal: Fal, store: Path, tmp_path: Path) -> None:
    fal.set(faults={"stream_drop_always": 1.0}, latency=2.0, stream_tells_at_once=False)
    _, calls = run(fal, tmp_path, store)
    assert calls < 12


def test_more_rows_than_streams(fal: Fal, store: Path, tmp_path: Path) -> None:
    fal.set(slots=100, latency=0.5)  # 64 streams at once
    _, calls = run(fal, tmp_path, store, rows=100)
    assert calls <= 4.1


def test_logs_and_positions_are_shown(fal: Fal, store: Path, tmp_path: Path) -> None:
    fal.set(slots=1, latency=2.0)  # long enough to be seen waiting
    ran, _ = run(fal, tmp_path, store, "--logs", rows=4)
    assert "IN_QUEUE, 1 before it" in ran.stderr
    assert "IN_PROGRESS" in ran.stderr
    assert "COMPLETED" in ran.stderr


def test_the_callers_function_is_told_each_line_once_also_when_streams_break(fal: Fal, store: Path) -> None:
    fal.set(faults={"stream_drop": 0.3}, latency=0.6)
    told: list[Updated] = []
    made = generate(
        [f"cup {n}" for n in range(6)],
        store=store,
        dataset="d",
        arguments={"quality": "low", "image_size": "1024x1024"},
        settings=FalSettings("test-key", FalUrls.at(fal.url)),
        watch="stream",
        on_update=told.append,
        progress=False,
    )
    assert len(made) == 6
    lines = [(update.request_id, line) for update in told for line in update.logs]
    assert len(lines) == len(set(lines)) >= 6
    ends = [update.request_id for update in told if update.status == "COMPLETED"]
    assert len(set(ends)) == 6
