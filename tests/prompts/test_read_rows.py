"""Prompt tables: every source gives the same rows, and every bad row is told at once, with its line."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import tempfile
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_gptimg.errors import TableError, UsageError
from dagster_gptimg.prompts import PromptSpec, read_rows
from tests.prompt_table import MULTILINE
from tests.prompt_table import rows as table_rows
from tests.prompt_table import write as write_table
from tests.prompts.support import MODEL, problems, rows, write


def test_prompts_of_every_kind_come_through_as_they_stand(prompt_table: Path, tmp_path: Path) -> None:
    for path, expected in (
        (prompt_table, table_rows()),
        (write_table(tmp_path / "t.csv"), [*table_rows(), *MULTILINE]),
    ):
        found = rows(path, prompt_column="Prompt")
        assert [row.prompt for row in found] == [row.Prompt for row in expected]
        assert [tuple(row.columns.values()) for row in found] == [tuple(row[1:]) for row in expected]
        assert len({row.row_id for row in found}) == len(found)


def test_the_same_table_from_every_source_is_the_same(tmp_path: Path) -> None:
    table = [
        {"sku": "a", "product": "cup", "count": 1, "num_images": 2, "price": 1.5, "quality": "low"},
        {"sku": "b", "product": "mug", "count": 2, "num_images": None, "price": 2.0, "quality": None},
    ]
    frame = pl.DataFrame(table)
    frame.write_csv(tmp_path / "t.csv")
    frame.write_csv(tmp_path / "t.tsv", separator="\t")
    frame.write_ndjson(tmp_path / "t.jsonl")
    frame.write_parquet(tmp_path / "t.parquet")
    sources: list[Any] = [str(tmp_path / f"t.{ending}") for ending in ("csv", "tsv", "jsonl", "parquet")]
    sources += [table, frame, pd.DataFrame(table), pa.Table.from_pylist(table)]
    spec = {"template": "{count} x {product}", "arguments": {"image_size": "1024x1024"}}
    found = [[(r.row_id, r.prompt, r.arguments) for r in rows(source, **spec)] for source in sources]
    assert found[0] == [
        (found[0][0][0], "1 x cup", {"image_size": "1024x1024", "num_images": 2, "quality": "low"}),
        (found[0][1][0], "2 x mug", {"image_size": "1024x1024"}),
    ]
    assert all(other == found[0] for other in found)
    assert isinstance(found[0][0][2]["num_images"], int)


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: text.encode(),
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: text.encode("utf-16"),
        lambda text: text.replace("\n", "\r\n").encode(),
    ],
    ids=["utf-8", "bom", "utf-16", "crlf"],
)
def test_encodings_and_line_ends(tmp_path: Path, encode: Any) -> None:
    path = write(tmp_path / "t.csv", encode("prompt,id\nein Stuhl für Ärzte 🪑,1\n"))
    [row] = rows(path, id_column="id")
    assert (row.prompt, row.row_id, row.columns) == ("ein Stuhl für Ärzte 🪑", "1", {})


def test_bytes_that_are_not_utf8_are_a_problem_of_their_row(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", b"prompt\nok\nf\xfcr\n")
    [(line, column, reason)] = problems(path)
    assert (line, column) == (3, "prompt")
    assert "UTF-8" in reason


def test_compressed_tables(tmp_path: Path) -> None:
    assert rows(write(tmp_path / "t.jsonl.gz", gzip.compress(b'{"prompt": "x"}\n')))[0].prompt == "x"


def test_quoted_newlines_and_the_line_where_a_row_begins(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", 'prompt,quality\n"two\nlines",low\n\n"three\n\nlines",hihg\nlast,\n')
    assert problems(path)[0][:2] == (5, "quality")
    good = write(tmp_path / "u.csv", 'prompt\n"two\nlines"\n')
    assert rows(good)[0].prompt == "two\nlines"


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    path = write(
        tmp_path / "t.csv",
        "id,product,quality,num_images\n"
        "1,cup,low,1\n"
        "2,,low,1\n"
        "1,mug,low,1\n"
        "4,mug,hihg,0\n"
        "5,mug\n"
        ",mug,low,1\n"
        '7,"m"ug,low,1\n',
    )
    found = problems(path, template="a {product}", id_column="id")
    assert [(line, column) for line, column, _ in found] == [
        (3, "product"),
        (4, "id"),
        (5, "num_images"),
        (5, "quality"),
        (6, None),
        (7, "id"),
        (8, None),
    ]
    reasons = [reason for _, _, reason in found]
    assert "is already used on line 2" in reasons[1]
    assert "did you mean high?" in reasons[3]
    assert "used as fal's input of this name" in reasons[2]
    assert "2 cells, where the header has 4" in reasons[4]


def test_the_message_shows_twenty_and_counts_the_rest() -> None:
    with pytest.raises(TableError, match="50 rows are invalid") as caught:
        rows([{"prompt": ""}] * 50)
    assert str(caught.value).count("the cell is empty") == 20
    assert "and 30 more" in str(caught.value)
    with pytest.raises(TableError, match="1 row is invalid"):  # one row with two problems is one row
        rows([{"prompt": "", "quality": "x"}])


def test_of_millions_of_problems_the_first_are_kept_and_all_are_counted() -> None:
    with pytest.raises(TableError, match="10050 rows are invalid") as caught:
        rows({"prompt": ""} for _ in range(10_050))
    assert len(caught.value.problems) == 10_000
    assert "and 10030 more" in str(caught.value)


def test_all_problems_of_a_row_are_told(tmp_path: Path) -> None:
    table = [{"id": "1", "prompt": "x"}, {"id": "1", "prompt": "", "quality": "x", "note": "\ud83d"}]
    assert [column for _, column, _ in problems(table, id_column="id")] == ["prompt", "quality", "id", "note"]


@pytest.mark.parametrize("empty", [None, math.nan, ""])
def test_nothing_in_a_template_or_prompt_is_an_error(empty: object) -> None:
    table = [{"a": "x", "b": 1}, {"a": "y", "b": empty}]
    assert problems(table, template="{a} {b}") == [(2, "b", "the cell is empty")]
    assert problems(table, prompt_column="b") == [(2, "b", "the cell is empty")]


def test_prompts_of_32000_characters_and_one_more() -> None:
    assert len(rows([{"prompt": "x" * 32_000}])[0].prompt) == 32_000
    assert "32000" in problems([{"prompt": "x" * 32_001}])[0][2]
    assert problems([{"prompt": "  \n"}])[0][2] == "the cell is empty"


def test_prompts_are_sent_as_they_are() -> None:
    odd = "  ﬁne\u200b e\u0301 \x00 \r\n {x} "
    assert rows([{"prompt": odd}])[0].prompt == odd
    assert "\\ud83d is half of a surrogate pair" in problems([{"prompt": "half \ud83d"}])[0][2]


def test_derived_ids_tell_content_and_equal_rows_apart() -> None:
    table = [{"prompt": "a"}, {"prompt": "b"}, {"prompt": "a"}, {"prompt": "a", "quality": "low"}]
    ids = [row.row_id for row in rows(table)]
    assert ids[2] == f"{ids[0]}-2"
    assert len(set(ids)) == 4
    assert sorted(row.row_id for row in rows(table[::-1])) == sorted(ids)


def test_numbers_print_the_same_whatever_the_source() -> None:
    table = [{"n": 1.0, "b": True, "d": date(2026, 1, 2), "f": 0.1, "m": Decimal("1.50")}]
    assert rows(table, template="{n} {b} {d} {f} {m}")[0].prompt == "1 true 2026-01-02 0.1 1.50"


def test_other_columns_are_carried_along_as_json() -> None:
    given = {
        "prompt": "x",
        "day": date(2026, 1, 2),
        "m": Decimal("1.50"),
        "n": math.nan,
        "raw": b"\xff",
        "l": [1, {"k": 2.0}],
    }
    [row] = rows([given])
    assert row.columns == {"day": "2026-01-02", "m": "1.50", "n": None, "raw": "/w==", "l": [1, {"k": 2}]}
    json.dumps(row.columns, allow_nan=False)


def test_a_partition_is_a_filter_by_text() -> None:
    table = [{"prompt": "a", "c": 1.0}, {"prompt": "b", "c": "1"}, {"prompt": "", "c": 2}, {"prompt": "d", "c": None}]
    assert [row.prompt for row in rows(table, where=("c", "1"))] == ["a", "b"]
    assert [row.prompt for row in rows(table[:2], limit=1)] == ["a"]
    assert [row.prompt for row in rows([*table[:2], {"prompt": "", "c": 1}], limit=2)] == ["a", "b"]
    with pytest.raises(UsageError, match="limit is 0"):
        PromptSpec(MODEL, limit=0)
    same = [{"prompt": "a", "id": "1", "c": c} for c in "xy"]
    assert [row.row_id for row in rows(same, id_column="id", where=("c", "y"))] == ["1"]
    assert problems([{"prompt": "a", "c": ["x"]}], where=("c", "x")) == [
        (1, "c", "a value of type list cannot be used as text")
    ]
    with pytest.raises(TableError, match="no column 'd'"):
        rows(table, where=("d", "1"))


@pytest.mark.parametrize(
    ("content", "name", "says"),
    [
        ("", "t.csv", "is empty"),
        ("a,a\n1,2\n", "t.csv", "'a' is used twice"),
        ("prompt,\nx,y\n", "t.csv", "a column has no name"),
        ("x\n", "t.xlsx", "not a readable workbook"),
        ("x\n", "t.ods", "is not known: save it as .xlsx"),
        ("x\n", "t.parquet", "not a Parquet file"),
        ("text\nx\n", "t.csv", "no column named prompt"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path: Path, content: str, name: str, says: str) -> None:
    with pytest.raises(TableError, match=says):
        rows(write(tmp_path / name, content))


def test_json_lines_that_are_none(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", '{"prompt": "x"}\n\nnope\n[1]\n')
    assert [(line, reason.partition(":")[0]) for line, _, reason in problems(path)] == [
        (3, "invalid JSON"),
        (4, "not a JSON object"),
    ]


@pytest.mark.parametrize("hostile", ["{a.b}", "{a[0]}", "{a!r}", "{a:>9}", "{}", "{0}{}", "{a", "a}", "plain {{a}}"])
def test_templates_reach_columns_and_nothing_else(hostile: str) -> None:
    with pytest.raises(UsageError, match="template"):
        PromptSpec(MODEL, template=hostile)


def test_template_braces_and_odd_column_names() -> None:
    assert rows([{"a b": "x"}], template="{{{a b}}}")[0].prompt == "{x}"


def test_template_and_prompt_column_together_are_refused() -> None:
    with pytest.raises(UsageError, match="not both"):
        PromptSpec(MODEL, template="{a}", prompt_column="a")


def test_parquet_is_read_in_batches(tmp_path: Path) -> None:
    pq.write_table(pa.table({"prompt": [f"p{n}" for n in range(5000)]}), tmp_path / "t.parquet")
    batches = list(read_rows(str(tmp_path / "t.parquet"), PromptSpec(MODEL)))
    assert [len(batch) for batch in batches] == [1024, 1024, 1024, 1024, 904]
    assert sum(map(len, batches)) == 5000


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1), min_size=1))
def test_any_text_survives_csv(texts: list[str]) -> None:
    wanted = [text for text in texts if text.strip()]
    if not wanted:
        return
    out = io.StringIO(newline="")
    csv.writer(out).writerows([["prompt"], *([text] for text in wanted)])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        path.write_bytes(out.getvalue().encode())
        assert [row.prompt for row in rows(str(path))] == wanted
