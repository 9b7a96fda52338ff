"""One text for every value: the table in docs/tables.md, held by every library that hands values over."""

from __future__ import annotations

import re
import sqlite3
import zoneinfo
from array import array
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dagster_gptimg.errors import TableError
from dagster_gptimg.prompts import PromptSpec, SqlTable, read_rows
from tests.prompts.support import MODEL, problems, rows
from tests.support import ROOT

if TYPE_CHECKING:
    from pathlib import Path

BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
NEW_YORK = zoneinfo.ZoneInfo("America/New_York")
MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
REFUSED = None


def arrow(values: list[Any], kind: pa.DataType) -> pa.Table:
    """Also by a storage type, where Arrow makes no array of an extension type."""
    if isinstance(kind, pa.BaseExtensionType):
        made = pa.ExtensionArray.from_storage(kind, pa.array(values, kind.storage_type))
    else:
        made = pa.array(values, kind)
    return pa.table({"p": ["x"] * len(made), "v": made})


def raw(count: int, kind: pa.DataType) -> pa.Table:
    """A value by what Arrow keeps of it."""
    return pa.table({"p": ["x"], "v": pa.array([count], pa.int64() if kind.bit_width == 64 else pa.int32()).view(kind)})


def frame(value: Any, dtype: Any = None) -> pd.DataFrame:
    return pd.DataFrame({"p": ["x"], "v": pd.Series([value], dtype=dtype)})


def polars(value: Any, dtype: Any = None) -> pl.DataFrame:
    return pl.DataFrame({"p": ["x"], "v": pl.Series([value], dtype=dtype)})


def duck(expression: str, zone: str = "UTC", *, lossless: bool = False) -> Callable[[], Any]:
    """Made late: a connection has one open result."""

    def made() -> Any:
        connection = duckdb.connect()
        connection.execute(f"SET timezone='{zone}'")
        connection.execute(f"SET arrow_lossless_conversion={lossless}")
        return connection.sql(f"SELECT 'x' AS p, {expression} AS v")

    return made


def one(value: Any) -> list[dict[str, Any]]:
    return [{"p": "x", "v": value}]


