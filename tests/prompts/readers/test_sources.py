"""Where tables come from, and what is said of those that cannot be read."""

from __future__ import annotations

import gzip
import re
import zipfile
from typing import TYPE_CHECKING, Any

import fsspec
import pyarrow as pa
import pytest

from dagster_gptimg.errors import TableError, UsageError
from tests.prompts.support import problems, rows, write

if TYPE_CHECKING:
    from pathlib import Path


def says(source: Any, **spec: Any) -> str:
    with pytest.raises(TableError) as caught:
        rows(source, **spec)
    assert caught.value.problems == []
    return str(caught.value)


def test_tables_by_other_file_systems_and_chains(tmp_path: Path) -> None:
    with fsspec.open("memory://tables/t.csv", "wb") as file:
        file.write(b"prompt\nx\n")
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
        archive.writestr("in/t.tsv", "prompt\ny\n")
        archive.writestr("t.csv.gz", gzip.compress(b"prompt\nz\n"))
    assert rows("memory://tables/t.csv")[0].prompt == "x"
    assert rows(f"zip://in/t.tsv::{tmp_path}/t.zip")[0].prompt == "y"
    assert rows(f"zip://t.csv.gz::{tmp_path}/t.zip")[0].prompt == "z"


def test_a_signed_url_is_read_and_its_secrets_are_told_to_nobody() -> None:
    said = says("https://user:SECRET@127.0.0.1:1/t.csv.gz?X-Amz-Signature=SECRET")
    assert said == "there is no table at https://127.0.0.1:1/t.csv.gz, or it cannot be reached"
    assert "SECRET" not in says("https://127.0.0.1:1/t.xlsx?sig=SECRET")
    assert "SECRET" not in says("foo://user:SECRET@h/t.csv")
    assert "SECRET" not in says("simplecache::https://127.0.0.1:1/t.csv?sig=SECRET")


def test_a_file_system_with_errors_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoCredentialsError(Exception):
        pass

    def refuse(*_: object, **__: object) -> None:
        raise NoCredentialsError("no credentials")

    monkeypatch.setattr(fsspec, "open", refuse)
    assert says("s3://bucket/t.csv") == "the table s3://bucket/t.csv cannot be opened: no credentials"


def test_broken_compression(tmp_path: Path) -> None:
    whole = gzip.compress(b"prompt\n" + bytes(range(32, 127)) * 4000)
    assert "cannot be read" in says(write(tmp_path / "cut.csv.gz", whole[:-20]))
    assert "cannot be read" in says(write(tmp_path / "no.csv.gz", b"prompt\nx\n"))
    for place in range(12, 60):  # wherever it is damaged, zlib's own error does not come through
        with pytest.raises(TableError):
            rows(write(tmp_path / "odd.csv.gz", whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :]))


