"""Several reference images in one cell: cut where every part is one, and refused where it cannot be told."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from PIL import Image

from dagster_gptimg.fal.registry.builtin import get_model
from dagster_gptimg.prompts import PromptRow, PromptSpec, ReferenceRoot, References, read_rows
from tests.prompts.support import problems, write

if TYPE_CHECKING:
    from pathlib import Path

A, B = "https://example.com/a.png", "https://example.com/b,c.png?x=1,2"


def row_of(cell: Any, **spec: Any) -> PromptRow:
    [[row]] = read_rows([{"prompt": "x", "image_urls": cell}], PromptSpec(get_model("gpt-image-1.5"), **spec))
    return row


@pytest.mark.parametrize(
    "cell",
    [
        f"{A}, {B}",
        f"{A} , {B}",
        f"{A},\n{B}",
        f"{A}; {B}",
        f"{A}|{B}",
        f"{A} | {B}",
        f"{A} {B}",
        f"{A}，{B}",  # noqa: RUF001 - commas of Chinese and Japanese keyboards
        f"{A}、 {B}、",
        f"{A}\n{B}",
        f"{A}\r\n\r\n{B}\r\n",
        f"  {A}, {B},  ",
        f'["{A}", "{B}"]',
        f'[ "{A}" ,\n"{B}" ]',
        f'["{A}", "{B}",]',
        f"['{A}', '{B}']",
        f"['{A}', '{B}', ]",
        str([A, B]),
        [A, B],
        (A, B),
    ],
)
def test_several_references_in_one_cell(cell: Any) -> None:
    assert row_of(cell).arguments == {"image_urls": [A, B]}


@pytest.mark.parametrize(
    "address",
    [
        A,
        B,
        "https://example.com/a b.png",
        "https://example.com/a|b.png",
        "https://example.com/a,b;c.png",
        "https://example.com/resize,w_200/https://example.org/a.png",
        "https://example.com/?u=https://example.org/a.png",
        "HTTPS://example.com/A.png",
    ],
)
def test_one_address_stays_one(address: str) -> None:
    assert row_of(address).arguments == {"image_urls": [address]}
    assert row_of(f" {address},\n").arguments == {"image_urls": [address]}


def test_an_address_without_a_blank_before_the_next_is_cut_unless_it_may_be_one(tmp_path: Path) -> None:
    assert row_of(f"{A},{A}").arguments == {"image_urls": [A, A]}
    for cell in (f"https://example.com/?u={A},{A}", f"{A}, b.png, {A}", f"{A}\nb.png", f"[{A}, {A}]", "['a' 'b']"):
        [(line, column, reason)] = problems([{"prompt": "x", "image_urls": cell}])
        assert (line, column) == (1, "image_urls")
        assert "JSON list" in reason


@pytest.mark.parametrize("word", ["and", "&", "/", "und", "+", "-"])
def test_a_word_between_two_addresses_is_part_of_none(word: str) -> None:
    [(line, column, reason)] = problems([{"prompt": "x", "image_urls": f"{A} {word} {B}"}])
    assert (line, column) == (1, "image_urls")
    assert "JSON list" in reason
    assert row_of(f"https://example.com/a b.png {B}").arguments == {"image_urls": ["https://example.com/a b.png", B]}


@pytest.mark.parametrize("cell", ["[" * 1000, '["a", 7]', '[""]', "[[]]", '[["https://example.com/a.png"]]', "[{}]"])
def test_a_list_of_something_else_is_its_rows_problem(cell: str) -> None:
    assert problems([{"prompt": "x"}, {"prompt": "y", "image_urls": cell}])[0][:2] == (2, "image_urls")


def test_names_below_a_root_are_cut_where_each_is_there(tmp_path: Path) -> None:
    for name in ("a.png", "b c.png", "d, e.png", "f|g.png"):
        Image.new("RGB", (1, 1)).save(tmp_path / name)
    roots = References([ReferenceRoot(str(tmp_path))])

    def names(cell: str) -> list[str]:
        return list(row_of(cell, references=roots).references.values())

    assert names("a.png") == ["a.png"]
    assert names("d, e.png") == ["d, e.png"]
    assert names("f|g.png") == ["f|g.png"]
    assert len(row_of("a.png, b c.png", references=roots).arguments["image_urls"]) == 2  # type: ignore[arg-type]
    assert len(row_of(f"a.png | {A}", references=roots).arguments["image_urls"]) == 2  # type: ignore[arg-type]
    [(_, _, reason)] = problems([{"prompt": "x", "image_urls": "a.png, gone.png"}], references=roots)
    assert "'a.png, gone.png'" in reason


def test_data_uris_keep_their_commas() -> None:
    file = io.BytesIO()
    Image.new("RGB", (1, 1)).save(file, "png")
    image = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    assert len(row_of(image).arguments["image_urls"]) == 1  # type: ignore[arg-type]
    assert len(row_of(f"{image}, {A}").arguments["image_urls"]) == 2  # type: ignore[arg-type]
    assert len(row_of(f"{A}\n{image}").arguments["image_urls"]) == 2  # type: ignore[arg-type]


def test_an_input_for_one_image_takes_one() -> None:
    table = [{"prompt": "x", "image_urls": A, "mask_image_url": f"{A}, {B}"}]
    spec = PromptSpec(get_model("gpt-image-1.5"))
    with pytest.raises(Exception, match="'mask_image_url': the cell has 2 references, but mask_image_url takes one"):
        list(read_rows(table, spec))
    table[0]["mask_image_url"] = f'["{A}"]'
    [[row]] = read_rows(table, spec)
    assert row.arguments["mask_image_url"] == A


def test_image_columns_hold_several_too() -> None:
    table = [{"prompt": "x", "front": f"{A}, {B}", "back": f'["{A}"]'}]
    [[row]] = read_rows(table, PromptSpec(get_model("gpt-image-1.5"), image_columns=("front", "back")))
    assert row.arguments == {"image_urls": [A, B, A]}


def test_what_pandas_writes_of_lists_is_read(tmp_path: Path) -> None:
    frame = pd.DataFrame({"prompt": ["x"], "image_urls": [[A, B]]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    [[row]] = read_rows(str(tmp_path / "t.csv"), PromptSpec(get_model("gpt-image-1.5")))
    assert row.arguments == {"image_urls": [A, B]}
    write(tmp_path / "u.csv", f'prompt,image_urls\nx,"{A}\n{B}"\n')
    [[row]] = read_rows(str(tmp_path / "u.csv"), PromptSpec(get_model("gpt-image-1.5")))
    assert row.arguments == {"image_urls": [A, B]}
