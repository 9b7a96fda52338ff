"""Receipts: every fact comes back as it was, and what cannot be read is never taken for absent."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_gptimg.errors import OriginError, StoreError, UnreadableError
from dagster_gptimg.store.dataset import Dataset
from dagster_gptimg.store.layout import parse_receipt, receipt_name
from dagster_gptimg.store.receipts.facts import Accepted, Intent, Outcome, StoredImage, Void
from dagster_gptimg.store.receipts.receipts import Receipts
from dagster_gptimg.store.root import Store

if TYPE_CHECKING:
    from pathlib import Path

KEY = "ab" + "0" * 62
NOW = datetime(2026, 11, 24, 12, 0, 0, 5, tzinfo=UTC)
INTENT = Intent(
    endpoint="e/x",
    arguments={"prompt": "ä", "num_images": 2},
    partition="p",
    row_id="1",
    run="r",
    cost_high_usd=Decimal("0.06"),
    nonce="mine",
    account="a",
    created_at=NOW,
)
ACCEPTED = Accepted(request_id="R-1", endpoint="e/x", status_url="s", response_url="r", cancel_url="c", accepted_at=NOW)
IMAGE = StoredImage(
    path=f"images/ab/{KEY}-R-1-0.png", sha256="00", bytes=5, width=1, height=2, content_type="image/png"
)
OUTCOME = Outcome(
    request_id="R-1", kind="stored", images=(IMAGE,), cost_usd=Decimal("0.02"), completed_at=NOW, recorded_at=NOW
)
VOID = Void(reason="not_sent", detail="refused", recorded_at=NOW)


@pytest.fixture
def receipts(tmp_path: Path) -> Receipts:
    return Receipts(Store(str(tmp_path)), "d")


@pytest.mark.parametrize("how", ["lost", "overwritten", "unreadable", "kept"])
def test_what_a_far_store_has_acknowledged_is_read_back_before_anything_is_sent(
    receipts: Receipts, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    receipts.store.is_near = False
    create, read = Store.create, Store.read

    def lying(self: Store, name: str, data: bytes) -> None:
        if how != "lost":
            create(self, name, data.replace(b'"mine"', b'"others"') if how == "overwritten" else data)

    def failing(self: Store, name: str) -> bytes:
        raise UnreadableError(f"{name}: the service is busy")

    monkeypatch.setattr(Store, "create", lying)
    monkeypatch.setattr(Store, "read", failing if how == "unreadable" else read)
    if how == "lost":
        with pytest.raises(StoreError, match="acknowledged it, and lost it"):
            receipts.create_intent(KEY, 0, INTENT)
    else:
        assert receipts.create_intent(KEY, 0, INTENT) is (how != "overwritten")


def test_facts_come_back_as_they_were(receipts: Receipts) -> None:
    assert receipts.load(KEY) == []
    assert receipts.create_intent(KEY, 0, INTENT)
    receipts.create_accepted(KEY, 0, "history", ACCEPTED)
    receipts.create_accepted(KEY, 0, "reply", ACCEPTED)
    receipts.create_outcome(KEY, 0, OUTCOME)
    receipts.create_outcome(KEY, 0, OUTCOME)  # who comes second changes nothing
    receipts.create_void(KEY, 2, VOID)
    first, gap, last = receipts.load(KEY)
    assert (first.intent, first.accepted, first.outcomes) == (INTENT, {"R-1": ("reply", ACCEPTED)}, {"R-1": OUTCOME})
    assert (gap.intent, gap.accepted, last.void) == (None, {}, VOID)
    assert [key for key, _ in receipts.by_key()] == [KEY]


def test_an_outcome_whose_accepted_is_gone_still_tells_whose_the_request_is(receipts: Receipts) -> None:
    receipts.create_intent(KEY, 0, INTENT)
    receipts.create_outcome(KEY, 0, OUTCOME)
    [attempt] = receipts.load(KEY)
    assert attempt.accepted == {"R-1": ("history", None)}
    assert not attempt.unreadable
    assert receipts.known({"R-1", "R-2"}, ("reply", "webhook", "history")) == {"R-1"}
    assert receipts.known({"R-1"}, ("reply", "webhook")) == set()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"version": 1}',
        json.dumps({**json.loads(VOID.model_dump_json()), "version": 3}).encode(),
        json.dumps({**json.loads(VOID.model_dump_json()), "new": 1}).encode(),
        b"\xff\xfe",
    ],
)
@pytest.mark.parametrize("kind", ["intent", "void", "accepted.R-1.reply", "outcome.R-1", "something.new"])
def test_what_is_no_fact_of_this_version_is_unreadable_and_never_absent(
    receipts: Receipts, kind: str, content: bytes
) -> None:
    receipts.store.create(f"d/{receipt_name(KEY, 0, kind)}", content)
    [attempt] = receipts.load(KEY)
    assert len(attempt.unreadable) == 1
    assert (attempt.intent, attempt.void) == (None, None)
    if kind.startswith("accepted"):
        assert attempt.accepted == {"R-1": ("history", None)}
    if kind.startswith("outcome"):
        assert attempt.outcomes == {"R-1": None}


def test_what_is_no_receipt_is_not_looked_at(receipts: Receipts) -> None:
    for name in (".DS_Store", "readme.txt", "abc.0.intent.json"):
        receipts.store.create(f"d/receipts/ab/{name}", b"x")
    assert receipts.load(KEY) == []


def test_an_intent_has_one_winner_and_knows_it_by_its_nonce(
    receipts: Receipts, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert receipts.create_intent(KEY, 0, INTENT)
    assert not receipts.create_intent(KEY, 0, INTENT.model_copy(update={"nonce": "other"}))
    assert receipts.create_intent(KEY, 0, INTENT)  # a repeated put of ours: exists, and has our nonce

    real = receipts.store.create

    def lost_reply(name: str, data: bytes) -> None:
        real(name, data)
        raise StoreError("the reply was lost")

    def failed(name: str, data: bytes) -> None:
        raise StoreError("503")

    monkeypatch.setattr(receipts.store, "create", lost_reply)
    assert receipts.create_intent(KEY, 1, INTENT)
    monkeypatch.setattr(receipts.store, "create", failed)
    with pytest.raises(StoreError, match="does not exist"):
        receipts.create_intent(KEY, 2, INTENT)
    assert not receipts.create_intent(KEY, 1, INTENT.model_copy(update={"nonce": "other"}))


def test_a_create_that_fails_and_cannot_be_checked_is_not_won(
    receipts: Receipts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failed(name: str, data: bytes | None = None) -> Any:
        raise UnreadableError("the store is down")

    monkeypatch.setattr(receipts.store, "create", failed)
    monkeypatch.setattr(receipts.store, "read", failed)
    with pytest.raises(StoreError):
        receipts.create_intent(KEY, 0, INTENT)


IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,60}", fullmatch=True)


@given(IDS, st.integers(0, 999_999), st.sampled_from(["reply", "webhook", "history"]))
def test_names_say_what_they_name(request_id: str, attempt: int, how: str) -> None:
    def parsed(kind: str) -> Any:
        return parse_receipt(receipt_name(KEY, attempt, kind).rpartition("/")[2])

    found = parsed(f"accepted.{request_id}.{how}")
    assert (found.key, found.attempt, found.kind) == (KEY, attempt, "accepted")
    assert (found.request_id, found.how) == (request_id, how)
    found = parsed(f"outcome.{request_id}")
    assert (found.kind, found.request_id) == ("outcome", request_id)
    assert (parsed("void").kind, parsed("intent").kind) == ("void", "intent")


def test_a_dataset_belongs_to_one_origin(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    dataset = Dataset(store, "a/b")
    assert dataset.origin() is None
    dataset.open("emulator:1")
    again = Dataset(store, "a/b")
    again.open("emulator:1")
    assert again.salt == dataset.salt != ""
    with pytest.raises(OriginError, match="was made with an emulator"):
        Dataset(store, "a/b").open("fal")
    (tmp_path / "a/b/dataset.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UnreadableError):
        Dataset(store, "a/b").open("emulator:1")


def test_run_marks(tmp_path: Path) -> None:
    dataset = Dataset(Store(str(tmp_path)), "d")
    assert dataset.open_runs() == []
    dataset.start_run("r1")
    dataset.start_run("r2")
    dataset.end_runs(["r1"])
    dataset.end_runs(["r1"])
    assert dataset.open_runs() == ["r2"]