def test_not_utf8_is_told_wherever_it_stands(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", b"prompt,note,id\nok,ok,1\nok,f\xfcr,2\nok,ok,f\xfcr\n")
    found = problems(path, id_column="id")
    assert [(line, column) for line, column, _ in found] == [(3, "note"), (4, "id")]
    assert all("byte 0xfc is not UTF-8" in reason and "iconv" in reason for _, _, reason in found)
    assert "0xfc is not UTF-8" in says(write(tmp_path / "u.csv", b"prompt,f\xfcr\nx,1\n"))
    assert "UTF-16" in says(write(tmp_path / "v.csv", "prompt\nx\n".encode("utf-16-le")))


def test_tsv_that_was_written_as_csv_is_not_bought_with_doubled_quotes(tmp_path: Path) -> None:
    quoted = write(tmp_path / "t.tsv", b'prompt\tq\n"He said ""hi"""\t1\n"two\nlines"\t2\n')
    found = problems(quoted)
    assert [line for line, _, _ in found] == [2, 3]
    assert all("TSV has no quoting" in reason for _, _, reason in found)
    real = ['"G I G G L E" painted', 'a 5" disc', '"hello"', 'say "hi"', '""', "'x'", '"', 'x ""y"" z']
    plain = write(tmp_path / "u.tsv", "prompt\tq\n" + "".join(f"{prompt}\t1\n" for prompt in real))
    assert [row.prompt for row in rows(plain)] == real


def test_tsv_backslashes_and_carriage_returns_of_windows(tmp_path: Path) -> None:
    assert rows(write(tmp_path / "t.tsv", b"prompt\tq\r\na\\tb\t1\r\n"))[0].prompt == "a\\tb"


def test_ragged_json_lines_and_mappings_are_problems_of_their_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", '{"id": 1}\n{"prompt": "x", "id": 2}\n{"prompt": "y"}\n{}\n')
    empty = "the cell is empty"
    assert problems(path, id_column="id") == [
        (1, "prompt", empty),
        (3, "id", "the id is empty"),
        (4, "prompt", empty),
        (4, "id", "the id is empty"),
    ]
    assert "has no column 'sku' (the id column); it has 'id', 'prompt'" in says(
        [{"prompt": "x", "id": 1}] * 3, id_column="sku"
    )
    assert "no column named prompt" in says([{"x": 1}, {"y": 2}])
    assert problems([{}]) == [(1, "prompt", empty)]


def test_which_column_is_the_prompt() -> None:
    assert rows([{"PROMPT": "x"}])[0].prompt == "x"
    [row] = rows([{"Prompt": "a title", "prompt": "x"}])
    assert (row.prompt, row.columns) == ("x", {"Prompt": "a title"})
    assert "name the prompt column" in says([{"Prompt": "x", "PROMPT": "y"}])


def test_a_name_that_the_user_gives_wins_over_a_models_input() -> None:
    [row] = rows([{"quality": "a cup", "background": "b1"}], prompt_column="quality", id_column="background")
    assert (row.prompt, row.row_id, row.arguments, row.columns) == ("a cup", "b1", {}, {})


def test_equal_column_names_of_arrow_are_told() -> None:
    two = pa.table([["a"], ["b"]], names=["prompt", "prompt"])
    assert "'prompt' is used twice" in says(two)
    assert "has no name" in says(pa.table([["a"], ["b"]], names=["prompt", ""]))


@pytest.mark.parametrize("source", [None, 3, b"prompt", {"prompt": "x"}])
def test_what_is_no_table(source: Any) -> None:
    assert f"{type(source).__name__} is not a table" in says(source)


def test_rows_of_a_generator_are_read_as_they_come() -> None:
    seen: list[int] = []

    def endless() -> Any:
        for number in range(10**9):
            seen.append(number)
            yield {"prompt": f"p{number}"}

    assert len(rows(endless(), limit=3)) == 3
    assert len(seen) == 3


def test_an_override_that_clashes_with_a_default_is_told_in_its_own_column() -> None:
    [(line, column, reason)] = problems(
        [{"prompt": "x", "background": "transparent"}], arguments={"output_format": "jpeg"}
    )
    assert (line, column) == (1, "background")
    assert "output_format: jpeg has no transparency" in reason


def test_true_and_one_are_not_the_same_override() -> None:
    assert [p[0] for p in problems([{"prompt": "x", "num_images": n} for n in (1, True, 1.0, "1")])] == [2]


def test_ids_of_512_characters_and_one_more() -> None:
    assert rows([{"prompt": "x", "id": "i" * 512}], id_column="id")[0].row_id == "i" * 512
    assert "at most 512" in problems([{"prompt": "x", "id": "i" * 513}], id_column="id")[0][2]


def test_text_in_cells_is_never_a_template() -> None:
    assert rows([{"a": "{b} {a.__class__} {", "b": "y"}], template="{a}!")[0].prompt == "{b} {a.__class__} {!"


def test_a_rows_override_wins_over_the_default_and_equal_arguments_are_one_object() -> None:
    table = [{"prompt": "a", "quality": "high"}, {"prompt": "b", "quality": "high"}, {"prompt": "c", "quality": None}]
    found = rows(table, arguments={"quality": "low", "num_images": 2})
    assert [row.arguments["quality"] for row in found] == ["high", "high", "low"]
    assert found[0].arguments is found[1].arguments
    assert all(row.arguments["num_images"] == 2 for row in found)


def test_a_derived_id_stands_for_prompt_and_arguments() -> None:
    [plain] = rows([{"prompt": "a"}])
    [low] = rows([{"prompt": "a"}], arguments={"quality": "low"})
    [same] = rows([{"prompt": "a", "quality": "low", "note": "carried along"}])
    assert plain.row_id != low.row_id == same.row_id
    assert re.fullmatch("[0-9a-f]{16}", plain.row_id)


def test_cells_may_be_longer_than_any_prompt(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", f"prompt,note\nx,{'n' * 300_000}\n")
    assert len(str(rows(path)[0].columns["note"])) == 300_000


def test_a_file_systems_words_are_told_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(url: str, *_: object, **__: object) -> None:
        raise ValueError(f"cannot GET {url!r} today")

    monkeypatch.setattr(fsspec, "open", refuse)
    said = says("https://h/t.csv?sig=SECRET")
    assert said == "the table https://h/t.csv cannot be opened: cannot GET 'https://h/t.csv' today"


def test_a_prompt_for_all_rows_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot be an argument of all rows"):
        rows([{"prompt": "x"}], arguments={"prompt": "y"})
