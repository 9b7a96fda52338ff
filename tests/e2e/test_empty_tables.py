"""Nothing new today is a success with an empty image table: whatever the table is, and whoever asks."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xlsxwriter

from dagster_gptimg import FalSettings, SqlTable, generate
from dagster_gptimg.errors import TableError
from dagster_gptimg.fal.settings import FalUrls
from tests.harness import cli

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.harness import Fal

LOW = {"quality": "low", "image_size": "1024x1024"}
EMPTY = pa.table({"prompt": pa.array([], pa.string()), "n": pa.array([], pa.int8())})


def book(path: Path) -> str:
    with xlsxwriter.Workbook(path) as made:
        made.add_worksheet().write_row(0, 0, ["prompt"])
    return str(path)


def parquet(path: Path) -> str:
    pq.write_table(EMPTY, path)
    return str(path)


def text(path: Path, content: str) -> str:
    path.write_text(content, encoding="utf-8")
    return str(path)


def folder(path: Path) -> str:
    path.mkdir()
    parquet(path / "a.parquet")
    parquet(path / "b.parquet")
    return str(path)


def query(path: Path) -> SqlTable:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (prompt TEXT)")
    return SqlTable(f"sqlite:///{path}", "SELECT * FROM t")


SOURCES: dict[str, Callable[[Path], Any]] = {
    "csv": lambda path: text(path / "t.csv", "prompt,quality\n"),
    "csv with blank rows": lambda path: text(path / "t.csv", "prompt,quality\n\n,\n"),
    "tsv": lambda path: text(path / "t.tsv", "prompt\tquality\n"),
    "txt": lambda path: text(path / "t.txt", "\n\n"),
    "txt of nothing": lambda path: text(path / "t.txt", ""),
    "jsonl": lambda path: text(path / "t.jsonl", ""),
    "json": lambda path: text(path / "t.json", "[]"),
    "json of nothing": lambda path: text(path / "t.json", '{"rows": [], "n": 0}'),
    "xlsx": lambda path: book(path / "t.xlsx"),
    "parquet": lambda path: parquet(path / "t.parquet"),
    "folder": lambda path: folder(path / "t"),
    "sql": lambda path: query(path / "t.db"),
    "list": lambda _: [],
    "generator": lambda _: iter(()),
    "polars": lambda _: pl.from_arrow(EMPTY),
    "polars without columns": lambda _: pl.DataFrame(),
    "pandas": lambda _: EMPTY.to_pandas(),
    "pandas without columns": lambda _: pd.DataFrame(),
    "arrow": lambda _: EMPTY,
}


@pytest.mark.parametrize("name", SOURCES)
def test_a_table_without_rows_is_a_success(name: str, fal: Fal, store: Path, tmp_path: Path) -> None:
    settings = FalSettings("test-key", FalUrls.at(fal.url))
    given: dict[str, Any] = {"store": store, "dataset": "d", "settings": settings, "progress": False}
    planned = generate(SOURCES[name](tmp_path), plan_only=True, **given)
    assert (planned.summary.rows, planned.summary.bought) == (0, 0)
    for again in range(2):
        (tmp_path / str(again)).mkdir()
        made = generate(SOURCES[name](tmp_path / str(again)), **given)
        assert (made.summary.rows, made.summary.exit_status, len(made), made.table.num_rows) == (0, 0, 0, 0)
        assert made.manifest is not None
    assert fal.bill()["rows"] == []


def test_a_table_whose_rows_have_left_has_an_empty_image_table(fal: Fal, store: Path) -> None:
    settings = FalSettings("test-key", FalUrls.at(fal.url))
    given: dict[str, Any] = {"store": store, "dataset": "d", "settings": settings, "progress": False}
    assert len(generate(["a cup"], arguments=LOW, **given)) == 1
    assert len(generate([], arguments=LOW, **given)) == 0
    assert generate(["a cup"], arguments=LOW, **given).summary.reused == 1


def test_the_columns_of_a_table_without_rows_are_checked(tmp_path: Path) -> None:
    for source in (text(tmp_path / "t.csv", "promt\n"), EMPTY.rename_columns(["text", "n"])):
        with pytest.raises(TableError, match="no column named prompt"):
            generate(source, store=tmp_path, dataset="d", plan_only=True)
    with pytest.raises(TableError, match="is empty: its first line must name the columns"):
        generate(text(tmp_path / "t.csv", ""), store=tmp_path, dataset="d", plan_only=True)


def test_the_command_line(fal: Fal, store: Path, tmp_path: Path) -> None:
    table = text(tmp_path / "t.csv", "prompt,kind\n")
    for arguments in (["plan", table], ["generate", table], ["generate", table, "--partition", "kind=a"]):
        ran = cli(fal, *arguments, "--store", str(store), "--dataset", "d", "--json")
        assert (ran.status, ran.summary["rows"], ran.summary["images"]) == (0, 0, 0)
    assert cli(None, "manifest", "--store", str(store), "--dataset", "d").stdout == ""
    ran = cli(fal, "generate", table, "--store", str(store), "--dataset", "d", "--partition", "kind=")
    assert ran.status == 2
    assert "the partition by 'kind' has no value" in ran.stderr
