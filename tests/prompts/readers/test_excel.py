"""Workbooks: the values that people see, row by row; what cannot be read is told."""

from __future__ import annotations

import io
import struct
import zipfile
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

import openpyxl
import pytest
import xlsxwriter

from dagster_gptimg.errors import TableError
from dagster_gptimg.prompts import TableFile
from dagster_gptimg.prompts.readers import excel
from tests.prompts.support import problems, rows

if TYPE_CHECKING:
    from pathlib import Path


AT = datetime(2026, 1, 5, 10, 30)  # noqa: DTZ001 - a workbook knows no time zones


def book(path: Path, *lines: list[Any], formats: dict[int, str] | None = None, **sheets: Any) -> str:
    """A workbook as Excel writes one; `formats` by column."""
    with xlsxwriter.Workbook(path, {"default_date_format": "yyyy-mm-dd"}) as made:
        kinds = {place: made.add_format({"num_format": text}) for place, text in (formats or {}).items()}
        for name, cells in {"First": list(lines), **sheets}.items():
            sheet = made.add_worksheet(name)
            for row, line in enumerate(cells):
                for column, cell in enumerate(line):
                    if cell is not None:
                        sheet.write(row, column, cell, *([kinds[column]] if row and column in kinds else []))
    return str(path)


def told(source: Any, **spec: Any) -> str:
    with pytest.raises(TableError) as caught:
        rows(source, **spec)
    return str(caught.value)


def test_cells_are_what_people_see(tmp_path: Path) -> None:
    values = ["a cup", 7, 0.1 + 0.2, True, date(2026, 1, 5), AT, time(10, 30), 1.5, 42, 0.5]
    formats = {5: "yyyy-mm-dd hh:mm", 6: "hh:mm:ss", 7: "[h]:mm:ss", 8: "00000", 9: "0%"}
    path = book(tmp_path / "t.xlsx", ["prompt", *"abcdefghi"], values, formats=formats)
    [row] = rows(path)
    assert row.prompt == "a cup"
    assert list(row.columns.values()) == [
        7,
        0.3,
        True,
        "2026-01-05",
        "2026-01-05T10:30:00",
        "10:30:00",
        str(timedelta(days=1.5)),
        "00042",
        0.5,
    ]
    [row] = rows(path, template="{a} {b} {c} {d} {h}", id_column="h")
    assert (row.prompt, row.row_id) == ("7 0.3 true 2026-01-05 00042", "00042")


def test_floats_have_the_digits_that_excel_shows(tmp_path: Path) -> None:
    book(tmp_path / "t.xlsx", ["prompt", "n"], ["x", 7.25])
    with zipfile.ZipFile(tmp_path / "t.xlsx") as plain, zipfile.ZipFile(tmp_path / "u.xlsx", "w") as typed:
        for name in plain.namelist():  # Excel itself writes 17 digits, and the writers for Python write fewer
            typed.writestr(name, plain.read(name).replace(b"<v>7.25</v>", b"<v>0.30000000000000004</v>"))
    assert rows(str(tmp_path / "u.xlsx"))[0].columns == {"n": 0.3}


def test_the_first_sheet_or_the_one_that_is_named(tmp_path: Path) -> None:
    path = book(tmp_path / "t.xlsx", ["prompt"], ["x"], Other=[["prompt", "quality"], ["y", "low"]])
    assert rows(path)[0].prompt == "x"
    assert rows(f"{path}#Other")[0].arguments == {"quality": "low"}
    assert rows(f"file://{path}#Other")[0].prompt == "y"
    assert "no sheet 'Third'; it has 'First', 'Other'" in told(f"{path}#Third")
    (tmp_path / "export").write_bytes((tmp_path / "t.xlsx").read_bytes())
    assert rows(TableFile(str(tmp_path / "export"), "xlsx"))[0].prompt == "x"
    assert rows(TableFile(f"{tmp_path}/export#Other", "xlsx"))[0].prompt == "y"


def test_empty_rows_and_columns_are_passed_over_and_lines_are_those_of_the_sheet(tmp_path: Path) -> None:
    path = book(
        tmp_path / "t.xlsx", [], [None, "prompt", "quality"], [], [None, "x", "low"], [None, " "], [None, "y", "hihg"]
    )
    assert [(line, column) for line, column, _ in problems(path)] == [(6, "quality")]
    path = book(tmp_path / "u.xlsx", ["prompt", None, "quality"], ["x", None, "low"], ["y"])
    assert [(row.prompt, row.arguments) for row in rows(path)] == [("x", {"quality": "low"}), ("y", {})]
    assert "a column has no name" in told(book(tmp_path / "v.xlsx", ["prompt", None], ["x", "y"]))
    assert "is used twice" in told(book(tmp_path / "w.xlsx", ["prompt", "prompt"], ["x", "y"]))
    assert "has no cells" in told(book(tmp_path / "e.xlsx"))
    assert rows(book(tmp_path / "h.xlsx", ["prompt"])) == []


def test_formulas_have_their_value_and_errors_are_their_rows_problem(tmp_path: Path) -> None:
    with xlsxwriter.Workbook(tmp_path / "t.xlsx") as made:
        sheet = made.add_worksheet()
        sheet.write_row(0, 0, ["prompt", "num_images"])
        sheet.write_formula(1, 0, '="a " & "cup"', None, "a cup")
        sheet.write_formula(1, 1, "=1+1", None, 2)
        sheet.write_row(2, 0, ["x"])
        sheet.write_formula(2, 1, "=1/0", None, "#DIV/0!")
        sheet.write_formula(3, 0, "=Gone!A1", None, "#REF!")
    assert [(line, column) for line, column, _ in problems(str(tmp_path / "t.xlsx"))] == [
        (3, "num_images"),
        (4, "prompt"),
    ]
    assert "'#REF!'" in problems(str(tmp_path / "t.xlsx"))[1][2]
    unsaved = openpyxl.Workbook()
    for cells in (["prompt", "num_images"], ["x", "=1+1"], ["y", 3]):
        unsaved.worksheets[0].append(cells)
    unsaved.save(tmp_path / "u.xlsx")
    [(line, column, reason)] = problems(str(tmp_path / "u.xlsx"))
    assert (line, column) == (2, "num_images")
    assert "a formula without a value" in reason


def test_what_is_no_workbook_is_told(tmp_path: Path) -> None:
    path = tmp_path / "t.xlsx"
    path.write_bytes(b"prompt\nx\n")
    assert "is not a readable workbook" in told(str(path))
    path.write_bytes(b"\xd0\xcf\x11\xe0" + bytes(2000))  # as one with a password is
    assert "protected by a password" in told(str(path))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("t.csv", "prompt\nx\n")
    assert "cannot be read" in told(str(path))


def test_a_workbook_that_would_fill_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = book(tmp_path / "t.xlsx", ["prompt"], ["x" * 30_000])
    monkeypatch.setattr(excel, "MOST_BYTES", 20_000)
    assert "bytes unpacked, and at most 20,000" in told(path)
    whole = io.BytesIO((tmp_path / "t.xlsx").read_bytes())
    with zipfile.ZipFile(whole) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
    data = whole.getvalue()
    for size in sizes.values():  # what the archive says of itself is not believed
        data = data.replace(struct.pack("<I", size), struct.pack("<I", min(size, 500)))
    (tmp_path / "u.xlsx").write_bytes(data)
    assert "u.xlsx" in told(str(tmp_path / "u.xlsx"))
