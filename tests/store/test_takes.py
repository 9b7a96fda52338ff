"""That a request has another take is created once; one that cannot be read counts, and is never taken for absent."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from dagster_gptimg.errors import UnreadableError
from dagster_gptimg.store import layout
from dagster_gptimg.store.dataset import Dataset
from dagster_gptimg.store.receipts.facts import Word
from dagster_gptimg.store.root import Store
from dagster_gptimg.store.takes import Take, Takes, families

if TYPE_CHECKING:
    from pathlib import Path

KEYS = [f"{n:064x}" for n in range(9)]
NOW = datetime(2026, 11, 24, tzinfo=UTC)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return Dataset(Store(str(tmp_path / "store")), "d")


def take(key: str, word: str = "w") -> Take:
    return Take(key=key, word=Word(id=word, run=word), recorded_at=NOW)


def test_a_number_is_taken_once(dataset: Dataset) -> None:
    takes, first = Takes(dataset), take(KEYS[1], "first")
    assert takes.read() == {}
    takes.create(KEYS[0], 1, first)
    takes.create(KEYS[0], 1, take(KEYS[1], "second"))
    takes.create(KEYS[0], 2, take(KEYS[2]))
    takes.create(KEYS[3], 1, take(KEYS[4]))
    assert takes.read() == {KEYS[0]: [first, take(KEYS[2])], KEYS[3]: [take(KEYS[4])]}
    assert families(dataset) == dict.fromkeys(KEYS[:3], tuple(KEYS[:3])) | dict.fromkeys(KEYS[3:5], tuple(KEYS[3:5]))


def test_one_that_cannot_be_read_counts_and_its_key_is_not_known(dataset: Dataset) -> None:
    Takes(dataset).create(KEYS[0], 1, take(KEYS[1]))
    dataset.store.create(f"d/{layout.take_name(KEYS[0], 2)}", b"{")
    assert Takes(dataset).read() == {KEYS[0]: [take(KEYS[1]), None]}
    with pytest.raises(UnreadableError, match="cannot be read"):
        families(dataset)
    assert families(dataset, is_whole=False) == {}


def test_takes_that_were_deleted_are_told(dataset: Dataset) -> None:
    Takes(dataset).create(KEYS[0], 2, take(KEYS[2]))
    with pytest.raises(UnreadableError, match="is missing: restore"):
        Takes(dataset).read()
