"""`dagster-gptimg plan`: what a run would do, told without doing it."""

from __future__ import annotations

from pathlib import Path

from tests.harness import Fal, cli, table, target
from tests.support import MINI_LOW


def test_the_plan_needs_no_key_and_no_network(store: Path, tmp_path: Path) -> None:
    rows = table(tmp_path / "t.jsonl", 3)
    env = {"FAL_KEY": "", "FAL_BASE_URL": "http://127.0.0.1:9"}
    ran = cli(None, "plan", rows, *target(store), *MINI_LOW, env=env)
    assert (ran.status, ran.summary["bought"], ran.summary["cost_usd"]["high"]) == (0, 3, 0.03)
    assert not store.exists()
    assert "emulator" not in ran.stderr


def test_runs_on_an_emulator_say_that_nothing_is_charged(fal: Fal, store: Path, tmp_path: Path) -> None:
    rows = table(tmp_path / "t.jsonl", 1)
    line = f"emulator at {fal.url}: pictures are drawn, and nothing is charged"
    for command, times in (("plan", 0), ("generate", 1), ("generate", 1), ("plan", 0)):  # a plan asks nobody
        ran = cli(fal, command, rows, *target(store), *MINI_LOW)
        assert (ran.status, ran.stderr.splitlines().count(line), line in ran.stdout) == (0, times, False), ran.stderr
