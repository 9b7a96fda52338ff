"""`dagster-gptimg plan`: what a run would do, told without doing it."""

from __future__ import annotations

from pathlib import Path

from tests.harness import cli, table, target
from tests.support import MINI_LOW


def test_the_plan_needs_no_key_and_no_network(store: Path, tmp_path: Path) -> None:
    rows = table(tmp_path / "t.jsonl", 3)
    env = {"FAL_KEY": "", "FAL_BASE_URL": "http://127.0.0.1:9"}
    ran = cli(None, "plan", rows, *target(store), *MINI_LOW, env=env)
    assert (ran.status, ran.summary["bought"], ran.summary["cost_usd"]["high"]) == (0, 3, 0.03)
    assert not store.exists()
