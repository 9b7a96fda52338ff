"""Reader of Excel workbooks: the displayed values of the first sheet or the named one."""

from __future__ import annotations

import re
import warnings
import zipfile
from contextlib import ExitStack, contextmanager
from datetime import datetime, time
from typing import IO, TYPE_CHECKING, Any

from dagster_gptimg.errors import RowProblem, TableError
from dagster_gptimg.prompts.cell_values import text_of
from dagster_gptimg.prompts.quoting import listed, quoted
from dagster_gptimg.prompts.readers.chunks import Header
from dagster_gptimg.prompts.readers.header import named_columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dagster_gptimg.prompts.readers.chunks import Items
    from dagster_gptimg.prompts.readers.header import Named

MOST_BYTES = 256 * 2**20
"""Maximum bytes of an unpacked workbook: its texts are held in memory while its rows are read."""

_ZEROS = re.compile("0{2,}")
_CLOCK = re.compile(r"[hs]", re.IGNORECASE)


def read_excel(file: IO[bytes], source: str, sheet: str) -> Items:
    """Yield the rows of a sheet; the first row that is not empty has the columns' names.

    Args:
        file: the workbook.
        source: its name for messages.
        sheet: the sheet's name; empty: the first sheet.

    Raises:
        TableError: the file is not a workbook, is too large, has no such sheet, or a column has no name.
    """
    try:
        import openpyxl
    except ImportError as error:
        msg = f"reading a workbook needs a package: pip install 'dagster-gptimg[xlsx]' ({error}); or save it as CSV"
        raise TableError(msg) from error
    _look_at(file, source)
    with warnings.catch_warnings(), _told(source), ExitStack() as closing:
        warnings.simplefilter("ignore")  # about parts without values: styles, validations, drawings
        books = [openpyxl.load_workbook(file, read_only=True, data_only=told) for told in (True, False)]
        for made in books:
            closing.callback(made.close)
        name = _sheet(books[0], source, sheet)
        yield from _rows(books[0][name], books[1][name], source)


@contextmanager
def _told(source: str) -> Iterator[None]:
    """Raise any exception of openpyxl as `TableError`: openpyxl does not validate what it reads."""
    try:
        yield
    except TableError:
        raise
    except Exception as error:
        raise TableError(f"{source} cannot be read as a workbook: {type(error).__name__}: {error}"[:1000]) from error


def _look_at(file: IO[bytes], source: str) -> None:
    """Check that the archive unpacks to at most `MOST_BYTES`; zipfile never unpacks more than the declared size."""
    try:
        with zipfile.ZipFile(file) as archive:
            size = sum(info.file_size for info in archive.infolist())
            if size > MOST_BYTES:
                words = f"has {size:,} bytes unpacked, and at most {MOST_BYTES:,} are read"
                raise TableError(f"{source} {words}: save it as CSV or Parquet")
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise TableError(
            f"{source} is not a readable workbook: {error}; perhaps it is protected by a password"
        ) from error
    file.seek(0)


def _sheet(book: Any, source: str, wanted: str) -> str:  # noqa: ANN401 - openpyxl ships no types
    names = [sheet.title for sheet in book.worksheets]
    if not wanted and names:
        return str(names[0])
    if wanted not in names:
        raise TableError(f"{source}: there is no sheet {quoted(wanted)}; it has {listed(names)}")
    return wanted


def _rows(values: Any, formulas: Any, source: str) -> Items:  # noqa: ANN401 - no types
    named: Named | None = None
    for sheet in (values, formulas):
        sheet.reset_dimensions()  # some programs write wrong dimensions
    for line, (row, written) in enumerate(zip(values.iter_rows(), formulas.iter_rows(), strict=False), 1):
        cells = [_value(cell) for cell in row]
        if named is None and any(cell is not None for cell in cells):
            while cells and cells[-1] is None:
                cells.pop()
            names = ["" if cell is None else text_of(cell) for cell in cells]
            named = named_columns(names, f"{source}:{line}")
            yield Header(named.names)
        elif named is not None:
            yield from _row(named, line, cells, _odd(row, written), source)
    if named is None:
        raise TableError(f"{source} has no cells: the first row must have the columns' names")


def _row(named: Named, line: int, cells: list[Any], odd: dict[int, str], source: str) -> Items:
    """Yield a row or its problem; nothing for an empty row, of which sheets have many."""
    if odd:
        columns = {place: name for name, place in named.places.items()}
        for place, reason in odd.items():
            yield RowProblem(source, line, columns.get(place), reason)
    elif any(cell is not None and (not isinstance(cell, str) or cell.strip()) for cell in cells):
        yield line, named.row(cells + [None] * (named.width - len(cells)), line)


def _odd(row: Sequence[Any], written: Sequence[Any]) -> dict[int, str]:
    """Return the problems of cells by position: Excel's errors, and formulas without a computed value."""
    found = dict[int, str]()
    for place, cell in enumerate(row):
        if cell.data_type == "e":
            found[place] = f"Excel's error {quoted(str(cell.value))}: correct the formula, or clear the cell"
    for place, cell in enumerate(written):
        if cell.data_type == "f" and (place >= len(row) or row[place].value is None):
            found[place] = "a formula without a value: open the workbook in Excel and save it, so that it is calculated"
    return found


def _value(cell: Any) -> object:  # noqa: ANN401 - openpyxl ships no types
    """Return a cell's value as a spreadsheet shows it, except for number formats such as currency and percent."""
    value = cell.value
    if isinstance(value, float):
        # Excel shows 15 digits, and stores two more that the user did not type.
        value = float(f"{value:.15g}")
    form = cell.number_format if value is not None and not isinstance(value, str | bool) else ""
    if isinstance(value, datetime) and value.time() == time() and not _CLOCK.search(form or ""):
        return value.date()
    if isinstance(value, int | float) and form and _ZEROS.fullmatch(form) and value == int(value) >= 0:
        return str(int(value)).zfill(len(form))
    return value
