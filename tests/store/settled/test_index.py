"""The settled index: derived, and right whatever order its pieces come in."""

from __future__ import annotations

import hashlib
import logging
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from dagster_gptimg.store.root import Store
from dagster_gptimg.store.settled import index as settled_module
from dagster_gptimg.store.settled.index import SettledIndex
from dagster_gptimg.store.settled.rows import Settled

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def key_of(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def line(name: str, **more: Any) -> Settled:
    image = {"path": "p", "sha256": "s", "bytes": 1, "width": 2, "height": 3, "content_type": "image/png"}
    given: dict[str, Any] = {
        "key": key_of(name),
        "attempt": 0,
        "request_id": f"R-{name}",
        "kind": "stored",
        "images": [image],
        "cost_usd": Decimal("0.020000"),
        "billable_units": Decimal("2.000000"),
        "error_type": None,
        "error": None,
        "partition": None,
        "bought_by": "r1",
        "settled_by": "r1",
        "submitted_at": NOW,
        "completed_at": NOW,
        "inference_s": 9.5,
        "stored_at": NOW,
    }
    return Settled(**{**given, **more})


def index(tmp_path: Path) -> SettledIndex:
    found = SettledIndex(Store(str(tmp_path)), "d")
    found.load()
    return found


def test_lines_come_back(tmp_path: Path) -> None:
    made = index(tmp_path)
    made.write("r1-1", [line("a"), line("b", kind="refused", images=[], cost_usd=None, error="no")])
    for found in (made, index(tmp_path)):
        assert found.get(key_of("a")) == line("a")
        assert found.get(key_of("b")) == line("b", kind="refused", images=[], cost_usd=None, error="no")
        assert found.get(key_of("c")) is None
        assert len(found) == 2


def test_images_come_before_a_refusal_and_later_attempts_before_earlier(tmp_path: Path) -> None:
    made = index(tmp_path)
    made.write("r1", [line("a", kind="refused"), line("b", kind="refused", error="old")])
    made.write("r2", [line("a", attempt=1), line("b", kind="refused", attempt=1, error="new")])
    made.write("r3", [line("a", kind="refused", attempt=2)])
    found = index(tmp_path)
    assert [(s.kind, s.attempt) for s in (found.get(key_of("a")), found.get(key_of("b"))) if s] == [
        ("stored", 1),
        ("refused", 1),
    ]


def test_a_broken_piece_costs_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    index(tmp_path).write("r1", [line("a")])
    (tmp_path / "d/settled/r0.parquet").write_bytes(b"PAR1 torn")
    with caplog.at_level(logging.WARNING):
        assert index(tmp_path).get(key_of("a")) == line("a")
    assert "left out" in caplog.text


def test_merging_keeps_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settled_module, "MERGE_ABOVE", 3)
    made = index(tmp_path)
    for n in range(5):
        made.write(f"r{n}", [line(f"k{n}"), line("same", attempt=n)])
    made.merge("merged")
    [piece, mark] = sorted(p.name for p in (tmp_path / "d/settled").iterdir())
    assert (piece[:7], piece[-8:], mark) == ("merged.", ".parquet", f"{piece}.made")
    found = index(tmp_path)
    assert len(found) == 6
    same = found.get(key_of("same"))
    assert same is not None
    assert same.attempt == 4


def test_a_piece_that_is_gone_or_is_another_one_is_named(tmp_path: Path) -> None:
    made = index(tmp_path)
    for n in range(3):
        made.write(f"r{n}", [line(f"k{n}")])
    first, second, third = sorted((tmp_path / "d/settled").glob("*.parquet"))
    first.unlink()
    second.write_bytes(third.read_bytes())
    found = index(tmp_path)
    assert (found.lost, len(found)) == ([first.name, second.name], 1)
    found.drop_lost()
    assert index(tmp_path).lost == []


def test_pieces_of_earlier_releases_have_neither_digest_nor_mark_and_are_read(tmp_path: Path) -> None:
    made = index(tmp_path)
    made.write("r1", [line("a")])
    [piece] = (tmp_path / "d/settled").glob("*.parquet")
    piece.rename(piece.with_name("r1-0001.parquet"))
    piece.with_name(f"{piece.name}.made").unlink()
    found = index(tmp_path)
    assert (found.lost, found.get(key_of("a"))) == ([], line("a"))


def test_replacing_all_pieces_keeps_one_that_is_the_same(tmp_path: Path) -> None:
    made = index(tmp_path)
    made.write("r1", [line("a")])
    made.replace("r1", [line("a")])
    assert (index(tmp_path).lost, index(tmp_path).get(key_of("a"))) == ([], line("a"))
    assert len(list((tmp_path / "d/settled").iterdir())) == 2


def test_what_completed_between_two_moments(tmp_path: Path) -> None:
    made = index(tmp_path)
    made.write("r1", [line(str(n), completed_at=NOW + timedelta(minutes=n)) for n in range(5)])
    assert made.completed(NOW + timedelta(minutes=1), NOW + timedelta(minutes=3)) == {"R-1", "R-2", "R-3"}
