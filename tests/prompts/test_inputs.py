"""Which columns are inputs of the model, and which are not: by their names as people write them, or as it is said."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dagster_gptimg.errors import TableError, UsageError
from dagster_gptimg.fal.registry.builtin import get_model
from dagster_gptimg.prompts import PromptSpec, SqlTable, read_rows
from tests.prompts.support import MODEL, problems, rows


@pytest.mark.parametrize(
    ("column", "name"),
    [
        ("Quality", "quality"),
        (" quality", "quality"),
        ("QUALITY ", "quality"),
        ("\u00a0quality", "quality"),
        ("Image_Size", "image_size"),
        ("image size", "image_size"),
        ("Image-Size", "image_size"),
        ("image  size", "image_size"),
        ("Num Images", "num_images"),
    ],
)
def test_a_column_that_means_an_input_is_it(column: str, name: str) -> None:
    value = {"quality": "high", "image_size": "1024x1024", "num_images": 2}[name]
    spec = PromptSpec(MODEL, arguments={"quality": "low"})
    [[row]] = read_rows([{"prompt": "x", column: value, "note": "n"}], spec)
    assert row.arguments == {"quality": "low", name: value}
    assert row.columns == {"note": "n"}
    assert (spec.seen.inputs, spec.seen.carried) == ({column: name}, ["note"])
    told = spec.seen.sentence(MODEL.input_names)
    assert told == f"columns: inputs {column!r} (as {name}); carried along 'note'"


def test_the_prompt_is_found_under_the_same_names() -> None:
    for column in ("Prompt", " prompt", "PROMPT\u00a0"):
        assert rows([{column: "x"}])[0].prompt == "x"


def test_a_column_of_exactly_the_inputs_name_goes_before_others() -> None:
    [row] = rows([{"prompt": "x", "quality": "low", "Quality": "as agreed"}])
    assert (row.arguments, row.columns) == ({"quality": "low"}, {"Quality": "as agreed"})


def test_two_columns_that_mean_one_input_are_refused() -> None:
    with pytest.raises(TableError, match="columns 'QUALITY', 'Quality' all match the input quality"):
        rows([{"prompt": "x", "Quality": "low", "QUALITY": "high"}])
    with pytest.raises(TableError, match="all match"):  # rows that have some columns more each
        rows([{"prompt": "x", "Quality": "low"}, {"prompt": "y", "quality": "high"}])


def test_columns_can_be_said_to_be_no_inputs() -> None:
    table = [{"product": "a mug", "background": "a sunny beach", "quality": "low", "Image Size": "1024x1024"}]
    template = "{product} on {background}"
    [(line, column, reason)] = problems(table, template=template)
    assert (line, column) == (1, "background")
    assert "inputs=[...]" in reason
    assert "--inputs" in reason
    none: list[Any] = [(), "none", "NONE"]
    for inputs in none:
        [row] = rows(table, template=template, inputs=inputs)
        assert row.prompt == "a mug on a sunny beach"
        assert row.arguments == {}
        assert row.columns == table[0]
    [row] = rows(table, template=template, inputs=["quality", "Image Size"])
    assert row.arguments == {"quality": "low", "image_size": "1024x1024"}
    assert row.columns == {"product": "a mug", "background": "a sunny beach"}


def test_reference_images_are_inputs_like_others() -> None:
    table = [{"prompt": "x", "Image URLs": "https://example.com/a.png"}]
    [row] = rows(table)
    assert row.arguments == {"image_urls": ["https://example.com/a.png"]}
    assert row.columns == {"Image URLs": "https://example.com/a.png"}
    [row] = rows(table, inputs="none")
    assert row.arguments == {}


def test_what_is_said_of_inputs_is_checked() -> None:
    with pytest.raises(UsageError, match="has no input 'qualty'; did you mean 'quality'"):
        PromptSpec(MODEL, inputs=["qualty"])
    with pytest.raises(UsageError, match="has no input 'prompt'"):
        PromptSpec(MODEL, inputs=["prompt"])
    with pytest.raises(UsageError, match="must be a list of columns or 'none', not the text 'quality'"):
        PromptSpec(MODEL, inputs="quality")
    with pytest.raises(TableError, match=r"no column 'quality' \(the input.*; did you mean 'Quality'\?$"):
        rows([{"prompt": "x", "Quality": "low"}], inputs=["quality"])


def test_other_inputs_than_before_are_another_recipe_and_none_said_is_the_old_one() -> None:
    specs = [PromptSpec(MODEL, inputs=inputs) for inputs in (None, (), ["quality"], "none")]
    assert len({spec.recipe for spec in specs}) == 3
    assert specs[1].recipe == specs[3].recipe
    assert specs[0].about == f'["fal-ai/gpt-image-1-mini", null, {{}}, "{MODEL.key_digest}"]'


def test_a_carried_column_that_is_nearly_an_input_is_pointed_out() -> None:
    spec = PromptSpec(get_model("gpt-image-1"))
    list(read_rows([{"prompt": "x", "qualty": "low", "image_url": "https://example.com/a.png", "shop": "n"}], spec))
    told = spec.seen.sentence(spec.model.input_names)
    assert "'qualty' is not used as the input quality" in told
    assert "'image_url' is not used as the input image_urls" in told
    assert "shop' is not" not in told


@pytest.mark.parametrize(
    ("row", "given"),
    [
        ({"prompt": "x", "quality": "a word of ours"}, {"inputs": "none"}),
        ({"prompt": "x", "product": "mug"}, {"template": "{product}"}),
        ({"Prompt": "x", "product": "mug"}, {"template": "{product}"}),
        ({"prompts": "x", "product": "mug"}, {"prompt_column": "product"}),
    ],
)
def test_nobody_is_told_to_rename_a_column_that_was_left_aside_on_purpose(
    row: dict[str, object], given: dict[str, Any]
) -> None:
    spec = PromptSpec(get_model("gpt-image-1"), **given)
    list(read_rows([row], spec))
    assert "carried along" in spec.seen.sentence(spec.model.input_names)
    assert "is not taken for" not in spec.seen.sentence(spec.model.input_names)


def test_messages_show_names_as_they_are() -> None:
    with pytest.raises(TableError, match=r"has no column 'product'.*; it has ' Product'; did you mean ' Product'\?$"):
        rows([{" Product": "x"}], template="{product}")
    with pytest.raises(TableError) as caught:
        rows([{" note": ["\ud83d"], "prompt": "x"}])
    assert "list:1: ' note': " in str(caught.value)


def test_messages_are_short_however_long_the_text_is() -> None:
    long = "x" * 100_000
    for made in (
        lambda: PromptSpec(MODEL, template=long),
        lambda: PromptSpec(MODEL, template="{" + long),
        lambda: PromptSpec(MODEL, template="{a." + long + "}"),
        lambda: rows([{"prompt": "x", "quality": long}]),
        lambda: rows([{"prompt": "x", "id": long}], id_column="id"),
        lambda: rows([{"prompt": "x", "image_urls": f"http://10.0.0.1/{long}"}]),
        lambda: rows([{"prompt": "x", "image_urls": f"http://{long}.local/"}]),
        lambda: rows([{"prompt": "x", "image_urls": f"[{long}"}]),
        lambda: rows([{"prompt": "x", "image_size": "{" + long}]),
        lambda: rows([{long: "x"}]),
        lambda: rows([{f"{n}{long}": "x" for n in range(3)}]),
        lambda: rows([{str(n): "x" for n in range(10_000)}]),
        lambda: rows([{"prompt": "x", long: "\ud83d"}]),
    ):
        with pytest.raises(UsageError) as caught:
            made()
        assert len(str(caught.value)) < 1500


def test_a_partition_without_rows_is_no_error_and_its_key_may_be_misspelt() -> None:
    table = [{"prompt": "x", "kind": kind} for kind in ("bags", "shoes", "", "bags")]
    for key, warning in (
        ("bagz", "no row belongs to the partition 'bagz'; the table has 'bags', 'shoes'; did you mean 'bags'?"),
        ("bags", ""),
        ("zzz", "no row belongs to the partition 'zzz'; the table has 'bags', 'shoes'"),
    ):
        spec = PromptSpec(MODEL, where=("kind", key))
        assert sum(map(len, read_rows(table, spec))) == 2 * (key == "bags")
        assert spec.seen.warning == warning
    assert list(read_rows([], spec := PromptSpec(MODEL, where=("kind", "bags")))) == []
    assert spec.seen.warning == ""


def test_the_first_rows_of_a_partition_must_be_there_since_its_value_may_be_misspelt(tmp_path: Path) -> None:
    rows = [{"prompt": "x", "kind": kind} for kind in ("bags", "shoes", "", "bags")]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")  # row groups are skipped by their values
    with sqlite3.connect(tmp_path / "t.db") as made:
        made.execute("CREATE TABLE t (prompt, kind)")
        made.executemany("INSERT INTO t VALUES (:prompt, :kind)", rows)
    query = SqlTable(f"sqlite:///{tmp_path}/t.db", "SELECT * FROM t", ("kind",))
    for source in (rows, str(tmp_path / "t.parquet"), query):
        for key, words in (
            ("bagz", "the partition 'bagz', and nothing was sent; the table has 'bags', 'shoes'; did you mean 'bags'?"),
            ("zzz", "the partition 'zzz', and nothing was sent; the table has 'bags', 'shoes'"),
        ):
            with pytest.raises(TableError) as refused:
                list(read_rows(source, PromptSpec(MODEL, where=("kind", key), is_first=True)))
            assert str(refused.value).endswith(words), source
            assert list(read_rows(source, PromptSpec(MODEL, where=("kind", key)))) == [], "rows may have left"
        assert sum(map(len, read_rows(source, PromptSpec(MODEL, where=("kind", "bags"), is_first=True)))) == 2
    with pytest.raises(TableError, match=r"^list: no row belongs to the partition 'bags', and nothing was sent$"):
        list(read_rows([{"prompt": "x", "kind": ""}], PromptSpec(MODEL, where=("kind", "bags"), is_first=True)))
    assert list(read_rows([], PromptSpec(MODEL, where=("kind", "bags"), is_first=True))) == []


def test_a_column_of_reference_images_is_told_once_as_an_input() -> None:
    spec = PromptSpec(get_model("gpt-image-1"))
    table = [{"prompt": "x", "image_urls": "https://example.com/a.png", "note": "n"}]
    [batch] = read_rows(table, spec)
    assert spec.seen.sentence() == "columns: inputs 'image_urls'; carried along 'note'"
    assert "image_urls" in batch.columns[0], "an edit tells its source in the image table"


def test_reference_images_are_an_input_and_not_called_a_misspelt_one() -> None:
    spec = PromptSpec(get_model("gpt-image-1"))
    list(read_rows([{"prompt": "x", "image_urls": "https://example.com/a.png"}], spec))
    assert "is not used as the input" not in spec.seen.sentence(spec.model.input_names)
