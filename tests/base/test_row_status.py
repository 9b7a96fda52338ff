"""The statuses of rows: one source for all that names, counts and ranks them."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from dagster_gptimg.base.row_status import AGAIN, COMPLETE, IN_DOUBT, TOLD, RowStatus
from dagster_gptimg.definitions import metadata
from dagster_gptimg.engine.record.summary import Summary, worst


def test_the_texts_in_image_tables_never_change() -> None:
    texts = {"stored", "in_flight", "refused", "failed", "held", "lost", "missing", "erased", "not_submitted"}
    assert {str(status) for status in RowStatus} == texts


def test_a_summary_counts_each_status() -> None:
    counts = {field.name for field in fields(Summary)}
    about = {"rows", "images", "bought", "reused", "reattached", "refetched", "seconds", "stop", "message"}
    costs = {"cost_low", "cost_high", "cost_billed"}
    assert counts - about - costs == set(RowStatus)
    assert [status for status in RowStatus if f" {status}: rows " not in (Summary.__doc__ or "")] == []


@pytest.mark.parametrize("status", TOLD)
def test_each_status_but_stored_is_told_wherever_counts_are(status: RowStatus) -> None:
    count: dict[str, Any] = {status.value: 1}
    summary = Summary(rows=1, **count)
    assert f", 1 {status.words}, " in summary.sentence()
    assert summary.as_json()[status.value] == 1
    assert metadata.counts(summary)[status.value] == 1
    assert (summary.exit_status == 0) is (status in COMPLETE)


def test_the_worst_status_of_a_row_is_the_one_of_the_lowest_rank() -> None:
    assert len({status.rank for status in RowStatus}) == len(RowStatus)
    every = sorted(RowStatus, key=lambda status: status.rank)
    assert [worst(every[place:]) for place in range(len(every))] == every
    assert (every[0], every[-1]) == (RowStatus.HELD, RowStatus.STORED)


def test_what_may_be_billed_is_final_or_looked_for() -> None:
    """A row that may have been paid for stays as it is only where that is certain."""
    for status in RowStatus:
        if status.is_in_doubt:
            assert status.may_be_billed, status
            assert not status.is_final, status
    assert set(IN_DOUBT) <= set(AGAIN)
    assert not COMPLETE.intersection(AGAIN)  # the user's word does not buy what nobody waits for
