"""The format of a table, its compression, and the location of its rows: from its name, or set by the user."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, TypeAlias, TypeVar, get_args

from dagster_gptimg.argument_rules import check_arguments
from dagster_gptimg.base.masking import without_secrets
from dagster_gptimg.errors import TableError, UsageError
from dagster_gptimg.options import check

TableFormat: TypeAlias = Literal["csv", "tsv", "txt", "json", "jsonl", "parquet", "arrow", "xlsx"]

S = TypeVar("S")

FORMATS: tuple[str, ...] = get_args(TableFormat)
TEXT_FORMATS = frozenset({"csv", "tsv", "txt", "json", "jsonl"})
STDIN = "-"

_ENDINGS: dict[str, TableFormat] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".txt": "txt",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".arrows": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
}
ENDINGS = tuple(_ENDINGS)
COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".lz4", ".zip")
_INSTEAD = {
    (".xls", ".xlsb", ".ods", ".numbers"): "save it as .xlsx, or as CSV (UTF-8)",
    (".rtf", ".doc", ".docx", ".odt", ".pdf"): "save it as plain text, a prompt a line, with the ending .txt",
    (".pkl", ".pickle", ".sqlite", ".db", ".duckdb", ".avro", ".orc", ".h5"): "write it as Parquet, or give a query",
    (".yaml", ".yml", ".toml", ".xml"): "write it as JSON lines, one object a line",
}
_SHEET = re.compile(r"(?P<url>.*\.xls[xm](\?[^#]*)?)#(?P<sheet>.+)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class TableFile:
    """A table at a URL whose name does not tell its format, such as the export URL of a spreadsheet.

    Attributes:
        url: any fsspec URL, or a path.
        table_format: `csv`, `tsv`, `txt`, `json`, `jsonl`, `parquet`, `arrow` or `xlsx`; None: by the URL's ending.
        is_stdin: read from standard input, once; only the command line does.

    Raises:
        UsageError: there is no such format.
    """

    url: str | os.PathLike[str]
    table_format: str | None = None
    is_stdin: bool = False

    def __post_init__(self) -> None:
        check_arguments(path=self.url, is_stdin=self.is_stdin)
        check(table_format=self.table_format)
        if self.table_format is not None and self.table_format not in FORMATS:
            msg = f"the table format {self.table_format!r} is not one of {', '.join(FORMATS)}"
            raise UsageError(msg)
        if self.is_stdin and self.table_format is None:
            raise UsageError(f"a table from standard input needs its format: {', '.join(FORMATS)} (--table-format csv)")

    def __repr__(self) -> str:
        return f"TableFile({self.name()!r}, {self.table_format!r})"

    def name(self) -> str:
        """The table's name in messages."""
        return "standard input" if self.is_stdin else without_secrets(os.fspath(self.url))


def with_format(source: S, table_format: str | None) -> S | TableFile:
    """Return a table with its format set; `source` itself if `table_format` is None.

    Raises:
        UsageError: there is no such format, or the table is not at a URL and so has no format.
    """
    if table_format is None:
        return source
    if isinstance(source, TableFile):
        return replace(source, table_format=source.table_format or table_format)
    if isinstance(source, str | os.PathLike):
        return TableFile(source, table_format)
    raise UsageError(f"the table format {table_format!r} is for tables at a URL, not for {type(source).__name__}")


class Place(NamedTuple):
    """One file, and how it is read.

    Attributes:
        url: for fsspec.
        name: for messages.
        form: its format; None: known from the name of the one file in a zip archive.
        compression: an ending of `COMPRESSED`, or empty.
        sheet: of a workbook; empty: the first.
    """

    url: str
    name: str
    form: str | None
    compression: str = ""
    sheet: str = ""


def place_of(url: str, table_format: str | None = None) -> Place:
    """Return how a file is read, by its name.

    Args:
        url: any fsspec URL. In `zip://a.csv::s3://b/c.zip` the inner file has the format, in `https://h/a.csv?sig=1`
            the path.
        table_format: overrides the format of the name.

    Raises:
        TableError: the format is not known.
    """
    name, sheet = without_secrets(url), ""
    found = _SHEET.fullmatch(url)
    if found is None and table_format == "xlsx" and "#" in url:
        url, _, sheet = url.rpartition("#")
    elif found is not None:
        url, sheet = found["url"], found["sheet"]
    for link in _links(url):
        form, compression = by_name(link)
        if form or (compression == ".zip" and "://" not in link):
            return Place(url, name, table_format or form, compression, sheet)
    if table_format is not None:
        return Place(url, name, table_format, by_name(next(iter(_links(url))))[1], sheet)
    raise TableError(f"the format of {name} is not known: {_way_out(url)}")


def by_name(path: str) -> tuple[TableFormat | None, str]:
    """Return the format of a file by its ending, and the ending of its compression (or an empty text)."""
    stem = path.lower()
    compression = next((ending for ending in COMPRESSED if stem.endswith(ending)), "")
    stem = stem.removesuffix(compression)
    return next((form for ending, form in _ENDINGS.items() if stem.endswith(ending)), None), compression


def _links(url: str) -> list[str]:
    """Return the parts of chained URLs, each without its query."""
    return [re.split("[?#]", link)[0] if "://" in link else link for link in url.split("::")]


def _way_out(url: str) -> str:
    endings = f"its name must end in {', '.join(ENDINGS)} (optionally followed by .gz, .zip, ...)"
    path = _links(url)[0].lower()
    instead = next((words for bad, words in _INSTEAD.items() if path.endswith(bad)), None)
    if instead is not None:
        return f"{instead}; {endings}"
    return f"{endings}, or set its format (table_format=, or --table-format csv)"