KINDS: dict[str, tuple[str | None, Any, list[Any]]] = {
    "text": (
        "cup",
        "cup",
        [
            one("cup"),
            one(np.str_("cup")),
            arrow(["cup"], pa.string()),
            arrow(["cup"], pa.large_string()),
            arrow(["cup"], pa.string_view()),
            arrow(["cup"], pa.dictionary(pa.int8(), pa.string())),
            pa.table({"p": ["x"], "v": pa.RunEndEncodedArray.from_arrays([1], ["cup"])}),
            arrow(["cup"], pa.json_()),
            arrow(["cup"], pa.opaque(pa.string(), "t", "v")),
            frame("cup"),
            frame("cup", "category"),
            frame("cup", "string"),
            frame("cup", pd.ArrowDtype(pa.string())),
            polars("cup"),
            polars("cup", pl.Categorical),
            polars("cup", pl.Enum(["cup"])),
            duck("'cup'"),
            duck("'cup'::ENUM('cup')"),
        ],
    ),
    "whole number": (
        "7",
        7,
        [
            one(7),
            one(np.uint8(7)),
            one(pa.scalar(7)),
            *(arrow([7], kind) for kind in (pa.int8(), pa.uint64(), pa.int64())),
            pa.table({"p": ["x"], "v": pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([7])])}),
            frame(7),
            frame(7, "Int64"),
            frame(7, pd.ArrowDtype(pa.int16())),
            polars(7),
            duck("7"),
            duck("7::UTINYINT"),
        ],
    ),
    "float that is whole": (
        "7",
        7,
        [one(7.0), one(np.float32(7)), arrow([7.0], pa.float64()), frame(7.0), polars(7.0), duck("7.0::DOUBLE")],
    ),
    "float": (
        "0.1",
        0.1,
        [one(0.1), one(np.float64(0.1)), arrow([0.1], pa.float64()), frame(0.1), polars(0.1), duck("0.1::DOUBLE")],
    ),
    "float in single or half precision": (
        "0.1",
        0.1,
        [
            one(np.float32(0.1)),
            one(np.float16(0.1)),
            arrow([0.1], pa.float32()),
            arrow([0.1], pa.float16()),
            frame(0.1, "float32"),
            frame(0.1, "Float32"),
            polars(0.1, pl.Float32),
            duck("0.1::FLOAT"),
        ],
    ),
    "decimal": (
        "1.50",
        "1.50",
        [
            one(Decimal("1.50")),
            arrow([Decimal("1.50")], pa.decimal128(10, 2)),
            arrow([Decimal("1.50")], pa.decimal256(50, 2)),
            frame(Decimal("1.50")),
            frame(Decimal("1.50"), pd.ArrowDtype(pa.decimal128(10, 2))),
            polars(Decimal("1.50"), pl.Decimal(10, 2)),
            duck("1.50::DECIMAL(10, 2)"),
        ],
    ),
    "truth value": (
        "true",
        True,
        [
            one(True),  # noqa: FBT003 - a cell
            one(np.True_),
            arrow([True], pa.bool_()),
            arrow([1], pa.bool8()),
            frame(True),  # noqa: FBT003 - a cell
            frame(True, "boolean"),  # noqa: FBT003 - a cell
            polars(True),  # noqa: FBT003 - a cell
            duck("true"),
            duck("true", lossless=True),
        ],
    ),
    "date": (
        "2026-01-02",
        "2026-01-02",
        [
            one(date(2026, 1, 2)),
            one(np.datetime64("2026-01-02")),
            arrow([date(2026, 1, 2)], pa.date32()),
            arrow([date(2026, 1, 2)], pa.date64()),
            frame(date(2026, 1, 2)),
            polars(date(2026, 1, 2)),
            duck("DATE '2026-01-02'"),
        ],
    ),
    "time of day": (
        "03:04:00",
        "03:04:00",
        [
            one(time(3, 4)),
            *(
                arrow([time(3, 4)], kind)
                for kind in (pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns"))
            ),
            frame(time(3, 4)),
            polars(time(3, 4)),
            duck("TIME '03:04'"),
        ],
    ),
    "moment without a time zone": (
        "2026-01-02T03:04:05",
        "2026-01-02T03:04:05",
        [
            one(MOMENT.replace(tzinfo=None)),
            one(np.datetime64("2026-01-02T03:04:05", "ns")),
            one(pd.Timestamp("2026-01-02T03:04:05")),
            *(arrow([MOMENT.replace(tzinfo=None)], pa.timestamp(unit)) for unit in ("s", "ms", "us", "ns")),
            frame(pd.Timestamp("2026-01-02T03:04:05")),
            frame(MOMENT.replace(tzinfo=None), "object"),
            polars(MOMENT.replace(tzinfo=None)),
            polars(MOMENT.replace(tzinfo=None), pl.Datetime("ns")),
            *(duck(f"{kind} '2026-01-02 03:04:05'") for kind in ("TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_NS")),
        ],
    ),
    "moment with a time zone": (
        "2026-01-02T03:04:05+00:00",
        "2026-01-02T03:04:05+00:00",
        [
            *(one(MOMENT.astimezone(zone)) for zone in (UTC, BERLIN, NEW_YORK, timezone(timedelta(hours=5.5)))),
            one(pd.Timestamp(MOMENT).tz_convert("America/New_York")),
            *(
                arrow([MOMENT], pa.timestamp(unit, zone))
                for unit in ("s", "ms", "us", "ns")
                for zone in ("UTC", "Europe/Berlin", "America/New_York", "+05:30", "Mars/Base")
            ),
            pa.table({"p": ["x"], "v": pa.array([MOMENT], pa.timestamp("us", "Europe/Berlin")).dictionary_encode()}),
            frame(pd.Timestamp(MOMENT).tz_convert("Europe/Berlin")),
            frame(MOMENT.astimezone(NEW_YORK), "object"),
            frame(MOMENT, pd.ArrowDtype(pa.timestamp("us", "Europe/Berlin"))),
            polars(MOMENT.astimezone(BERLIN), pl.Datetime("us", "Europe/Berlin")),
            duck("TIMESTAMPTZ '2026-01-02 03:04:05+00'"),
            duck("TIMESTAMPTZ '2026-01-02 03:04:05+00'", "Europe/Berlin"),
        ],
    ),
    "duration": (
        "1:00:00",
        "1:00:00",
        [
            one(timedelta(hours=1)),
            one(np.timedelta64(1, "h")),
            one(pd.Timedelta(hours=1)),
            *(arrow([timedelta(hours=1)], pa.duration(unit)) for unit in ("s", "ms", "us", "ns")),
            arrow([(0, 0, 3_600_000_000_000)], pa.month_day_nano_interval()),
            frame(pd.Timedelta(hours=1)),
            polars(timedelta(hours=1)),
            duck("INTERVAL 1 HOUR"),
        ],
    ),
    "UUID": (
        str(UUID(int=1)),
        str(UUID(int=1)),
        [
            one(UUID(int=1)),
            arrow([UUID(int=1).bytes], pa.uuid()),
            duck(f"UUID '{UUID(int=1)}'"),
            duck(f"UUID '{UUID(int=1)}'", lossless=True),
        ],
    ),
    "interval with months": (
        REFUSED,
        "P1M0DT0S",
        [arrow([(1, 0, 0)], pa.month_day_nano_interval()), duck("INTERVAL 1 MONTH")],
    ),
    "date or moment outside the years 1 to 9999 (`infinity`)": (
        REFUSED,
        "+010000-01-01",
        [
            raw(2_932_897, pa.date32()),
            raw(2_932_897 * 86_400_000, pa.date64()),
            one(np.datetime64(2_932_897, "D")),
        ],
    ),
    "bytes": (
        REFUSED,
        "Y3Vw",
        [
            *(one(make(b"cup")) for make in (bytes, bytearray, memoryview, np.bytes_)),
            *(arrow([b"cup"], kind) for kind in (pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(3))),
            arrow([b"cup"], pa.opaque(pa.binary(), "t", "v")),
            frame(b"cup"),
            polars(b"cup"),
            duck("'cup'::BLOB"),
        ],
    ),
    "list, array, tensor, set": (
        REFUSED,
        [1, 2],
        [
            *(one(value) for value in ([1, 2], (1, 2), {1, 2}, range(1, 3), array("i", [1, 2]), np.array([1, 2]))),
            one(pl.Series([1, 2])),
            one(pd.Series([1, 2])),
            *(
                arrow([[1, 2]], kind(pa.int32()))
                for kind in (pa.list_, pa.large_list, pa.list_view, pa.large_list_view, lambda kind: pa.list_(kind, 2))
            ),
            arrow([[1, 2]], pa.fixed_shape_tensor(pa.int32(), [2])),
            arrow([[1, 2]], pa.list_(pa.float32())),
            frame([1, 2]),
            polars([1, 2]),
            polars([1, 2], pl.Array(pl.Int8, 2)),
            duck("[1, 2]"),
        ],
    ),
    "struct, mapping, map with texts as keys": (
        REFUSED,
        {"a": 1},
        [
            one({"a": 1}),
            one({"a": np.int64(1)}),
            arrow([{"a": 1}], pa.struct([("a", pa.int8())])),
            arrow([[("a", 1)]], pa.map_(pa.string(), pa.int8())),
            frame({"a": 1}),
            polars({"a": 1}),
            duck("{'a': 1}"),
            duck("MAP {'a': 1}"),
        ],
    ),
    "infinite number": (
        REFUSED,
        None,
        [one(float("inf")), one(Decimal("-Infinity")), arrow([float("inf")], pa.float32()), duck("'-inf'::DOUBLE")],
    ),
    "nothing: null, NaN, NaT, an empty or blank cell": (
        REFUSED,
        None,
        [
            *(one(value) for value in (None, float("nan"), np.datetime64("NaT"), pd.NA, pd.NaT, np.ma.masked)),
            *(arrow([None], kind) for kind in (pa.null(), pa.string(), pa.timestamp("us", "Mars/Base"), pa.uuid())),
            arrow([None], pa.map_(pa.string(), pa.int8())),
            arrow([float("nan")], pa.float16()),
            frame(None),
            polars(None),
            duck("NULL"),
        ],
    ),
}

