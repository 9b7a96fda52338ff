"""Reader of plain text: a prompt per line. Spreadsheets save "Unicode text" with this ending, which is a table."""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING

from dagster_gptimg.errors import RowProblem
from dagster_gptimg.prompts.readers.chunks import Header
from dagster_gptimg.prompts.readers.delimited import read_delimited
from dagster_gptimg.prompts.readers.lines import LongRowError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagster_gptimg.prompts.readers.chunks import Items, Line
    from dagster_gptimg.prompts.readers.lines import Lines

PROMPT = "prompt"
_QUOTED = re.compile(r'"(?:[^"]|"")*""(?:[^"]|"")*"')


def read_text(lines: Lines, source: str) -> Items:
    """Yield the lines that are not blank, each as a prompt, unchanged.

    A file whose first line has tabs, or is only `prompt`, is read as a table of a spreadsheet.
    """
    items = _lines(lines, source)
    first = next(items, None)
    if isinstance(first, tuple) and ("\t" in first[1] or first[1].strip().strip('"').lower() == PROMPT):
        lines.put_back(first[1])
        yield from read_delimited(lines, source, delimiter="\t")
        return
    yield Header((PROMPT,))
    for item in chain([] if first is None else [first], items):
        yield item if isinstance(item, RowProblem) else _row(item[0], item[1].rstrip("\r\n"), source)


def _row(line: int, prompt: str, source: str) -> Line | RowProblem:
    if "\0" in prompt:
        return RowProblem(source, line, None, "the line contains NUL bytes (perhaps UTF-16): save the file as UTF-8")
    is_open = prompt.startswith('"') and prompt.count('"') % 2
    if is_open or _QUOTED.fullmatch(prompt):
        what = "begins with a quotation mark that it does not close" if is_open else "doubles its quotation marks"
        words = (
            f"the line {what}, as a spreadsheet writes a cell: save the table as .csv, with `prompt` in its first line"
        )
        return RowProblem(source, line, None, words)
    return line, {PROMPT: prompt}


def _lines(lines: Lines, source: str) -> Iterator[tuple[int, str] | RowProblem]:
    while True:
        number = lines.begin_row()
        try:
            line = next(lines)
        except StopIteration:
            return
        except LongRowError as error:
            yield RowProblem(source, number, None, str(error))
            continue
        if line.strip():
            yield number, line
