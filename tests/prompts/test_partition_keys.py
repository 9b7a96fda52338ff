"""Keys of partitions, from rows; and what a reader may skip for them."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_gptimg.errors import TableError
from dagster_gptimg.fal.registry.builtin import get_model
from dagster_gptimg.prompts import PromptSpec, SqlTable, read_rows
from dagster_gptimg.prompts.cell_values import CellError
from dagster_gptimg.prompts.partition_keys import BETWEEN, ByBoth, ByBucket, ByDate, BySlug, ByValue, OnePartition, slug
from dagster_gptimg.prompts.python_values import NoText
from dagster_gptimg.prompts.readers import arrow, columnar
from dagster_gptimg.prompts.table_scan import look_over

if TYPE_CHECKING:
    from pathlib import Path

    from dagster_gptimg.prompts.partition_keys import RowKey


def ids(source: Any, by: RowKey, key: str) -> list[str]:
    spec = PromptSpec(get_model("gpt-image-1-mini"), id_column="id", where=OnePartition(by, key))
    return [row.row_id for batch in read_rows(source, spec) for row in batch]


@given(st.text())
def test_a_slug_is_a_key_that_dagster_does_not_trip_over(text: str) -> None:
    made = slug(text)
    assert made
    assert made == made.strip()
    assert not {"...", "..", ",", "/", "\\", "|", "[", "]", "\n", "\t"} & {made, *made}
    assert ".." not in made
    assert made not in {".", ".."}
    assert len(made) <= 120
    assert slug(made) == made or made != text


@given(st.text(), st.text())
def test_two_texts_have_two_slugs(one: str, other: str) -> None:
    assert (slug(one) == slug(other)) == (one == other)


def test_plain_values_are_their_own_slugs() -> None:
    for text in ("bags", "Food & Beverage", "Produce & Plants", "tête-à-tête", "東京", "v1.5"):
        assert slug(text) == text
    assert slug("a/b") != slug("a-b") == "a-b"
    assert slug("a/b").startswith("a-b-")


def test_a_growing_table_moves_no_row_between_buckets() -> None:
    by = ByBucket("id", 16)
    small = {n: by.of({"id": str(n)}) for n in range(1000)}
    assert {n: by.of({"id": str(n)}) for n in range(5000)}.items() >= small.items()
    assert sorted(set(small.values())) == [f"{n:02}" for n in range(16)]
    assert max(Counter(small.values()).values()) < 2 * 1000 / 16
    # Fixed for ever: rows must not move with a release.
    assert [by.of({"id": word}) for word in ("a", "b", "sku-1", 7)] == ["10", "10", "05", "14"]


@pytest.mark.parametrize(
    ("every", "key"), [("daily", "2026-02-03"), ("weekly", "2026-02-01"), ("monthly", "2026-02-01")]
)
def test_dates_of_every_kind_have_one_key(every: Any, key: str) -> None:
    by = ByDate("day", every)
    for value in (date(2026, 2, 3), datetime(2026, 2, 3, 23, 59, tzinfo=UTC), "2026-02-03", "2026-02-03T10:00:00Z"):
        assert by.of({"day": value}) == key
    warehouses = (
        20260203,
        "20260203",
        "2026-02-03 10:00:00 UTC",
        "2026-02-03 10:00:00.123 UTC",
        "2026-02-03 10:00:00+00",
    )
    for cell in (*warehouses, np.datetime64("2026-02-03"), np.int64(20260203), " 2026-02-03 "):
        assert by.of({"day": cell}) == key


def test_moments_at_the_end_of_time_are_no_dates() -> None:
    late = datetime.max.replace(tzinfo=timezone(timedelta(hours=-5)))
    for value in (late, NoText("+294247-01-10", "far"), "infinity"):
        with pytest.raises(CellError, match="not a date such as"):
            ByDate("day", "daily").of({"day": value})
    assert ByDate("day", "daily").bounds("9999-12-31")[0].high == date.max
    assert ByDate("day", "monthly").bounds("0001-01-01")[0].low == date.min


def test_row_groups_with_moments_that_python_has_no_datetime_for_are_read(tmp_path: Path) -> None:
    at = pa.array([2**62, 0], pa.int64()).view(pa.timestamp("us", "Mars/Base"))
    pq.write_table(pa.table({"id": ["1", "2"], "prompt": ["x", "y"], "at": at}), tmp_path / "t.parquet")
    assert ids(str(tmp_path / "t.parquet"), ByValue("id"), "2") == ["2"]
    table = pa.table({"id": ["1", "2"], "prompt": ["x", "y"], "at": at.slice(1).take([None, 0])})
    pq.write_table(table, tmp_path / "u.parquet")
    assert ids(str(tmp_path / "u.parquet"), ByDate("at", "daily"), "1970-01-01") == ["2"]
    pq.write_table(pa.table({"id": ["1"], "prompt": ["x"], "at": at.slice(0, 1)}), tmp_path / "v.parquet")
    with pytest.raises(TableError, match="not a date such as"):
        ids(str(tmp_path / "v.parquet"), ByDate("at", "daily"), "1970-01-01")


def test_a_moment_becomes_a_day_in_the_time_zone() -> None:
    late = datetime(2026, 2, 3, 23, 30, tzinfo=UTC)
    assert ByDate("day", "daily", "Asia/Tokyo").of({"day": late}) == "2026-02-04"
    assert ByDate("day", "daily").of({"day": late.isoformat()}) == "2026-02-03"


@pytest.mark.parametrize("value", ["soon", "03/02/2026", 203, 20261303, None, "", float("nan")])
def test_what_is_no_date_is_told(value: object) -> None:
    with pytest.raises(CellError, match=r"not a date such as 2026-01-31|the cell is empty"):
        ByDate("day", "daily").of({"day": value})


def test_two_dimensions_are_joined_and_both_filter() -> None:
    by = ByBoth((("category", ByValue("kind")), ("date", ByDate("day", "monthly"))))
    assert by.of({"kind": "bags", "day": "2026-02-03"}) == f"bags{BETWEEN}2026-02-01"
    rows = [
        {"id": f"{kind}{month}", "prompt": "p", "kind": kind, "day": f"2026-{month:02}-09"}
        for kind in ("bags", "mugs")
        for month in (1, 2)
    ]
    assert ids(rows, by, "mugs|2026-01-01") == ["mugs1"]


def test_row_groups_that_cannot_hold_a_partition_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    days = [date(2026, 1, 1) + timedelta(days=n) for n in range(90)]
    table = pa.table(
        {
            "id": [str(n) for n in range(90)],
            "prompt": ["p"] * 90,
            "kind": ["abc"[n // 30] for n in range(90)],
            "day": pa.array(days),
            "at": pa.array([datetime(d.year, d.month, d.day, 12, tzinfo=UTC) for d in days], pa.timestamp("ns", "UTC")),
        }
    )
    path = tmp_path / "t.parquet"
    pq.write_table(table, path, row_group_size=10)
    read: list[int] = []
    plain = arrow.columns_of

    def counted(batch: Any, number: int) -> Any:
        read.append(batch.num_rows)
        return plain(batch, number)

    monkeypatch.setattr(columnar, "columns_of", counted)
    for by, key, wanted, most in (
        (ByValue("kind"), "b", range(30, 60), 30),
        (ByDate("day", "monthly"), "2026-02-01", range(31, 59), 50),
        (ByDate("at", "daily"), "2026-01-15", range(14, 15), 20),
        (BySlug("kind"), "c", range(60, 90), 90),
        (ByValue("kind"), "z", range(0), 10),
    ):
        read.clear()
        assert ids(str(path), by, key) == [str(n) for n in wanted]
        assert sum(read) <= most


def test_problems_in_later_row_groups_name_the_right_row(tmp_path: Path) -> None:
    from dagster_gptimg.errors import TableError

    table = pa.table({"id": ["1", "2", "3", "4"], "prompt": ["a", "b", "c", ""], "kind": ["x", "x", "y", "y"]})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=2)
    with pytest.raises(TableError) as told:
        ids(str(tmp_path / "t.parquet"), ByValue("kind"), "y")
    assert [problem.line for problem in told.value.problems] == [4]


def database(tmp_path: Path) -> str:
    import sqlite3

    with sqlite3.connect(tmp_path / "t.db") as connection:
        connection.execute('CREATE TABLE t (id TEXT, prompt TEXT, "odd:kind" TEXT)')
        rows = [(str(n), f"p{n}", "x; DROP TABLE t --" if n % 2 else "y") for n in range(6)]
        connection.executemany("INSERT INTO t VALUES (?, ?, ?)", rows)
    connection.close()
    return f"sqlite:///{tmp_path}/t.db"


@pytest.mark.parametrize("text_columns", [(), ("odd:kind",)])
def test_a_database_selects_the_rows_of_text_columns(tmp_path: Path, text_columns: tuple[str, ...]) -> None:
    table = SqlTable(database(tmp_path), "SELECT * FROM t ORDER BY id;", text_columns)
    by = ByValue("odd:kind")
    assert ids(table, by, "y") == ["0", "2", "4"]
    assert ids(table, by, "x; DROP TABLE t --") == ["1", "3", "5"]
    assert ids(table, by, "none") == []
    assert len(list(table.rows(by.bounds("y")))) == (3 if text_columns else 6)


def test_a_look_over_the_whole_table_finds_what_no_partition_holds() -> None:
    rows = [{"id": n, "prompt": "p", "kind": kind} for n, kind in enumerate(["a", "b", "", "zz", "zz", None, ["l"]])]
    rows.append({"id": 9, "prompt": "", "kind": "a"})
    spec = PromptSpec(get_model("gpt-image-1-mini"), id_column="id", where=("kind", "a"), limit=1)
    found = look_over(rows, spec, ByValue("kind"), {"a", "b"}.__contains__)
    assert (found.rows, found.outside_rows) == (7, 5)
    assert dict(found.outside) == {"zz": 2, "": 2, "['l']": 1}
    assert [problem.line for problem in found.problems] == [8]