CASES = [
    pytest.param(name, number, id=f"{name}-{number}")
    for name, (_, _, sources) in KINDS.items()
    for number in range(len(sources))
]


def made(name: str, number: int) -> Any:
    source = KINDS[name][2][number]
    return source() if callable(source) else source


@pytest.mark.parametrize(("name", "number"), CASES)
def test_a_value_has_one_text_from_every_library(name: str, number: int) -> None:
    text, carried, _ = KINDS[name]
    [row] = rows(made(name, number), prompt_column="p")
    assert row.columns == {"v": carried}
    assert type(row.columns["v"]) is type(carried)
    if text is not REFUSED:
        [row] = rows(made(name, number), template="{v}", id_column="v")
        assert (row.prompt, row.row_id) == (text, text)
    else:
        [(line, column, reason)] = problems(made(name, number), template="{v}")
        assert (line, column) == (1, "v")
        assert "text" in reason or "empty" in reason


@pytest.mark.parametrize("name", KINDS)
def test_the_table_of_types_in_the_docs_says_the_same(name: str) -> None:
    lines = (ROOT / "docs/tables.md").read_text(encoding="utf-8").splitlines()
    [line] = [line for line in lines if line.startswith(f"| {name} |")]
    _, _, text, carried = (cell.strip() for cell in line.split("|")[1:-1])
    wanted, json, _ = KINDS[name]
    assert text.strip("`") == {REFUSED: "refused", "cup": "as it stands"}.get(wanted, wanted)
    kinds = {str: "text", int: "number", float: "number", bool: "true or false", list: "list", dict: "object"}
    assert carried.startswith(kinds.get(type(json), "null"))
    if re.search("`(.*)`", carried):
        assert json in carried


