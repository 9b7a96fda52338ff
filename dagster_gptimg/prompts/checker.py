"""The check of a table's rows: every bad row is reported at once, before a cent is spent."""

from __future__ import annotations

from bisect import bisect_right
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

from dagster_gptimg.errors import RowProblem, TableError
from dagster_gptimg.fal.registry.model import is_missing
from dagster_gptimg.prompts import column_roles
from dagster_gptimg.prompts.cell_values import (
    CellError,
    UnusableError,
    cell_text,
    json_object,
    json_objects,
    json_of,
    unsendable,
)
from dagster_gptimg.prompts.partition_keys import OnePartition, has_cells
from dagster_gptimg.prompts.problems import Problems
from dagster_gptimg.prompts.quoting import MOST, listed, meant, quoted
from dagster_gptimg.prompts.readers.arrow import Columns
from dagster_gptimg.prompts.readers.chunks import Header, NewFile
from dagster_gptimg.prompts.row_batch import RowBatch
from dagster_gptimg.prompts.row_ids import RowIds, Unnamed
from dagster_gptimg.prompts.row_inputs import NO_SOURCES, RowInputs
from dagster_gptimg.prompts.spec import PromptSpec

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from dagster_gptimg.fal.types import Json
    from dagster_gptimg.prompts.partition_keys import RowFilter
    from dagster_gptimg.prompts.readers.chunks import Chunk, Items

BATCH = 1024
LOOKED_AT = 10_000
"""Rows outside a partition that are looked at for a key that may be meant."""
LONGEST_ID = 512


