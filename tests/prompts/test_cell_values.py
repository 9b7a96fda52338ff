"""Cells as text and JSON: whatever cannot be text is told, and never bought as Python's own words for it."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pandas as pd
import pyarrow as pa
import pytest

from dagster_gptimg.prompts.readers.arrow import columns_of
from tests.prompts.support import problems, rows


class Size(str, Enum):  # noqa: UP042 - the older form, whose str() is "Size.BIG"
    BIG = "big"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"),
        (1.0, "1"),
        (-0.0, "0"),
        (0.1, "0.1"),
        (1e22, "1" + "0" * 22),
        (2**70, str(2**70)),
        (True, "true"),
        (False, "false"),
        (Decimal("1.50"), "1.50"),
        (Decimal("1E+3"), "1000"),
        (date(2026, 1, 2), "2026-01-02"),
        (time(3, 4), "03:04:00"),
        (datetime(2026, 1, 2, 3, 4, tzinfo=UTC), "2026-01-02T03:04:00+00:00"),
        (pd.Timestamp("2026-01-02T03:04:05.123456789"), "2026-01-02T03:04:05.123456"),
        (timedelta(hours=1), "1:00:00"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Size.BIG, "big"),
    ],
)
def test_values_as_text(value: object, text: str) -> None:
    assert rows([{"a": value}], template="{a}")[0].prompt == text
    assert rows([{"prompt": "x", "a": value}], id_column="a")[0].row_id == text


@pytest.mark.parametrize("value", [b"cup", ["cup"], {"a": 1}, ("a",), math.inf, Decimal("Infinity"), object()])
def test_what_is_no_text_is_told(value: object) -> None:
    for spec in ({"prompt_column": "a"}, {"template": "x {a}"}, {"prompt_column": "p", "id_column": "a"}):
        [(line, column, reason)] = problems([{"a": value, "p": "x"}], **spec)
        assert (line, column) == (1, "a")
        assert "text" in reason


@pytest.mark.parametrize("value", [None, "", "  ", math.nan, Decimal("NaN"), Decimal("sNaN"), pd.NA, pd.NaT])
def test_every_librarys_nothing_is_nothing(value: object) -> None:
    assert problems([{"a": value}], template="x {a}") == [(1, "a", "the cell is empty")]
    assert problems([{"prompt": "x", "a": value}], id_column="a") == [(1, "a", "the id is empty")]
    [row] = rows([{"prompt": "x", "quality": value, "a": value}], arguments={"quality": "low"})
    assert row.arguments == {"quality": "low"}
    assert row.columns["a"] == (value if isinstance(value, str) else None)


def test_numpys_values_are_pythons() -> None:
    numpy = pytest.importorskip("numpy")
    given = {
        "i": numpy.int64(3),
        "b": numpy.bool_(True),  # noqa: FBT003 - numpy's
        "f": numpy.float32(0.1),
        "t": numpy.datetime64("2026-01-02T00:00:00", "ns"),
        "l": numpy.array([1, 2]),
    }
    [row] = rows([given], template="{i} {b} {f} {t}")
    assert row.prompt == "3 true 0.1 2026-01-02T00:00:00"
    assert row.columns == {"i": 3, "b": True, "f": 0.1, "t": "2026-01-02T00:00:00", "l": [1, 2]}


def test_arrows_narrow_and_fine_types_print_as_others_do() -> None:
    table = pa.table(
        {
            "f": pa.array([0.1], pa.float32()),
            "h": pa.array([0.5], pa.float16()),
            "t": pa.array([1_234_567_890_123_456_789], pa.timestamp("ns", "UTC")),
            "c": pa.array([1_001], pa.time64("ns")),
            "d": pa.array([1_000_001], pa.duration("ns")),
            "k": pa.array(["cup"]).dictionary_encode(),
        }
    )
    [row] = rows(table, template="{f} {h} {t} {c} {d} {k}")
    assert row.prompt == "0.1 0.5 2009-02-13T23:31:30.123456+00:00 00:00:00.000001 0:00:00.001000 cup"


def test_pandas_integers_with_gaps_print_as_integers() -> None:
    frame = pd.DataFrame({"p": ["a", "b"], "n": [1, None], "num_images": [2, None]})
    assert str(frame["n"].dtype) == "float64"
    assert rows(frame.iloc[:1], template="{n} {p}")[0].prompt == "1 a"
    assert [row.arguments for row in rows(frame, prompt_column="p")] == [{"num_images": 2}, {}]
    assert problems(frame, template="{n} {p}") == [(2, "n", "the cell is empty")]


@pytest.mark.parametrize("odd", ["\ud83d", ["a", "\ud83d"], {"k": "\ud83d"}, {"\ud83d": 1}])
def test_text_that_no_image_table_could_hold_is_told_before_anything_is_bought(odd: Any) -> None:
    [(line, column, reason)] = problems([{"prompt": "x"}, {"prompt": "y", "note": odd}])
    assert (line, column) == (2, "note")
    assert "surrogate" in reason


def test_carried_columns_are_json() -> None:
    given = {"prompt": "x", 1: 2, "inf": math.inf, "s": " ", "big": 2**70, "t": (1, None), "o": UUID(int=1)}
    [row] = rows([given])
    assert row.columns == {
        "1": 2,
        "inf": None,
        "s": " ",
        "big": 2**70,
        "t": [1, None],
        "o": "00000000-0000-0000-0000-000000000001",
    }
    json.dumps(row.columns, allow_nan=False)


def test_arrows_times_are_pythons_own_also_where_pandas_is_installed() -> None:
    times = pa.array([1_234_567_890_123_456_789], pa.timestamp("ns"))
    batch = pa.record_batch({"t": times, "d": times.cast(pa.int64()).cast(pa.duration("ns"))})
    [(_, row)] = columns_of(batch, 1).lines()
    assert (type(row["t"]), type(row["d"])) == (datetime, timedelta)
