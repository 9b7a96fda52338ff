"""Rows of columns, checked together, are what they are one by one: the same rows, or the same problems."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from dagster_gptimg.errors import TableError
from dagster_gptimg.prompts import PromptRow, PromptSpec, read_rows
from dagster_gptimg.prompts.plain_rows import PlainRows
from tests.prompts.support import MODEL

SCHEMA = pa.schema(
    [
        ("note", pa.string()),
        ("prompt", pa.string()),
        ("count", pa.int64()),
        ("share", pa.float64()),
        ("tags", pa.list_(pa.string())),
        ("quality", pa.string()),
        ("num_images", pa.int64()),
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
    "quality": st.sampled_from([None, "", "low", " high", "low", "high"]),
    "num_images": st.sampled_from([None, 1, 2, 1, 5]),
}
SPECS: list[dict[str, Any]] = [
    {},
    {"arguments": {"quality": "low"}},
    {"limit": 5},
    {"id_column": "note"},
    {"id_column": "count", "inputs": ["quality", "num_images"]},
    {"template": "{prompt} of {note}"},
    {"template": "{{x}}{count}{prompt}", "id_column": "note"},
    {"template": "{share}, {quality}", "inputs": "none"},
    {"inputs": ["num_images"], "arguments": {"quality": "high"}},
]
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
    st.sampled_from(SPECS),
)
def test_rows_in_columns_are_rows(rows: list[dict[str, Any]], bad: list[Any], size: int, spec: dict[str, Any]) -> None:
    for number, prompt in bad:
        rows[number % len(rows)]["prompt"] = prompt
    expected = found(rows, **spec)
    assert found(in_columns(rows, size), **spec) == expected
    with TemporaryDirectory() as folder:
        path = f"{folder}/t.jsonl"
        Path(path).write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8", errors="surrogatepass")
        assert found(path, **spec) == found([json.loads(json.dumps(row)) for row in rows], **spec)


def test_the_first_rows_alone_are_looked_at_one_by_one(monkeypatch: Any) -> None:
    seen, plain = list[int](), PlainRows.batch

    def counted(*given: Any) -> Any:
        batch = plain(*given)
        seen.append(0 if batch is None else len(batch))
        return batch

    monkeypatch.setattr(PlainRows, "batch", counted)
    none = {"quality": None, "num_images": None}
    rows = [{"note": f"n{n}", "prompt": f"p{n}", "count": n, "share": n / 8, "tags": ["é"], **none} for n in range(10)]
    assert found(in_columns(rows, 3), inputs="none") == found(rows, inputs="none")
    assert seen == [3, 3, 1], "the first three have shown the columns"
