"""What makes an end of readings, and what does not (docs/receipts.md#evidence)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from dagster_gptimg.engine.collect.result_reads import (
    AGREED_APART,
    FAR_APART,
    REFUSAL_APART,
    WORDS_APART,
    Readings,
    failure_in_history,
)
from dagster_gptimg.fal.types import Failure, HistoryItem

FREE = Failure(kind="free", status_code=500, error_type="internal_server_error", message="no")
REFUSED = Failure(kind="refused", status_code=422, error_type="content_policy_violation", message="no")
ENDED = Failure(kind="ended", status_code=422, error_type="ended_without_images", message="no images")
NOW = datetime(2026, 11, 24, tzinfo=UTC)


def line(**about: Any) -> HistoryItem:
    said = {"status_code": 500, "json_output": None, "ended_at": NOW} | about
    return HistoryItem(request_id="r", endpoint_id="e", sent_at=NOW, json_input={}, **said)


@pytest.mark.parametrize(("failure", "apart"), [(FREE, FAR_APART), (ENDED, FAR_APART), (REFUSED, REFUSAL_APART)])
def test_one_reading_is_no_end_and_two_far_enough_apart_are(failure: Failure, apart: float) -> None:
    readings = Readings(is_completed=True)
    assert readings.evidence(failure, None, 0.0) == ""
    assert readings.evidence(failure, None, apart - 0.1) == ""
    assert readings.evidence(failure, None, apart) != ""


@pytest.mark.parametrize("failure", [FREE, ENDED, REFUSED])
def test_what_fal_never_said_to_have_ended_has_not_whatever_its_result_says(failure: Failure) -> None:
    readings = Readings(is_completed=False)
    assert not any(readings.evidence(failure, line(), at) for at in (0.0, FAR_APART, 10 * FAR_APART))


def test_a_status_that_names_the_same_error_is_a_second_witness() -> None:
    readings = Readings(is_completed=True, error_type="internal_server_error")
    assert readings.evidence(FREE, None, 0.0) == ""
    assert readings.evidence(FREE, None, AGREED_APART) != ""


def test_a_line_of_the_history_that_says_so_is_a_witness_and_one_that_says_otherwise_is_against() -> None:
    assert Readings(is_completed=True).evidence(FREE, line(), 0.0) != ""
    readings = Readings(is_completed=True)
    assert not any(readings.evidence(FREE, line(status_code=422), at) for at in (0.0, 10 * FAR_APART))


@pytest.mark.parametrize(("is_young", "apart"), [(True, WORDS_APART), (False, REFUSAL_APART)])
def test_one_line_of_the_history_is_no_end_and_two_readings_apart_are(*, is_young: bool, apart: float) -> None:
    readings, failure = Readings(is_young=is_young), failure_in_history(line())
    assert failure is not None
    assert readings.evidence_of_history(failure, 0.0) == ""
    assert readings.evidence_of_history(failure, apart - 0.1) == ""
    assert readings.evidence_of_history(failure, apart) != ""


@pytest.mark.parametrize(
    "item",
    [
        line(ended_at=None),
        line(status_code=None),
        line(status_code=100),
        line(status_code=200),
        line(json_output={"images": [{"url": "u"}]}),
    ],
)
def test_a_line_without_an_end_or_with_images_is_no_failure(item: HistoryItem) -> None:
    assert failure_in_history(item) is None


def test_bytes_that_come_twice_with_others_between_them_do_not_stay_the_same() -> None:
    readings = Readings()
    assert [readings.stays("image", value, 5.0, now) for now, value in enumerate("AAAAABAAAAAA")] == [
        *[False] * 11,
        True,
    ]
    assert not readings.stays("another image", "A", 5.0, 100.0)
