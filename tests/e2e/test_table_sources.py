"""One table from many sources: the same keys, so it is bought once. The emulator's bill is the judge."""

from __future__ import annotations

import csv
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from dagster_gptimg import FalSettings, get_model
from dagster_gptimg.engine.plan.plan import Plan
from dagster_gptimg.fal.registry.builtin import DEFAULT_MODEL
from dagster_gptimg.fal.settings import FalUrls
from dagster_gptimg.notebook import generate
from dagster_gptimg.prompts import PromptSpec, SqlTable, read_rows
from tests.prompt_table import COLUMNS, MULTILINE, ROWS
from tests.prompt_table import rows as table_rows

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness import Fal

TEMPLATE = "{Prompt}, number {number}, at {share} of its size"
MODEL = get_model(DEFAULT_MODEL)


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, Any]:
    """The prompt table with numbers: text in CSV, integers in Parquet, floats as pandas reads what has gaps."""
    rows = [(*cells, n, n + 0.5) for n, cells in enumerate([*table_rows(), *MULTILINE])]
    head = [*COLUMNS, "number", "share"]
    with (tmp_path / "t.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([head, *rows])
    frame = pl.DataFrame(rows, schema=head, orient="row")
    frame.write_parquet(tmp_path / "t.parquet")
    with closing(sqlite3.connect(tmp_path / "t.db")) as connection:
        connection.execute(f"CREATE TABLE t ({', '.join(head)})")
        connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?)", rows)
        connection.commit()
    return {
        "CSV": str(tmp_path / "t.csv"),
        "Parquet": str(tmp_path / "t.parquet"),
        "polars": frame,
        "pandas": frame.to_pandas().astype({"number": "float64"}),
        "SQL": SqlTable(f"sqlite:///{tmp_path}/t.db", "SELECT * FROM t ORDER BY rowid"),
    }


def test_every_source_gives_the_same_keys(sources: dict[str, Any]) -> None:
    spec = PromptSpec(MODEL, template=TEMPLATE)
    found = {}
    for name, source in sources.items():
        with Plan(read_rows(source, spec), MODEL) as plan:
            found[name] = [(request.row_id, request.key) for row in plan for request in row.requests]
    assert len(found["CSV"]) == len({key for _, key in found["CSV"]}) == ROWS + len(MULTILINE)
    assert all(keys == found["CSV"] for keys in found.values())


def test_from_every_source_it_is_bought_once(sources: dict[str, Any], fal: Fal, store: Path) -> None:
    bought = {}
    for name, source in sources.items():
        made = generate(
            source,
            store=store,
            dataset="d",
            template=TEMPLATE,
            arguments={"quality": "low", "image_size": "1024x1024"},
            limit=40,
            settings=FalSettings("test-key", FalUrls.at(fal.url)),
            progress=False,
        )
        assert len(made) == 40
        bought[name] = made.summary.bought
    assert bought == {"CSV": 40, "Parquet": 0, "polars": 0, "pandas": 0, "SQL": 0}
    assert len(fal.charged()) == 40