def test_every_kind_of_the_docs_is_tried() -> None:
    page = (ROOT / "docs/tables.md").read_text(encoding="utf-8")
    table = page.partition("| value | example |")[2].partition("\n\n")[0].splitlines()[2:]
    assert [line.strip("| ").partition(" | ")[0] for line in table] == list(KINDS)


FAR = [
    (raw(2**62, pa.timestamp("us")), "+148108-07-06T14:00:27.387904"),
    (raw(2**63 - 1, pa.timestamp("us", "UTC")), "+294247-01-10T04:00:54.775807+00:00"),
    (raw(-(2**62), pa.timestamp("s", "Mars/Base")), "-146138510344-07-14T16:14:56+00:00"),
    (raw(2**30, pa.date32()), "+2941775-04-07"),
    (raw(86_400 * 5, pa.time32("s")), "432000 s"),
    (raw(2**62, pa.duration("s")), "4611686018427387904000000 microseconds"),
    (one(pd.Timestamp(np.datetime64("20000-01-01", "s"))), "+020000-01-01T00:00:00"),
    (one(datetime.max.replace(tzinfo=timezone(timedelta(hours=-5)))), "+010000-01-01T04:59:59.999999+00:00"),
    (one(np.datetime64(2**62, "us")), "+148108-07-06T14:00:27.387904"),
    (one(10**5000), "1" + "0" * 5000),
    (one(Decimal(10) ** 5000), "1" + "0" * 5000),
    (one(Decimal("1E+999999999")), "1E+999999999"),
    (duck("DATE 'infinity'"), "+5881580-07-11"),
    (duck("TIMESTAMPTZ '-infinity'", "Europe/Berlin"), "-290308-12-21T19:59:05.224193+00:00"),
]


