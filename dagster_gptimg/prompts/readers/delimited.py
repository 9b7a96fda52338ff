"""Reader of CSV and TSV: each row with the line it starts on.

CSV is RFC 4180, read strictly: a stray quotation mark is a problem. Spreadsheets in many countries write it with
semicolons, and "Unicode text" with tabs: the header decides, or a line `sep=;` before it. TSV is the IANA format
(text/tab-separated-values): it has no quoting, so a cell may begin with a quotation mark, as real prompts do. Programs
that write CSV with tabs quote such cells: this is reported as a problem, since the doubled marks would be bought as
part of the prompt.
"""

from __future__ import annotations

import csv
import re
import sys
from typing import TYPE_CHECKING

from dagster_gptimg.errors import RowProblem, TableError
from dagster_gptimg.prompts.quoting import quoted
from dagster_gptimg.prompts.readers.chunks import Header
from dagster_gptimg.prompts.readers.header import Named, named_columns
from dagster_gptimg.prompts.readers.lines import LongRowError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagster_gptimg.prompts.readers.chunks import Items
    from dagster_gptimg.prompts.readers.lines import Lines

csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # `Lines` limits the rows; this limit is global in Python

_NO_QUOTING = "TSV has no quoting; if this was written as CSV with tabs, save the table as .csv, with commas"
_QUOTED = re.compile(r'"(?:[^"]|"")*""(?:[^"]|"")*"')
_SEP = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
_IN_QUOTES = re.compile(r'"(?:[^"]|"")*"?')
_PIECES = "a cell with a comma or a line break must be in quotation marks: otherwise it is split into several cells"


class _Tsv(csv.excel_tab):
    quoting = csv.QUOTE_NONE


def read_delimited(lines: Lines, source: str, *, is_tsv: bool = False, delimiter: str | None = None) -> Items:
    """Yield the rows of a CSV or TSV file.

    Args:
        lines: of the file; bytes that are not UTF-8 are surrogates (`errors="surrogateescape"`).
        source: the file's name for messages.
        is_tsv: True for TSV, False for CSV.
        delimiter: of CSV; None: found from the header.

    Yields:
        The header; then each row as (1-based line, cells by column), or its problem.

    Raises:
        TableError: there is no header, two columns have the same name, or a column without a name has cells.
    """
    reader = csv.reader(lines, _Tsv) if is_tsv else _reader(lines, source, delimiter)
    named = _header(reader, lines, source)
    yield Header(named.names)
    while True:
        line = lines.begin_row()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except (csv.Error, LongRowError) as error:
            is_long = isinstance(error, LongRowError)
            words = f"{error}" if is_long else f"invalid CSV: {error} (is a quotation mark missing, or not doubled?)"
            yield RowProblem(source, line, None, words)
            continue
        if not any(map(str.strip, cells)):
            continue  # an empty line, or one of commas only, as spreadsheets write after the last row
        reason = _misshapen(cells, named.width, is_tsv=is_tsv)
        yield RowProblem(source, line, None, reason) if reason else (line, named.row(cells, line))


def _reader(lines: Lines, source: str, delimiter: str | None) -> Iterator[list[str]]:
    first = _first(lines, source)
    said = _SEP.fullmatch(first)
    if said is None:
        lines.put_back(first)
    elif said[1] == '"' or said[1].isalnum():
        raise TableError(f"{source}:1: {quoted(first.strip())} does not name a separator")
    return csv.reader(lines, delimiter=said[1] if said else delimiter or delimiter_of(first), strict=True)


def _first(lines: Lines, source: str) -> str:
    """Return the first line that is not empty."""
    try:
        return next(line for line in lines if line.strip())
    except StopIteration:
        raise TableError(f"{source} is empty: its first line must name the columns") from None
    except LongRowError as error:
        raise TableError(f"{source}:1: {error}") from error


def delimiter_of(header: str) -> str:
    """Return the delimiter of a CSV file, by its header: a comma, unless it has none but another delimiter."""
    plain = _IN_QUOTES.sub("", header)
    return next((sign for sign in ",;\t|" if sign in plain), ",")


def _misshapen(cells: list[str], width: int, *, is_tsv: bool) -> str | None:
    """Return why cells are not a row of this table; None if they are."""
    if len(cells) < width or any(cells[width:]):
        hint = ""
        if is_tsv and any(cell.startswith('"') for cell in cells):
            hint = f": {_NO_QUOTING}"
        elif not is_tsv:
            hint = f"; {_PIECES}"
        return f"{len(cells)} {'cell' if len(cells) == 1 else 'cells'}, where the header has {width}{hint}"
    if is_tsv and any('""' in cell and _QUOTED.fullmatch(cell) for cell in cells):
        return f"a cell is in quotation marks, with doubled quotation marks in it: {_NO_QUOTING}"
    return None


def _header(reader: Iterator[list[str]], lines: Lines, source: str) -> Named:
    try:
        cells = next((cells for cells in reader if any(cells)), [])
    except (csv.Error, LongRowError) as error:
        raise TableError(f"{source}:{lines.number}: the header is not CSV: {error}") from error
    if not cells:
        raise TableError(f"{source} is empty: its first line must name the columns")
    if any("\0" in cell for cell in cells):
        msg = f"{source}:1: the columns' names contain NUL bytes (perhaps UTF-16): save the table as UTF-8"
        raise TableError(msg)
    return named_columns(cells, f"{source}:{lines.number}")
