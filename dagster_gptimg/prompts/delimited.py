"""CSV and TSV: every row with the line it starts on.

CSV is RFC 4180, read strictly: quotes are quotes, and a stray one is a problem. TSV is the IANA format
(text/tab-separated-values): it has no quoting, so a cell may begin with a quotation mark, as real prompts do.
"""

from __future__ import annotations

import csv
import sys
from typing import IO, TYPE_CHECKING

from dagster_gptimg.errors import RowProblem, TableError

if TYPE_CHECKING:
    from collections.abc import Iterator

Line = tuple[int, "dict[str, object]"]

csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # prompts have up to 32,000 characters; other columns may have more


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
        if len(cells) != len(header):
            yield RowProblem(source, line, None, f"{len(cells)} cells, where the header has {len(header)}")
            continue
        yield line, dict(zip(header, cells, strict=True))


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
    for column in header:
        if not column or header.count(column) > 1:
            words = f"the column name {column!r} stands twice" if column else "a column has no name"
            msg = f"{source}:1: {words}; name every column once"
            raise TableError(msg)
    return header
