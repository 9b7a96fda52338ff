"""Rows of columns, checked together, are what they are one by one: the same rows, or the same problems."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from dagster_gptimg.errors import TableError
from dagster_gptimg.prompts import PromptRow, PromptSpec, read_rows
from dagster_gptimg.prompts.checker import Checker
from dagster_gptimg.prompts.readers.arrow import Columns
from tests.prompts.support import MODEL

SCHEMA = pa.schema(
    [
        ("note", pa.string()),
        ("prompt", pa.string()),
        ("count", pa.int64()),
        ("share", pa.float64()),
        ("tags", pa.list_(pa.string())),
    ]
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(['"', "\\", "\n", "\x00", "é"])
prompts = st.sampled_from(["a mug", "a cup", 'a "mug"', "\u2028"]) | texts.filter(str.strip)
cells = {
    "note": st.none() | texts,
    "prompt": prompts,
    "count": st.none() | st.integers(-(2**63), 2**63 - 1),
    "share": st.none() | st.floats(),
    "tags": st.none() | st.lists(texts, max_size=2),
}
wrong = st.none() | st.sampled_from(["", "  ", "\u3000", "x" * 32_001])


def found(source: Any, **spec: Any) -> tuple[list[PromptRow], list[tuple[Any, ...]]]:
    """The rows, and what is wrong."""
    rows = list[PromptRow]()
    try:
        for batch in read_rows(source, PromptSpec(MODEL, **spec)):
            rows += batch
    except TableError as error:
        return rows, [(problem.line, problem.column, problem.reason) for problem in error.problems]
    return rows, []


def in_columns(rows: list[dict[str, Any]], size: int) -> pa.Table:
    """An Arrow table in batches of so many rows: each is looked at as a whole."""
    batches = pa.Table.from_pylist(rows, schema=SCHEMA).to_batches(max_chunksize=size)
    return pa.Table.from_batches(batches, SCHEMA)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.fixed_dictionaries(cells), min_size=1, max_size=12),
    st.lists(st.tuples(st.integers(0, 11), wrong), max_size=1),
    st.integers(1, 5),
    st.sampled_from([{}, {"arguments": {"quality": "low"}}, {"limit": 5}, {"id_column": "note"}]),
)
def test_rows_in_columns_are_rows(rows: list[dict[str, Any]], bad: list[Any], size: int, spec: dict[str, Any]) -> None:
    for number, prompt in bad:
        rows[number % len(rows)]["prompt"] = prompt
    assert found(in_columns(rows, size), **spec) == found(rows, **spec)


def test_the_first_rows_alone_are_looked_at_one_by_one(monkeypatch: Any) -> None:
    seen, plain = list[int](), Checker._plain

    def counted(checker: Checker, chunk: Columns) -> Any:
        batch = plain(checker, chunk)
        seen.append(0 if batch is None else len(batch))
        return batch

    monkeypatch.setattr(Checker, "_plain", counted)
    rows = [{"note": f"n{n}", "prompt": f"p{n}", "count": n, "share": n / 8, "tags": ["é"]} for n in range(10)]
    assert found(in_columns(rows, 3)) == found(rows)
    assert seen == [0, 3, 3, 1]
