"""Validation of a table's rows: every invalid row is reported at once, before anything is bought."""

from __future__ import annotations

from bisect import bisect_right
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any

from dagster_gptimg.errors import RowProblem, TableError
from dagster_gptimg.fal.registry.model import is_missing
from dagster_gptimg.prompts.cell_values import (
    CellError,
    UnusableError,
    cell_text,
    json_object,
    json_of,
    unsendable,
)
from dagster_gptimg.prompts.columns import TableColumns
from dagster_gptimg.prompts.partition_keys import OnePartition, has_cells
from dagster_gptimg.prompts.plain_rows import LONGEST_ID, PlainRows, in_columns
from dagster_gptimg.prompts.problems import Problems
from dagster_gptimg.prompts.quoting import MOST, listed, meant, quoted
from dagster_gptimg.prompts.readers.arrow import Columns
from dagster_gptimg.prompts.readers.chunks import Header, NewFile
from dagster_gptimg.prompts.row_ids import RowIds, Unnamed
from dagster_gptimg.prompts.row_inputs import NO_SOURCES, RowInputs
from dagster_gptimg.prompts.spec import PromptSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from dagster_gptimg.fal.types import Json
    from dagster_gptimg.prompts.partition_keys import RowFilter
    from dagster_gptimg.prompts.readers.chunks import Chunk, Line
    from dagster_gptimg.prompts.row_batch import RowBatch

BATCH = 1024
LOOKED_AT = 10_000
"""Maximum rows outside a partition that are searched for a key similar to the one that was asked for."""


