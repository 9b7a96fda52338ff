"""A query gives the same rows as a file, and a database that does not answer says so without its password."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

import dagster as dg
import pytest
import sqlalchemy
from dagster._core.remote_representation.external_data import RepositorySnap
from dagster._serdes import serialize_value

from dagster_gptimg import FalResource, ImageStoreResource, build_gptimg_asset, build_prompt_table
from dagster_gptimg.definitions.assets import definition_of
from dagster_gptimg.errors import TableError
from dagster_gptimg.fal.registry.builtin import DEFAULT_MODEL, get_model
from dagster_gptimg.prompts import PromptSpec, SqlTable, read_rows
from dagster_gptimg.prompts.partition_keys import Bounds
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


def opened(engines: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every engine that is made, to look at it afterwards."""
    create = sqlalchemy.create_engine

    def made(*arguments: Any, **more: Any) -> Any:
        engines.append(create(*arguments, **more, poolclass=sqlalchemy.pool.QueuePool))
        return engines[-1]

    monkeypatch.setattr(sqlalchemy, "create_engine", made)


@pytest.mark.parametrize("limit", [None, 1])
@pytest.mark.parametrize(
    "query", ["SELECT 'x' AS Prompt UNION ALL SELECT 'y'", "SELECT nothing", "SELECT '' AS Prompt"]
)
def test_connections_are_given_back_however_a_run_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, query: str, limit: int | None
) -> None:
    engines: list[Any] = []
    opened(engines, monkeypatch)
    spec = PromptSpec(SPEC.model, prompt_column="Prompt", limit=limit)
    with suppress(TableError):
        list(read_rows(SqlTable(f"sqlite:///{tmp_path}/t.db", query), spec))
    [engine] = engines
    # A disposed engine has a new pool, and nobody holds a connection of it.
    assert (engine.pool.checkedout(), engine.pool.checkedin()) == (0, 0)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("SELECT 'ratio :x' AS Prompt", "ratio :x"),
        ("SELECT '12:30:00 :a:b :ab: ::c' AS Prompt", "12:30:00 :a:b :ab: ::c"),
        ("SELECT '50% off, %s and %(x)s' AS Prompt", "50% off, %s and %(x)s"),
        (r"SELECT 'a \:x' AS Prompt", "a :x"),
        ("SELECT 'a' AS Prompt -- at :noon", "a"),
    ],
)
def test_a_query_goes_to_the_database_as_it_stands(tmp_path: Path, query: str, text: str) -> None:
    url = f"sqlite:///{tmp_path}/t.db"
    assert [row.prompt for row in rows(SqlTable(url, query))] == [text]
    table, bounds = SqlTable(url, query, ("Prompt",)), [Bounds("Prompt", text, text)]
    assert list(table.rows(bounds)) == [(1, {"Prompt": text})]


def test_columns_of_one_name_are_told(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="the column name 'Prompt' is used twice"):
        rows(SqlTable(f"sqlite:///{tmp_path}/t.db", "SELECT 'a' AS Prompt, 'b' AS Prompt"))


SECRET = "s3cr3t-%"
URLS = [
    f"postgresql+psycopg://user:{quote(SECRET)}@127.0.0.1:1/db",
    f"sqlite:///file:nowhere/t.db?password={quote(SECRET)}&uri=true",
    f"sqlite:///file:nowhere/t.db?uri=true&sslpassword={quote(SECRET)}",
    f"mssql+pyodbc:///?odbc_connect={quote_plus(f'DRIVER={{ODBC Driver 18}};SERVER=h;UID=u;PWD={SECRET}')}",
    f"mssql+pyodbc:///?odbc_connect={quote_plus(f'DRIVER={{ODBC Driver 18}};SERVER=h;UID=u;Password={{{SECRET}}}')}",
    f"postgresql://user:{quote(SECRET)}@host:abc/db",
    f"snowflake://user:{quote(SECRET)}@account/db?token={quote(SECRET)}",
    f"no url at all://user:{quote(SECRET)}@host",
]


@pytest.mark.parametrize("url", URLS)
def test_a_password_is_shown_nowhere(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(given: Any, **_: Any) -> Any:
        password = getattr(sqlalchemy.make_url(given), "password", None)
        raise sqlalchemy.exc.ArgumentError(f"cannot connect to {given} as {SECRET}, {quote(SECRET)} or {password}")

    shown = []
    table = SqlTable(url, "SELECT 1 AS prompt")
    for broken in (False, True):
        if broken:
            monkeypatch.setattr(sqlalchemy, "create_engine", refuse)
        with pytest.raises(TableError) as caught:
            rows(table)
        shown.append(str(caught.value))
    asset = build_prompt_table("prompts", table)
    [spec] = asset.specs
    images = build_gptimg_asset("images", prompts=asset)
    defs = dg.Definitions(
        assets=[asset, images],
        resources={"fal": FalResource.emulated(), "image_store": ImageStoreResource(root="memory://x")},
    )
    shown += [repr(table), table.name(), str(spec.description), repr(definition_of(images)), repr(asset)]
    shown += [serialize_value(RepositorySnap.from_def(defs.get_repository_def()))]
    assert not [text for text in shown if SECRET in text or quote(SECRET) in text or quote_plus(SECRET) in text]


def test_what_may_be_shown_of_a_database_is(tmp_path: Path) -> None:
    assert SqlTable(URLS[0], "").name() == "postgresql+psycopg://user:***@127.0.0.1:1/db"
    assert SqlTable(f"sqlite:///{tmp_path}/t.db", "").name() == f"sqlite:///{tmp_path}/t.db"
    with pytest.raises(TableError, match="no such table: gone") as caught:
        rows(SqlTable(f"sqlite:///{tmp_path}/t.db?timeout=1", f"SELECT * FROM gone -- {'x' * 100_000}"))
    assert len(str(caught.value)) < 2500


def test_a_driver_that_is_not_installed_is_named_whatever_the_password_is() -> None:
    # MySQL's usual driver is none of the packages that this project or its tests install.
    table = SqlTable("mysql://u:y@localhost/shop", "SELECT 1")
    with pytest.raises(TableError, match="driver is not installed: MySQLdb") as caught:
        list(read_rows(table, PromptSpec(get_model(DEFAULT_MODEL))))
    assert "://localhost/shop" in str(caught.value)


def test_a_value_that_a_driver_cannot_hand_over_is_told_with_its_place(tmp_path: Path) -> None:
    def broken(text: bytes) -> object:
        if text == b"infinity":
            raise ValueError("timestamp too large")
        return text.decode()

    before = dict(sqlite3.converters)
    sqlite3.register_converter("moment", broken)
    try:
        query = "SELECT 'x' AS Prompt, '2026' AS \"t [moment]\" UNION ALL SELECT 'y', 'infinity'"
        with pytest.raises(TableError, match=r"at a value after row 1 \(cast its column to text") as told:
            rows(SqlTable(f"sqlite:///{tmp_path}/t.db?detect_types=2", query))
        assert "timestamp too large" in str(told.value)
    finally:
        sqlite3.converters.clear()
        sqlite3.converters.update(before)
