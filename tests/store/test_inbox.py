"""The inbox: nothing stays in it that nobody will take."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from dagster_gptimg.store.dataset import Dataset
from dagster_gptimg.store.inbox import Callback
from dagster_gptimg.store.receipts.facts import Intent, Outcome
from dagster_gptimg.store.root import Store

if TYPE_CHECKING:
    from pathlib import Path

KEY = "ab" * 32
RUN = "20261125T000000-00000000"
NOW = datetime(2026, 11, 25, tzinfo=UTC)
CALLBACK = Callback(request_id="R-1", status="OK", received_at=NOW)
OUTCOME = Outcome(request_id="R-1", kind="stored", cost_usd=Decimal("0.01"), completed_at=NOW, recorded_at=NOW)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """A dataset with one attempt."""
    made = Dataset(Store(str(tmp_path)), "d")
    made.open("emulator:x")
    intent = Intent(
        endpoint="e/x", arguments={}, partition=None, row_id="r", run=RUN, cost_high_usd=None, nonce="n", account="a",
        created_at=NOW,
    )  # fmt: skip
    assert made.receipts.create_intent(KEY, 0, intent)
    return made


def test_a_callback_that_comes_while_its_run_collects_does_not_stay(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = Store.create

    def collected_meanwhile(store: Store, name: str, data: bytes) -> None:
        """The run records the outcome and clears the inbox between the receiver's look and its write."""
        if "/inbox/" in name:
            dataset.receipts.create_outcome(KEY, 0, OUTCOME)
            dataset.end_runs([RUN])
        create(store, name, data)

    monkeypatch.setattr(Store, "create", collected_meanwhile)
    dataset.inbox.take(RUN, KEY, 0, CALLBACK)
    assert dataset.inbox.arrivals(RUN) == []


def test_a_runs_end_clears_what_it_did_not_take(dataset: Dataset) -> None:
    dataset.inbox.take(RUN, KEY, 0, CALLBACK)
    assert [arrival.request_id for arrival in dataset.inbox.arrivals(RUN)] == ["R-1"]
    dataset.receipts.create_outcome(KEY, 0, OUTCOME)  # asking was quicker
    dataset.end_runs([RUN])
    assert dataset.inbox.arrivals(RUN) == []


def test_a_callback_for_what_is_collected_is_not_kept(dataset: Dataset) -> None:
    dataset.receipts.create_outcome(KEY, 0, OUTCOME)
    dataset.inbox.take(RUN, KEY, 0, CALLBACK)
    assert dataset.inbox.arrivals(RUN) == []