class Checker:
    """Validates the rows of one table."""

    def __init__(self, source: str, spec: PromptSpec) -> None:
        """`source`: the table's name in messages."""
        self._source, self._spec, self._model = source, spec, spec.model
        self._template = spec.parsed_template()
        self.filter = spec.row_filter
        self._problems = Problems(source)
        self._inputs = RowInputs(spec, self._problems)
        self._columns = TableColumns(spec, source, self._inputs)
        self._ids = RowIds()
        self._plain = PlainRows(spec, self._columns, self._inputs, self._ids)
        self._same: dict[str, Json] | None = None  # the arguments of all rows, where no row has any of its own
        self._one_header = False  # every row has the same columns, so a missing one is told before the rows are read
        self._others: dict[str, None] | None = {}  # keys of rows outside the wanted partition, while it has none
        self._has_rows = False
        self._taken = self._line = 0
        self._files: list[tuple[int, str]] = [(0, "")]  # how many lines there were before each, and its name

    def batches(self, chunks: Iterable[Chunk]) -> Iterator[RowBatch]:
        """Yield the valid rows in batches; invalid rows become problems."""
        for chunk in chunks:
            if isinstance(chunk, NewFile):
                self._begin(chunk)
                continue
            if isinstance(chunk, Header):
                self._take(chunk)
                continue
            if isinstance(chunk, Columns):
                count = len(next(iter(chunk.cells.values()), ()))
                lines: Sequence[int] = range(chunk.number, chunk.number + count)
                yield from self._batches(lines, chunk.cells)
            elif self._plain.is_possible:
                for some in in_columns(chunk, BATCH):
                    yield from self._batches(*some) if isinstance(some, tuple) else self._checked(iter(some))
            else:
                yield from self._checked(chunk)
            if self._taken == self._spec.limit:
                return

    def _batches(self, lines: Sequence[int], cells: Mapping[str, list[Any]]) -> Iterator[RowBatch]:
        """Yield the valid ones of some rows in columns: as a whole if none of them needs to be looked at by itself."""
        if self._same is not None or (self._one_header and self._inputs.are_by_row):
            batch = self._plain.batch(cells, lines, self._files[-1][0], self._same)
            if batch is not None:
                self._line, self._has_rows = lines[-1], True
                yield batch
                return
        rows = zip(*cells.values(), strict=True)
        yield from self._checked(zip(lines, (dict(zip(cells, row, strict=True)) for row in rows), strict=True))

    def _checked(self, items: Iterator[Header | Line | RowProblem]) -> Iterator[RowBatch]:
        """Yield the valid rows, each of which is looked at by itself."""
        rows = self._rows(items)
        while some := list(islice(rows, BATCH)):
            yield self._ids.named(some)

    def _begin(self, file: NewFile) -> None:
        """Note that another file of the table begins."""
        self._files.append((self._files[-1][0] + self._line, file.source))
        self._line, self._one_header, self._same = 0, False, None
        self._problems.begin(file.source)

    def _take(self, header: Header) -> None:
        """Note the columns of the rows that follow; each of them has all these columns."""
        self._one_header, self._same = True, None
        self._columns.meet(set(header.names))
        self._columns.demand(header.names, self._files[-1][1] or self._source)

    def _rows(self, items: Iterator[Header | Line | RowProblem]) -> Iterator[Unnamed]:
        """Yield the valid rows, without an id if it is still to be derived; invalid rows become problems."""
        for item in items:
            if isinstance(item, RowProblem):
                self._problems.report(item.line, item.column, item.reason)
                continue
            if isinstance(item, Header):
                self._take(item)
                continue
            line, cells = item
            self._line, self._has_rows = line, True
            if not self._columns.met.issuperset(cells):
                self._columns.meet(set(cells))
                self._same = None
            if self.filter is None or self._is_wanted(self.filter, line, cells):
                self._taken += 1
                row = self._row(line, cells)
                if row is not None:
                    yield row
                if self._taken == self._spec.limit:
                    return

    def finish(self) -> None:
        """Raise the problems found. A table without rows is valid if its columns are."""
        self._columns.demand(self._columns.met, self._source)
        self._problems.finish()
        self._spec.seen.warning = ""
        if self._others is not None and isinstance(self.filter, OnePartition):
            found, key = sorted(self._others), self.filter.key
            has = f"; the table has {listed(found)}{meant(key, found)}" if found else ""
            words = f"no row belongs to the partition {quoted(key)}"
            self._spec.seen.warning = f"{words}{has}" if has else ""
            if self._spec.is_first and self._has_rows:
                raise TableError(f"{self._source}: {words}, and nothing was sent{has}")

    def _is_wanted(self, partition: RowFilter, line: int, cells: Mapping[str, object]) -> bool:
        """Return whether a row belongs to the partition. Other rows are not validated any further."""
        try:
            is_wanted = partition.keeps(cells)
            if self._others is not None and isinstance(partition, OnePartition):
                self._look_at(partition, cells, is_wanted=is_wanted)
        except CellError as error:
            self._problems.report(line, error.column, error.reason)
            return False
        return is_wanted

    @property
    def lacks_its_first_row(self) -> bool:
        """Whether a partition that must have a row had none so far."""
        return self._spec.is_first and self._others is not None

    def look_around(self, chunks: Iterable[Chunk]) -> None:
        """Note where the first rows of a table belong, all of which are outside the wanted partition."""
        for chunk in chunks:
            if isinstance(chunk, NewFile | Header):
                continue
            for item in chunk.lines() if isinstance(chunk, Columns) else chunk:
                if isinstance(item, tuple) and isinstance(self.filter, OnePartition):
                    self._line, self._has_rows = item[0], True
                    with suppress(CellError):
                        self._look_at(self.filter, item[1], is_wanted=False)
                if self._line > LOOKED_AT:
                    return

    def _look_at(self, partition: OnePartition, cells: Mapping[str, object], *, is_wanted: bool) -> None:
        """Note the keys of other rows until a row of the wanted partition is found: its key may be misspelt."""
        if is_wanted or self._others is None:
            self._others = None
        elif self._line <= LOOKED_AT and len(self._others) < MOST and has_cells(partition.by, cells):
            self._others[partition.by.of(cells)] = None

    def _row(self, line: int, cells: Mapping[str, object]) -> Unnamed | None:
        """Return one validated row; None if it has problems, which are then reported."""
        before = self._problems.count
        prompt = self._prompt(line, cells)
        arguments, sources = self._same, NO_SOURCES
        if arguments is None:
            arguments = self._inputs.of(line, cells)
            if arguments is not None and self._one_header and not self._inputs.are_by_row:
                self._same = arguments
        row_id = None if self._spec.id_column is None else self._given_id(line, cells)
        columns = self._carried(line, cells)
        if arguments and arguments is not self._same:
            arguments, sources = self._inputs.resolve(line, arguments)
        if prompt is None or arguments is None or self._problems.count > before:
            return None
        return row_id, prompt, arguments, json_object(columns), line, sources

    def _prompt(self, line: int, cells: Mapping[str, object]) -> str | None:
        """Return the row's prompt, empty if it has none and needs none.

        None if it has a problem, which is then reported.
        """
        column = self._columns.prompt or "prompt"
        is_left_out = self._template is None and (self._columns.prompt is None or is_missing(cells.get(column)))
        if is_left_out and not self._model.needs_prompt:
            return ""
        cell = None if self._template else cells.get(column)
        if type(cell) is str and cell.isascii() and self._model.wrong_prompt(cell) is None:
            return cell  # the usual case: the steps below would not change it
        try:
            prompt = self._template.fill(cells) if self._template else cell_text(cells, column)
        except CellError as error:
            self._problems.report(line, error.column, error.reason)
            return None
        reason = unsendable(prompt) or self._model.wrong_prompt(prompt)
        if reason is not None:
            self._problems.report(line, self._columns.prompt, reason)
            return None
        return prompt

    def _given_id(self, line: int, cells: Mapping[str, object]) -> str | None:
        """Return the id from the row's id column.

        None if there is no such column, or it has a problem, which is reported.
        """
        if self._spec.id_column is None:
            return None
        if is_missing(cells.get(self._spec.id_column)):
            self._problems.report(line, self._spec.id_column, "the id is empty")
            return None
        try:
            row_id = cell_text(cells, self._spec.id_column)
        except CellError as error:
            self._problems.report(line, error.column, error.reason)
            return None
        reason = unsendable(row_id) or self._wrong_id(line, row_id)
        if reason is not None:
            self._problems.report(line, self._spec.id_column, reason)
        return row_id

    def _wrong_id(self, line: int, row_id: str) -> str | None:
        """Return why an id is not valid for this row; None if it is."""
        if len(row_id) > LONGEST_ID:
            return f"the id has {len(row_id)} characters, and at most {LONGEST_ID} are allowed"
        place = self._files[-1][0] + line
        first = self._ids.first_line(row_id, place)
        return None if first == place else f"the id {quoted(row_id)} is already used on {self._words_for(first)}"

    def _words_for(self, place: int) -> str:
        """Return a line number for messages, with the file's name if there are several files."""
        before, name = self._files[bisect_right([start for start, _ in self._files], place - 1) - 1]
        return f"line {place - before} of {name}" if name else f"line {place - before}"

    def _carried(self, line: int, cells: Mapping[str, object]) -> dict[str, Json]:
        """Return the columns that are not used as the prompt, the id or a model's input.

        Reference images are among them, as the table names them, so that an edit shows its source. Data URIs are not.
        """
        columns: dict[str, Json] = {}
        used = self._columns.used
        for name, cell in cells.items():
            if name in used:
                continue
            if type(cell) is str and cell.isascii():  # the usual case: the steps below would not change it
                columns[name] = cell
                continue
            try:
                value = columns[name] = json_of(cell)
                reason = unsendable(value)
            except UnusableError as error:
                reason = str(error)
            if reason is not None:  # otherwise the image table could not be written after the images were paid for
                self._problems.report(line, name, reason)
        for name in self._columns.embedding:
            if ";base64," in str(columns.get(name)):
                del columns[name]
        return columns
