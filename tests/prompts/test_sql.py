"""A query gives the same rows as a file, and a database that does not answer says so without its password."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from dagster_gptimg.errors import TableError
from dagster_gptimg.fal.models import DEFAULT_MODEL, get_model
from dagster_gptimg.prompts import PromptSpec, SqlTable, read_rows
from tests.harness import cli
from tests.prompt_table import COLUMNS, ROWS
from tests.prompt_table import rows as table_rows

if TYPE_CHECKING:
    from pathlib import Path

SPEC = PromptSpec(get_model(DEFAULT_MODEL), prompt_column="Prompt")


def rows(source: Any) -> list[Any]:
    return [row for batch in read_rows(source, SPEC) for row in batch]


@pytest.fixture
def database(tmp_path: Path) -> str:
    with closing(sqlite3.connect(tmp_path / "t.db")) as connection:
        connection.execute(f"CREATE TABLE t ({', '.join(COLUMNS)})")
        connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?)", table_rows())
        connection.commit()
    return f"sqlite:///{tmp_path}/t.db"


def test_rows_of_a_database_are_those_of_the_file(database: str, prompt_table: Path) -> None:
    found, of_file = rows(SqlTable(database, "SELECT * FROM t ORDER BY rowid")), rows(prompt_table)
    assert [(r.row_id, r.prompt, r.columns) for r in found] == [(r.row_id, r.prompt, r.columns) for r in of_file]
    assert len(found) == ROWS


def test_the_command_line_takes_a_query(database: str, tmp_path: Path) -> None:
    query = "SELECT Prompt FROM t WHERE Category = 'Animals' ORDER BY rowid"
    place = ("--store", str(tmp_path / "s"), "--dataset", "d", "--json")
    ran = cli(None, "plan", database, "--query", query, "--prompt-column", "Prompt", *place)
    assert ran.status == 0, ran.stderr
    assert json.loads(ran.stdout)["rows"] > 100


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlite:///", "no such table"),
        ("nosuch://me:secret@h/d", "nosuch"),
        ("sqlite+nosuch://me:secret@h/d", "nosuch"),
        ("://", "cannot be read"),
    ],
)
def test_a_database_that_does_not_answer_says_so_without_its_password(url: str, says: str) -> None:
    with pytest.raises(TableError, match=says) as caught:
        rows(SqlTable(url, "SELECT * FROM none"))
    assert "secret" not in f"{caught.value} {SqlTable(url, '')!r}"


def test_the_database_can_stand_in_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with sqlite3.connect(tmp_path / "secret.db") as connection:
        connection.execute("CREATE TABLE t (prompt)")
        connection.execute("INSERT INTO t VALUES ('a cup')")
    connection.close()
    table = SqlTable({"env": "A_DATABASE"}, "SELECT prompt FROM t")
    assert "A_DATABASE" in table.name() + repr(table)
    with pytest.raises(TableError, match="variable 'A_DATABASE' is not set"):
        list(table.rows())
    monkeypatch.setenv("A_DATABASE", f"sqlite:///{tmp_path}/secret.db")
    assert list(table.rows()) == [(1, {"prompt": "a cup"})]
    with pytest.raises(TableError) as told:
        list(SqlTable({"env": "A_DATABASE"}, "SELECT nothing FROM nowhere").rows())
    assert "secret.db" not in str(told.value)
