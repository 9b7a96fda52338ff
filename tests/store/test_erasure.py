"""Erased facts keep the version with which they were written, and so have no fields that it does not have."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from dagster_gptimg.store.dataset import Dataset
from dagster_gptimg.store.erasure import erase
from dagster_gptimg.store.root import Store
from tests.frozen_stores import STORES

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 11, 30, tzinfo=UTC)
LATER = {"erased_at"}
"""What an erasure itself says, in every version."""


def facts(folder: Path) -> dict[str, dict[str, object]]:
    kinds = ("*.intent.json", "*.outcome.*.json")
    return {path.name: json.loads(path.read_text()) for kind in kinds for path in folder.rglob(kind)}


@pytest.mark.parametrize(
    "where", ["211b316/local/done", "first-model/local/done", "what-results-say/local/what_results_say"]
)
def test_an_erased_fact_has_no_field_of_a_later_version(where: str, tmp_path: Path) -> None:
    copy = tmp_path / "d"
    shutil.copytree(STORES / where, copy)
    before, dataset = facts(copy), Dataset(Store(str(tmp_path)), "d")
    for key in {name[:64] for name in before}:
        assert erase(dataset, key, NOW)
    after = facts(copy)
    assert after.keys() == before.keys()
    for name, fact in after.items():
        assert fact["version"] == before[name]["version"]
        assert fact.keys() - LATER <= before[name].keys(), name
        assert name.count("outcome") == 0 or (fact["erased_at"], fact.get("details")) == ("2026-11-30T00:00:00Z", None)
        assert fact.get("arguments", {}) == {}
        assert "words" not in json.dumps(fact.get("details"))
    assert all(dataset.receipts.load(key) for key in {name[:64] for name in before})
