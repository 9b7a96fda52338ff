"""An exclusive create over an S3 that loses calls and replies: never taken as won, or as lost, without a proof."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from dagster_gptimg.base.retry_policies import STORE_CONFLICT
from dagster_gptimg.errors import StoreError, UnreadableError
from dagster_gptimg.store.receipts.receipts import Receipts
from dagster_gptimg.store.root import Store
from tests.faulty_s3 import CONFLICT, Fault, FaultyS3, faulty_s3
from tests.store.receipts.test_receipts import INTENT, KEY, OUTCOME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from aiohttp import web

OTHER = INTENT.model_copy(update={"nonce": "other"})


@pytest.fixture
def faulty(s3: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyS3]:
    with faulty_s3(s3, 1) as (proxy, env):
        for name, value in {**env, "AWS_MAX_ATTEMPTS": "2"}.items():
            monkeypatch.setenv(name, value)
        yield proxy


@pytest.fixture
def receipts(faulty: FaultyS3, tmp_path: Path) -> Receipts:
    store = Store(f"s3://bucket/{tmp_path.name}", {"skip_instance_cache": True})
    store.fs.retries = 2
    return Receipts(store, "d")


def once(method: str, fault: Fault) -> Callable[[web.Request], Fault | None]:
    """Strike the first call of a method."""
    faults = [fault]
    return lambda request: faults.pop() if faults and request.method == method else None


def always(method: str, fault: Fault) -> Callable[[web.Request], Fault | None]:
    """Strike all calls of a method."""
    return lambda request: fault if request.method == method else None


@pytest.mark.parametrize("fault", ["reset_late", "500_late"])
def test_a_put_that_arrived_and_is_repeated_is_won(faulty: FaultyS3, receipts: Receipts, fault: Fault) -> None:
    faulty.rule = once("PUT", fault)
    assert receipts.create_intent(KEY, 0, INTENT)
    assert faulty.struck[fault] == 1
    [attempt] = receipts.load(KEY)
    assert attempt.intent == INTENT


@pytest.mark.parametrize("fault", ["reset", "reset_late", "503"])
def test_a_put_that_comes_second_is_lost_whatever_became_of_its_replies(
    faulty: FaultyS3, receipts: Receipts, fault: Fault
) -> None:
    assert receipts.create_intent(KEY, 0, OTHER)
    faulty.rule = once("PUT", fault)
    assert not receipts.create_intent(KEY, 0, INTENT)
    assert faulty.struck[fault] == 1
    [attempt] = receipts.load(KEY)
    assert attempt.intent == OTHER


def test_a_put_that_arrived_and_whose_every_reply_is_lost_is_won_by_its_nonce(
    faulty: FaultyS3, receipts: Receipts
) -> None:
    faulty.rule = always("PUT", "500_late")
    assert receipts.create_intent(KEY, 0, INTENT)
    assert not receipts.create_intent(KEY, 0, OTHER)


@pytest.mark.parametrize("fault", ["reset", "500"])
def test_a_put_that_never_arrived_is_not_won(faulty: FaultyS3, receipts: Receipts, fault: Fault) -> None:
    faulty.rule = always("PUT", fault)
    with pytest.raises(StoreError, match="does not exist"):
        receipts.create_intent(KEY, 0, INTENT)
    faulty.rule = lambda _: None
    assert receipts.load(KEY) == []


def test_a_put_of_which_nobody_can_tell_is_neither_won_nor_lost(faulty: FaultyS3, receipts: Receipts) -> None:
    faulty.rule = lambda request: "reset_late" if request.method == "PUT" else "500"
    with pytest.raises(StoreError):
        receipts.create_intent(KEY, 0, INTENT)
    faulty.rule = lambda _: None
    [attempt] = receipts.load(KEY)
    assert attempt.intent == INTENT  # it is there, and was not taken for won: it is held, and nothing was sent


def test_a_fact_whose_reply_was_lost_is_recorded_once(faulty: FaultyS3, receipts: Receipts) -> None:
    faulty.rule = once("PUT", "reset_late")
    receipts.create_outcome(KEY, 0, OUTCOME)
    assert receipts.load(KEY)[0].outcomes == {"R-1": OUTCOME}


def test_a_listing_or_a_reading_that_fails_is_not_an_empty_one(faulty: FaultyS3, receipts: Receipts) -> None:
    assert receipts.create_intent(KEY, 0, INTENT)
    faulty.rule = lambda request: "500" if request.method == "GET" else None
    with pytest.raises(StoreError):
        receipts.load(KEY)
    with pytest.raises(UnreadableError):
        receipts.store.read(f"d/receipts/{KEY[:2]}/{KEY}.0.intent.json")
    faulty.rule = lambda request: "500" if request.method == "GET" and "list-type" not in request.query else None
    [attempt] = receipts.load(KEY)
    assert (attempt.intent, len(attempt.unreadable)) == (None, 1)


def test_a_conflict_asks_for_one_more_try(
    faulty: FaultyS3, receipts: Receipts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dagster_gptimg.store.exclusive_create.STORE_CONFLICT", replace(STORE_CONFLICT, pauses=(0.0,)))
    faulty.rule = once("PUT", CONFLICT)
    assert receipts.create_intent(KEY, 0, INTENT)
    assert faulty.struck[CONFLICT] == 1
    faulty.rule = once("PUT", CONFLICT)
    assert not receipts.create_intent(KEY, 0, OTHER)
    assert receipts.load(KEY)[0].intent == INTENT


def test_conflicts_without_an_end_are_an_error(
    faulty: FaultyS3, receipts: Receipts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dagster_gptimg.store.exclusive_create.STORE_CONFLICT", replace(STORE_CONFLICT, pauses=(0.0,)))
    faulty.rule = always("PUT", CONFLICT)
    with pytest.raises(StoreError, match="does not exist"):
        receipts.create_intent(KEY, 0, INTENT)
    faulty.rule = lambda _: None
    assert receipts.load(KEY) == []
