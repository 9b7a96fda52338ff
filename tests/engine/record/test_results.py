"""The results of a run: pieces of the index are written one after the other, while results go on coming."""

from __future__ import annotations

import asyncio
import hashlib
import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from dagster_gptimg.engine.record import results as ledger_module
from dagster_gptimg.engine.record.results import RunResults
from dagster_gptimg.engine.system import Threads
from dagster_gptimg.errors import StoreError
from dagster_gptimg.store.dataset import Dataset
from dagster_gptimg.store.root import Store
from dagster_gptimg.store.settled.index import SettledIndex
from dagster_gptimg.store.settled.rows import Settled

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

NOW = datetime(2026, 11, 24, tzinfo=UTC)
ROWS = 100


def line(number: int) -> Settled:
    return Settled(
        key=hashlib.sha256(str(number).encode()).hexdigest(), attempt=0, request_id=f"R-{number}", kind="stored",
        images=[], cost_usd=Decimal("0.01"), billable_units=None, error_type=None, error=None, partition=None,
        bought_by="r", settled_by="r", inference_s=None, submitted_at=NOW, completed_at=NOW, stored_at=NOW,
    )  # fmt: skip


async def test_results_that_come_while_a_piece_is_written_are_written_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, write_file = Store(str(tmp_path)), Store.write_file

    def slowly(self: Store, name: str, source: Path) -> None:
        time.sleep(0.05)  # in its own thread, as a store in the network takes it
        write_file(self, name, source)

    monkeypatch.setattr(Store, "write_file", slowly)
    monkeypatch.setattr(ledger_module, "CHECKPOINT", 10)
    results = RunResults(Dataset(store, "d"), Threads(), "run")

    async def come(number: int) -> None:
        await asyncio.sleep(number / 500)
        results.record(line(number))
        await results.checkpoint_if_due()

    await asyncio.gather(*map(come, range(ROWS)))
    await results.checkpoint()
    assert [results.settled(line(n).key) for n in range(ROWS)] == [line(n) for n in range(ROWS)]
    found = SettledIndex(store, "d")
    found.load()
    assert len(found) == len(results.index) == ROWS, "lines that were written more than once"


async def test_a_piece_that_cannot_be_written_leaves_its_lines_to_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = RunResults(Dataset(Store(str(tmp_path)), "d"), Threads(), "run")
    results.absorb(line(1))
    write_file = Store.write_file

    def full(*_: Any) -> None:
        raise StoreError("cannot write it in the store (the disk is full)")

    monkeypatch.setattr(Store, "write_file", full)
    with pytest.raises(StoreError, match="the disk is full"):
        await results.checkpoint()
    assert results.settled(line(1).key) == line(1)
    assert len(results.index) == 0
    monkeypatch.setattr(Store, "write_file", write_file)
    await results.checkpoint()
    assert results.index.get(line(1).key) == line(1)