@pytest.mark.parametrize(("source", "carried"), FAR, ids=range(len(FAR)))
def test_what_python_has_no_value_for_is_carried_as_text(source: Any, carried: str) -> None:
    [row] = rows(source() if callable(source) else source, prompt_column="p")
    assert row.columns == {"v": carried}
    with pytest.raises(TableError, match=r"cannot be used as text|at most 512 are allowed"):
        rows(source() if callable(source) else source, prompt_column="p", id_column="v")


def nested(depth: int) -> tuple[Any, pa.DataType]:
    value: Any = 1
    kind = pa.int8()
    for _ in range(depth):
        value, kind = [value], pa.list_(kind)
    return value, kind


def test_what_is_nested_too_deep_is_its_rows_problem() -> None:
    value, kind = nested(900)
    deep = pa.table({"p": ["x", "y"], "v": pa.array([None, value], kind)})
    assert problems(deep, prompt_column="p") == [(2, "v", "the value is nested more than 60 levels deep")]
    assert problems([{"p": "x"}, {"p": "y", "v": value}], prompt_column="p")[0][:2] == (2, "v")
    assert problems([{"prompt": "x", "image_urls": value}])[0][:2] == (1, "image_urls")
    value, kind = nested(50)
    for source in (pa.table({"p": ["x"], "v": pa.array([value], kind)}), one(value)):
        assert rows(source, prompt_column="p")[0].columns == {"v": value}


def test_numbers_of_any_length_in_a_file_are_told_or_carried(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"prompt": "x", "n": 1%s, "f": 1e400}\n' % ("0" * 5000))
    assert rows(str(tmp_path / "t.jsonl"))[0].columns == {"n": "1" + "0" * 5000, "f": None}
    assert problems([{"prompt": "x", "n": 10**200_000}]) == [
        (1, "n", "a number of more than 100,000 digits cannot be used as text")
    ]


def test_a_value_that_differs_each_time_it_is_printed_is_carried_without_its_place() -> None:
    class Thing:
        pass

    class Broken:
        def __str__(self) -> str:
            raise RuntimeError

    [first], [second] = (rows([{"prompt": "x", "v": Thing(), "w": Broken()}]) for _ in range(2))
    assert first.columns == second.columns
    assert " at 0x" not in str(first.columns)
    assert rows([{"prompt": "x", "v": {"b", "a", "c"}}])[0].columns == {"v": ["a", "b", "c"]}


def test_a_number_behind_a_type_of_somebody_elses_is_no_text() -> None:
    periods = pd.DataFrame({"p": ["x"], "v": pd.period_range("2025-01", periods=1, freq="M")})
    unknown = pa.field("v", pa.int64(), metadata={"ARROW:extension:name": "pandas.period"})
    for table in (periods, pa.table([["x"], [660]], pa.schema([pa.field("p", pa.string()), unknown]))):
        assert rows(table, prompt_column="p")[0].columns == {"v": 660}
        assert "pandas.period" in problems(table, template="{v}")[0][2]
    text = pa.field("v", pa.string(), metadata={"ARROW:extension:name": "geoarrow.wkt"})
    [row] = rows(pa.table([["x"], ["POINT (1 2)"]], pa.schema([pa.field("p", pa.string()), text])), template="{v}")
    assert row.prompt == "POINT (1 2)"


def test_nanoseconds_are_cut_off_towards_the_past_wherever_they_come_from() -> None:
    for count, text in ((-1500, "1969-12-31T23:59:59.999998"), (1500, "1970-01-01T00:00:00.000001")):
        for source in (raw(count, pa.timestamp("ns")), one(np.datetime64(count, "ns")), one(pd.Timestamp(count))):
            assert rows(source, template="{v}")[0].prompt == text
        assert rows(raw(count, pa.timestamp("ns", "Europe/Berlin")), template="{v}")[0].prompt == f"{text}+00:00"


