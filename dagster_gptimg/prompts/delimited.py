"""CSV and TSV: every row with the line it starts on.

CSV is RFC 4180, read strictly: quotes are quotes, and a stray one is a problem. TSV is the IANA format
(text/tab-separated-values): it has no quoting, so a cell may begin with a quotation mark, as real prompts do. Programs
that write CSV with tabs quote such cells: that is told as a problem, since the doubled marks would be bought as they
stand.
"""

from __future__ import annotations

import csv
import re
import sys
from typing import IO, TYPE_CHECKING

from dagster_gptimg.errors import RowProblem, TableError

if TYPE_CHECKING:
    from collections.abc import Iterator

Line = tuple[int, "dict[str, object]"]

csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # prompts have up to 32,000 characters; other columns may have more

_NO_QUOTING = "TSV has no quoting; if this was written as CSV with tabs, save the table as .csv, with commas"
_QUOTED = re.compile(r'"(?:[^"]|"")*""(?:[^"]|"")*"')


class _Csv(csv.excel):
    strict = True


class _Tsv(csv.excel_tab):
    quoting = csv.QUOTE_NONE


def read_delimited(text: IO[str], source: str, delimiter: str) -> Iterator[Line | RowProblem]:
    """The rows of a CSV or TSV file.

    Args:
        text: opened with `newline=""`; bytes that are not UTF-8 come as surrogates (`errors="surrogateescape"`).
        source: its name, for messages.
        delimiter: `,` or a tab.

    Yields:
        (1-based line, cells by column), or what is wrong with a row.

    Raises:
        TableError: there is no header, or two columns have one name.
    """
    dialect = _Tsv if delimiter == "\t" else _Csv
    reader = csv.reader(text, dialect)
    header = _header(reader, source)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield RowProblem(source, line, None, f"not CSV: {error} (is a quotation mark missing, or not doubled?)")
            continue
        if not cells:
            continue  # an empty line
        reason = _misshapen(cells, header, dialect)
        yield RowProblem(source, line, None, reason) if reason else (line, dict(zip(header, cells, strict=True)))


def _misshapen(cells: list[str], header: list[str], dialect: type[csv.Dialect]) -> str | None:
    """Why cells are no row of this table."""
    is_tsv = dialect is _Tsv
    if len(cells) != len(header):
        begun = is_tsv and any(cell.startswith('"') for cell in cells)
        hint = f": {_NO_QUOTING}" if begun else ""
        return f"{len(cells)} {'cell' if len(cells) == 1 else 'cells'}, where the header has {len(header)}{hint}"
    if is_tsv and any('""' in cell and _QUOTED.fullmatch(cell) for cell in cells):
        return f"a cell is in quotation marks, and those in it are doubled: {_NO_QUOTING}"
    return None


def _header(reader: Iterator[list[str]], source: str) -> list[str]:
    try:
        header = next(reader)
    except StopIteration:
        header = []
    except csv.Error as error:
        msg = f"{source}:1: the header is not CSV: {error}"
        raise TableError(msg) from error
    if not any(header):
        msg = f"{source} is empty: its first line must name the columns"
        raise TableError(msg)
    if "\0" in header[0]:
        msg = f"{source}:1: there are NUL bytes among the columns' names: is it UTF-16? Save the table as UTF-8"
        raise TableError(msg)
    for column in header:
        if not column or header.count(column) > 1:
            words = f"the column name {column!r} stands twice" if column else "a column has no name"
            msg = f"{source}:1: {words}; name every column once"
            raise TableError(msg)
    return header
