"""What looks like a table and is none that can be read here is refused with the way to one."""

from __future__ import annotations

import sqlite3
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
import sqlalchemy

from dagster_gptimg.errors import TableError
from dagster_gptimg.prompts.readers.unreadable import repeatable
from tests.prompts.support import rows


def of(module: str, name: str, **members: Any) -> Any:
    """An object of a library that is too large to be installed for a sentence."""
    return type(name, (), {"__module__": module, **members})()


def streams(_: object, requested_schema: object = None) -> object:
    raise AssertionError("nothing of it is read")


REFUSED: list[tuple[Any, str]] = [
    (pl.DataFrame({"prompt": ["x"]}).lazy(), "frame.collect()"),
    (pl.Series("prompt", ["x"]), ".to_frame('prompt')"),
    (pd.Series(["x"]), ".to_frame('prompt')"),
    (pa.chunked_array([["x"]]), "pa.table({'prompt': array})"),
    (pa.array(["x"]), "pa.table({'prompt': array})"),
    (ds.dataset(pa.table({"prompt": ["x"]})), "dataset.to_table()"),
    (ds.dataset(pa.table({"prompt": ["x"]})).scanner(), "scanner.to_table(), or scanner.to_reader()"),
    (sqlite3.connect(":memory:"), "SqlTable(url, 'SELECT ...')"),
    (sqlite3.connect(":memory:").execute("SELECT 'x' AS prompt"), "SqlTable(url, 'SELECT ...')"),
    (of("psycopg", "Connection", cursor=None, commit=None, execute=None), "SqlTable(url, 'SELECT ...')"),
    (duckdb.connect(), "connection.sql("),
    (np.array(["x"]), "[{'prompt': text} for text in array]"),
    (sqlalchemy.create_engine("sqlite://"), "SqlTable(url"),
    (of("deltalake.table", "DeltaTable", __arrow_c_stream__=streams), "table.to_pyarrow_table()"),
    (of("pyiceberg.table", "Table"), "table.scan().to_arrow()"),
    (of("pyiceberg.table", "DataScan"), "scan.to_arrow()"),
    (of("lance.dataset", "LanceDataset"), "dataset.to_table()"),
    (of("pyspark.sql.classic.dataframe", "DataFrame"), "frame.toPandas()"),
    (of("dask.dataframe.dask_expr._collection", "DataFrame"), "frame.compute()"),
    (of("datasets.arrow_dataset", "Dataset", __iter__=lambda _: iter(())), "dataset.to_pandas()"),
    ({"prompt": ["x"]}, "pa.table(columns)"),
    (b"prompt\nx\n", "a list of dicts"),
    (7, "a list of dicts"),
]


@pytest.mark.parametrize(("source", "way"), REFUSED, ids=[type(source).__name__ for source, _ in REFUSED])
def test_the_way_out_is_told(source: Any, way: str) -> None:
    with pytest.raises(TableError, match=r"is not a table|cannot be read as a table") as caught:
        rows(source)
    assert way in str(caught.value)
    assert type(source).__name__ in str(caught.value)


def test_readers_and_generators_are_read_once_or_kept() -> None:
    table = pa.table({"prompt": ["x"]})
    once: list[Any] = [table.to_reader(), iter(["x"]), ({"prompt": "x"} for _ in range(1))]
    for source in [*once, table, ["x"]]:
        kept = repeatable(source)
        assert (kept is source) == all(source is not other for other in once)
        assert [rows(kept)[0].prompt for _ in range(2)] == ["x", "x"]
    assert rows(table.to_reader())[0].prompt == "x"


def test_a_database_is_free_again_when_only_its_first_rows_are_read() -> None:
    connection = duckdb.connect()
    relation = connection.sql("SELECT 'p' || i AS prompt FROM range(5000) t(i)")
    assert [row.prompt for row in rows(relation, limit=1)] == ["p0"]
    assert len(rows(relation)) == 5000
    assert connection.sql("SELECT 1").fetchall() == [(1,)]