class Checker:
    """Checks the rows of one table."""

    def __init__(self, source: str, spec: PromptSpec) -> None:
        """`source`: the table, as messages call it."""
        self.source, self.spec, self.model = source, spec, spec.model
        self.template = spec.parsed_template()
        self.prompt_column = spec.prompt_column
        self.filter = spec.row_filter
        self.problems = Problems(source)
        self.inputs = RowInputs(spec, self.problems)
        self.ids = RowIds()
        self.same: dict[str, Json] | None = None  # the arguments of all rows, where no row has any of its own
        self.one_header = False  # every row has the same columns, so a missing one is told before the rows are read
        self.others: dict[str, None] | None = {}  # keys of rows outside the wanted partition, while it has none
        self.has_rows = False
        self.columns: set[str] = set()
        self.taken = self.line = 0
        self.files: list[tuple[int, str]] = [(0, "")]  # how many lines there were before each, and its name
        self.used: frozenset[str | None] = frozenset()
        self.embedding: set[str] = set()

    def batches(self, chunks: Iterable[Chunk]) -> Iterator[RowBatch]:
        """Every valid row; the others become problems."""
        for chunk in chunks:
            if isinstance(chunk, NewFile):
                self.begin(chunk)
                continue
            if isinstance(chunk, Header):
                self.take(chunk)
                continue
            batch = self.plain(chunk) if isinstance(chunk, Columns) else None
            if batch is not None:
                yield batch
                continue
            rows = self.rows(chunk.lines() if isinstance(chunk, Columns) else chunk)
            while some := list(islice(rows, BATCH)):
                yield self.ids.named(some)
            if self.taken == self.spec.limit:
                return

    def begin(self, file: NewFile) -> None:
        """What follows is another file of the table."""
        self.files.append((self.files[-1][0] + self.line, file.source))
        self.line, self.one_header, self.same = 0, False, None
        self.problems.begin(file.source)

    def take(self, header: Header) -> None:
        """What follows has these columns, each row all of them."""
        self.one_header, self.same = True, None
        self.meet(set(header.names))
        self.demand_columns(header.names, self.files[-1][1] or self.source)

    def plain(self, chunk: Columns) -> RowBatch | None:
        """A chunk of rows in which nothing but the prompt is to be checked, and all prompts are right; None otherwise.

        It is what `rows` would make of them one by one; a million rows are worth a way of their own.
        """
        spec, count = self.spec, len(next(iter(chunk.cells.values()), ()))
        is_looked_at = spec.template or spec.id_column or spec.limit or self.filter or self.embedding
        if is_looked_at or self.same is None or not self.columns.issuperset(chunk.cells) or not count:
            return None
        prompts = chunk.cells[self.prompt_column or ""]
        carried = {name: cells for name, cells in chunk.cells.items() if name not in self.used}
        columns = json_objects(carried) if carried else ["{}"] * count
        if columns is None or not self.model.takes_prompts(prompts) or unsendable("".join(prompts)) is not None:
            return None
        arguments = [self.same] * count
        row_ids, lines = self.ids.derived(prompts, arguments), range(chunk.number, chunk.number + count)
        return RowBatch(row_ids, prompts, arguments, columns, lines, [NO_SOURCES] * count)

    def rows(self, items: Items | Iterable[tuple[int, dict[str, object]]]) -> Iterator[Unnamed]:
        """Every valid row, without its id where that is to be derived; the others become problems."""
        for item in items:
            if isinstance(item, RowProblem):
                self.problems.report(item.line, item.column, item.reason)
                continue
            if isinstance(item, Header):
                self.take(item)
                continue
            line, cells = item
            self.line, self.has_rows = line, True
            if not self.columns.issuperset(cells):
                self.meet(set(cells))
            if self.filter is None or self.is_wanted(self.filter, line, cells):
                self.taken += 1
                row = self.row(line, cells)
                if row is not None:
                    yield row
                if self.taken == self.spec.limit:
                    return

    def finish(self) -> None:
        """Raise what was found. A table without rows is right, as long as its columns are."""
        if self.columns:
            self.demand_columns(self.columns, self.source)
        self.problems.finish()
        self.spec.seen.warning = ""
        if self.others is not None and isinstance(self.filter, OnePartition):
            hint = meant(self.filter.key, self.others)
            words = f"no row belongs to the partition {quoted(self.filter.key)}{hint}"
            if self.others:
                words = self.spec.seen.warning = f"{words}; there are {listed(sorted(self.others))}"
            if self.spec.is_first and self.has_rows:
                raise TableError(f"{words}. {self.source} was read to its end, and nothing was sent.")

    def meet(self, columns: set[str]) -> None:
        """Look at columns that were not there before."""
        for name in sorted(columns - self.columns):
            reason = unsendable(name)
            if reason is not None:
                raise TableError(f"{self.source}: the column name {quoted(name)}: {reason}")
        self.columns |= columns
        spec = self.spec
        if self.template is None and self.prompt_column is None:
            self.prompt_column = column_roles.column_named_prompt(self.columns, self.source)
        others = self.columns - {self.prompt_column, spec.id_column, *spec.image_columns}
        mine = others if spec.inputs is None else others.intersection(spec.inputs)
        self.inputs.take(column_roles.input_columns(mine, self.inputs.names, self.inputs.taken, self.source))
        # References stay among the carried columns: the arguments know them by their content only.
        held = {column for column in self.inputs.taken if column not in self.inputs.image_columns}
        self.used = frozenset(held | {self.prompt_column, spec.id_column})
        self.embedding = set(self.inputs.image_columns) & self.columns - self.used
        self.same = None
        spec.seen.prompt = self.prompt_column
        spec.seen.inputs = dict(self.inputs.taken)
        spec.seen.carried = sorted(self.columns - self.used - self.inputs.taken.keys())

    def demand_columns(self, columns: Collection[str], source: str) -> None:
        """Every column that the spec names must be there."""
        has = f"it has {listed(sorted(columns))}"
        if not columns:
            return
        if self.template is None and self.prompt_column is None:
            msg = f"{source} has no column named prompt: name the prompt column, or give a template. It has {has[7:]}"
            raise TableError(msg)
        named = [("prompt column", self.prompt_column), ("id column", self.spec.id_column)]
        named += [("template's column", name) for name in (self.template.columns if self.template else ())]
        named += [("image column", name) for name in self.spec.image_columns]
        named += [("partition's column", name) for name in (self.filter.columns if self.filter else ())]
        named += [("input's column", name) for name in self.spec.inputs or ()]
        for what, name in named:
            if name is not None and name not in columns:
                raise TableError(f"{source} has no column {quoted(name)} (the {what}){meant(name, columns)}; {has}")

    def is_wanted(self, partition: RowFilter, line: int, cells: Mapping[str, object]) -> bool:
        """Whether a row belongs to the partition. The others are not looked at any further."""
        try:
            is_wanted = partition.keeps(cells)
            if self.others is not None and isinstance(partition, OnePartition):
                self.look_at(partition, cells, is_wanted=is_wanted)
        except CellError as error:
            self.problems.report(line, error.column, error.reason)
            return False
        return is_wanted

    @property
    def lacks_its_first_row(self) -> bool:
        """Whether a partition that must have a row had none so far."""
        return self.spec.is_first and self.others is not None

    def look_around(self, chunks: Iterable[Chunk]) -> None:
        """Note where the first rows of a table belong, all of which are outside the wanted partition."""
        for chunk in chunks:
            if isinstance(chunk, NewFile | Header):
                continue
            for item in chunk.lines() if isinstance(chunk, Columns) else chunk:
                if isinstance(item, tuple) and isinstance(self.filter, OnePartition):
                    self.line, self.has_rows = item[0], True
                    with suppress(CellError):
                        self.look_at(self.filter, item[1], is_wanted=False)
                if self.line > LOOKED_AT:
                    return

    def look_at(self, partition: OnePartition, cells: Mapping[str, object], *, is_wanted: bool) -> None:
        """Note where other rows belong, until one of the wanted partition comes: its key may be misspelt."""
        if is_wanted or self.others is None:
            self.others = None
        elif self.line <= LOOKED_AT and len(self.others) < MOST and has_cells(partition.by, cells):
            self.others[partition.by.of(cells)] = None

    def row(self, line: int, cells: Mapping[str, object]) -> Unnamed | None:
        """One row, or None with all its problems reported."""
        before = self.problems.count
        prompt = self.prompt(line, cells)
        arguments, sources = self.same, NO_SOURCES
        if arguments is None:
            arguments = self.inputs.of(line, cells)
            if arguments is not None and self.one_header and not self.inputs.are_by_row:
                self.same = arguments
        row_id = None if self.spec.id_column is None else self.given_id(line, cells)
        columns = self.carried(line, cells)
        if arguments and arguments is not self.same:
            arguments, sources = self.inputs.resolve(line, arguments)
        if prompt is None or arguments is None or self.problems.count > before:
            return None
        return row_id, prompt, arguments, json_object(columns), line, sources

    def prompt(self, line: int, cells: Mapping[str, object]) -> str | None:
        """The row's prompt, or None with its problem reported."""
        cell = None if self.template else cells.get(self.prompt_column or "prompt")
        if type(cell) is str and cell.isascii() and self.model.wrong_prompt(cell) is None:
            return cell  # as most are: nothing of what follows would change it
        try:
            prompt = self.template.fill(cells) if self.template else cell_text(cells, self.prompt_column or "prompt")
        except CellError as error:
            self.problems.report(line, error.column, error.reason)
            return None
        reason = unsendable(prompt) or self.model.wrong_prompt(prompt)
        if reason is not None:
            self.problems.report(line, self.prompt_column, reason)
            return None
        return prompt

    def given_id(self, line: int, cells: Mapping[str, object]) -> str | None:
        """The id of the row's column, or None: there is no such column, or its problem is reported."""
        if self.spec.id_column is None:
            return None
        if is_missing(cells.get(self.spec.id_column)):
            self.problems.report(line, self.spec.id_column, "the id is empty")
            return None
        try:
            row_id = cell_text(cells, self.spec.id_column)
        except CellError as error:
            self.problems.report(line, error.column, error.reason)
            return None
        reason = unsendable(row_id) or self.wrong_id(line, row_id)
        if reason is not None:
            self.problems.report(line, self.spec.id_column, reason)
        return row_id

    def wrong_id(self, line: int, row_id: str) -> str | None:
        """Why an id cannot be this row's."""
        if len(row_id) > LONGEST_ID:
            return f"an id has at most {LONGEST_ID} characters, and this one {len(row_id)}"
        place = self.files[-1][0] + line
        first = self.ids.first_line(row_id, place)
        return None if first == place else f"the id {quoted(row_id)} stands on {self.words_for(first)} already"

    def words_for(self, place: int) -> str:
        """A line, and its file where there are several."""
        before, name = self.files[bisect_right([start for start, _ in self.files], place - 1) - 1]
        return f"line {place - before} of {name}" if name else f"line {place - before}"

    def carried(self, line: int, cells: Mapping[str, object]) -> dict[str, Json]:
        """All columns that have not become something else (the prompt, the id, a model's input).

        References stay among them, as the table names them: so an edit tells its source. Data URIs do not.
        """
        columns: dict[str, Json] = {}
        used = self.used
        for name, cell in cells.items():
            if name in used:
                continue
            if type(cell) is str and cell.isascii():  # as most are: nothing of what follows would change it
                columns[name] = cell
                continue
            try:
                value = columns[name] = json_of(cell)
                reason = unsendable(value)
            except UnusableError as error:
                reason = str(error)
            if reason is not None:  # the image table could not be written, once the images are paid for
                self.problems.report(line, name, reason)
        for name in self.embedding:
            if ";base64," in str(columns.get(name)):
                del columns[name]
        return columns