def test_values_within_others_print_as_they_do_alone() -> None:
    kind = pa.list_(pa.struct([("at", pa.timestamp("ns", "Europe/Berlin")), ("f", pa.float32()), ("b", pa.binary())]))
    inner = [{"at": MOMENT, "f": 0.1, "b": b"cup"}]
    wanted = [{"at": "2026-01-02T03:04:05+00:00", "f": 0.1, "b": "Y3Vw"}]
    table = arrow([inner, None, []], kind)
    assert [row.columns["v"] for row in rows(table, prompt_column="p")] == [wanted, None, []]
    assert [row.columns["v"] for row in rows(table.slice(1), prompt_column="p")] == [None, []]
    assert rows(
        one([{"at": MOMENT.astimezone(BERLIN), "f": np.float32(0.1), "b": memoryview(b"cup")}]), prompt_column="p"
    )[0].columns == {"v": wanted}


def test_maps_are_objects_where_their_keys_are_texts_that_stand_once() -> None:
    kind = pa.map_(pa.string(), pa.int8())
    table = arrow([[("a", 1), ("b", 2)], [("a", 1), ("a", 2)], None, []], kind)
    found = [row.columns["v"] for row in rows(table, prompt_column="p")]
    assert found == [{"a": 1, "b": 2}, [["a", 1], ["a", 2]], None, {}]
    assert [row.columns["v"] for row in rows(table.slice(1, 2), prompt_column="p")] == found[1:3]
    assert rows(arrow([[(1, 2)]], pa.map_(pa.int8(), pa.int8())), prompt_column="p")[0].columns == {"v": [[1, 2]]}


def test_pandas_objects_of_several_kinds_are_read_row_by_row() -> None:
    table = pd.DataFrame({"p": ["x", "y", "z"], "v": pd.Series([1, "a", MOMENT.astimezone(BERLIN)], dtype="object")})
    assert [row.prompt for row in rows(table, template="{v}")] == ["1", "a", "2026-01-02T03:04:05+00:00"]
    assert rows(pd.DataFrame({"p": ["x"], "v": pd.Series([10**5000], dtype="object")}), prompt_column="p")


def test_the_same_moment_from_parquet_of_any_zone_is_the_same_row(tmp_path: Path) -> None:
    found = []
    for zone in ("UTC", "Europe/Berlin", "America/New_York"):
        pq.write_table(arrow([MOMENT], pa.timestamp("us", zone)), tmp_path / "t.parquet")
        found.append(rows(str(tmp_path / "t.parquet"), template="{p} at {v}"))
    assert found[0] == found[1] == found[2]


@pytest.fixture
def moments_in() -> Iterator[Callable[[Any], None]]:
    """sqlite3 as a driver whose moments come in the zone of its session."""
    before = dict(sqlite3.converters)

    def use(zone: Any) -> None:
        sqlite3.register_converter("moment", lambda text: datetime.fromisoformat(text.decode()).astimezone(zone))
        sqlite3.register_converter("raw", memoryview)

    yield use
    sqlite3.converters.clear()
    sqlite3.converters.update(before)


def test_a_drivers_session_moves_no_moment(tmp_path: Path, moments_in: Callable[[Any], None]) -> None:
    query = "SELECT 'x' AS p, '2026-01-02T03:04:05+00:00' AS \"v [moment]\", x'637570' AS \"b [raw]\""
    found = []
    for zone in (UTC, BERLIN, NEW_YORK):
        moments_in(zone)
        table = SqlTable(f"sqlite:///{tmp_path}/t.db?detect_types=2", query)
        spec = PromptSpec(MODEL, template="{p} at {v}")
        [[row]] = read_rows(table, spec)
        found.append((row.row_id, row.prompt, row.columns))
    assert found[0][1:] == (
        "x at 2026-01-02T03:04:05+00:00",
        {"p": "x", "v": "2026-01-02T03:04:05+00:00", "b": "Y3Vw"},
    )
    assert found[0] == found[1] == found[2]
