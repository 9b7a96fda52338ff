"""The check of a table's rows: every bad row is reported at once, before a cent is spent."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING

from dagster_gptimg.errors import ArgumentsError, ImageReferenceError, RowProblem, TableError
from dagster_gptimg.fal.model import holds_images, is_missing
from dagster_gptimg.prompts.arrow import Columns
from dagster_gptimg.prompts.ids import RowIds, Unnamed
from dagster_gptimg.prompts.problems import Problems
from dagster_gptimg.prompts.rowbatch import RowBatch
from dagster_gptimg.prompts.spec import PromptSpec
from dagster_gptimg.prompts.values import CellError, cell_text, json_object, json_objects, json_of, unsendable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dagster_gptimg.fal.types import Json
    from dagster_gptimg.prompts.delimited import Line
    from dagster_gptimg.prompts.rowkeys import RowFilter
    from dagster_gptimg.prompts.sources import Chunk

BATCH = 1024
CACHED_OVERRIDES = 4096
LONGEST_ID = 512
NO_SOURCES: Mapping[str, str] = MappingProxyType({})


class Checker:
    """Checks the rows of one table."""

    def __init__(self, source: str, spec: PromptSpec, *, one_header: bool) -> None:
        """`one_header`: every row has the same columns, so a missing one is told before the rows are read."""
        self.source, self.spec, self.model, self.one_header = source, spec, spec.model, one_header
        self.template = spec.parsed_template()
        self.prompt_column = spec.prompt_column
        self.filter = spec.row_filter
        # What is named as the id or the prompt is that, also when a model's input has the same name.
        former = spec.move.former_inputs if spec.move else frozenset()
        self.inputs = (self.model.input_names | former) - {"prompt", spec.prompt_column, spec.id_column}
        self.main_reference = self.model.main_reference or ""
        if spec.image_columns:
            self.inputs -= {self.main_reference}
        self.image_columns = spec.image_columns or (self.main_reference,)
        self.holding_images = {*self.image_columns, *self.model.reference_inputs}
        self.problems = Problems(source)
        self.ids = RowIds()
        self.overrides: dict[tuple[tuple[str, str], ...], dict[str, Json]] = {}
        self.same: dict[str, Json] | None = None  # the arguments of all rows, where no row has any of its own
        self.columns: set[str] = set()
        self.taken = 0
        self.overriding: list[str] = []
        self.used: frozenset[str | None] = frozenset()
        self.embedding: set[str] = set()

    def batches(self, chunks: Iterable[Chunk]) -> Iterator[RowBatch]:
        """Every valid row; the others become problems."""
        for chunk in chunks:
            batch = self.plain(chunk) if isinstance(chunk, Columns) else None
            if batch is not None:
                yield batch
                continue
            rows = self.rows(chunk.lines() if isinstance(chunk, Columns) else chunk)
            while some := list(islice(rows, BATCH)):
                yield self.ids.named(some)
            if self.taken == self.spec.limit:
                return

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

    def rows(self, items: Iterable[Line | RowProblem]) -> Iterator[Unnamed]:
        """Every valid row, without its id where that is to be derived; the others become problems."""
        for item in items:
            if isinstance(item, RowProblem):
                self.problems.report(item.line, item.column, item.reason)
                continue
            line, cells = item
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
        """Raise what was found."""
        if not self.columns and not self.problems.count:
            msg = f"{self.source} has no rows"
            raise TableError(msg)
        if self.columns:
            self.demand_columns()
        self.problems.finish()

    def meet(self, columns: set[str]) -> None:
        """Look at columns that were not there before."""
        for name in sorted(columns - self.columns):
            reason = unsendable(name)
            if reason is not None:
                msg = f"{self.source}: the column name {name!r}: {reason}"
                raise TableError(msg)
        self.columns |= columns
        if self.template is None and self.prompt_column is None:
            self.prompt_column = self.column_named_prompt()
        self.overriding = sorted(self.inputs & self.columns)
        # References stay among the carried columns: the arguments know them by their content only.
        overrides = {name for name in self.inputs if not holds_images(name)}
        self.used = frozenset(overrides | {self.prompt_column, self.spec.id_column})
        self.embedding = self.holding_images & self.columns - self.used
        if self.one_header:
            self.demand_columns()

    def column_named_prompt(self) -> str | None:
        """The column `prompt`; or else the one of that name in other letters."""
        found = sorted(column for column in self.columns if column.lower() == "prompt")
        if "prompt" not in found and len(found) > 1:
            msg = f"{self.source} has the columns {', '.join(found)}: say which is the prompt column"
            raise TableError(msg)
        return "prompt" if "prompt" in found else next(iter(found), None)

    def demand_columns(self) -> None:
        """Every column that the spec names must be there."""
        has = ", ".join(sorted(self.columns))
        if self.template is None and self.prompt_column is None:
            msg = f"{self.source} has no column named prompt: name the prompt column, or give a template. It has {has}"
            raise TableError(msg)
        named = [("prompt column", self.prompt_column), ("id column", self.spec.id_column)]
        named += [("template's column", name) for name in (self.template.columns if self.template else ())]
        named += [("image column", name) for name in self.spec.image_columns]
        named += [("partition's column", name) for name in (self.filter.columns if self.filter else ())]
        for what, name in named:
            if name is not None and name not in self.columns:
                msg = f"{self.source} has no column {name!r} (the {what}); it has {has}"
                raise TableError(msg)

    def is_wanted(self, partition: RowFilter, line: int, cells: Mapping[str, object]) -> bool:
        """Whether a row belongs to the partition. The others are not looked at any further."""
        try:
            return partition.keeps(cells)
        except CellError as error:
            self.problems.report(line, error.column, error.reason)
            return False

    def row(self, line: int, cells: Mapping[str, object]) -> Unnamed | None:
        """One row, or None with all its problems reported."""
        before = self.problems.count
        prompt = self.prompt(line, cells)
        arguments = self.arguments(line, cells) if self.same is None else self.same
        row_id = None if self.spec.id_column is None else self.given_id(line, cells)
        columns = self.carried(line, cells)
        sources = NO_SOURCES
        if arguments and arguments is not self.same and not self.holding_images.isdisjoint(arguments):
            arguments = dict(arguments)
            sources = self.resolved(line, arguments)
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

    def arguments(self, line: int, cells: Mapping[str, object]) -> dict[str, Json] | None:
        """The row's model inputs. Each distinct set is checked once, and is one object for all rows that have it.

        None with their problems reported.
        """
        given = {name: cells[name] for name in self.overriding if not is_missing(cells.get(name))}
        if self.spec.image_columns:
            given |= self.images(cells)
        if self.spec.move is not None:
            given = self.spec.move.row(given)
        key = tuple((name, repr(value)) for name, value in given.items())  # by repr: 1 == True, and only one is valid
        found = self.overrides.get(key)
        if found is None:
            try:
                together = {**self.spec.arguments, **given}
                found = self.model.check(together, without_guarantee=self.spec.without_guarantee)
                self.model.demand_required(found)
            except ArgumentsError as error:
                self.blame(line, given, error)
                return None
            if len(self.overrides) < CACHED_OVERRIDES:
                self.overrides[key] = found
        if self.one_header and not self.has_own_arguments and self.holding_images.isdisjoint(found):
            self.same = found
        return found

    @property
    def has_own_arguments(self) -> bool:
        """Whether rows can have model inputs of their own."""
        return bool(self.overriding or self.spec.image_columns)

    def images(self, cells: Mapping[str, object]) -> dict[str, object]:
        """The reference images of the image columns, in their order; a cell may hold one or a list of them."""
        found: list[object] = []
        for column in self.image_columns:
            cell = cells.get(column)
            if not is_missing(cell):
                found += cell if isinstance(cell, list | tuple) else [cell]
        one = len(found) == 1 and not self.main_reference.endswith("s")  # fal's inputs for one image: `image_url`
        return {self.main_reference: found[0] if one else found} if found else {}

    def resolved(self, line: int, arguments: dict[str, Json]) -> dict[str, str]:
        """Put what each reference is known by in its place; returns where their bytes are, by `sha256:<hex>`."""
        sources: dict[str, str] = {}
        for name in self.model.reference_inputs:
            value = arguments.get(name)
            texts = value if isinstance(value, list) else [value] if isinstance(value, str) else []
            tokens = [self.token(line, name, str(text), sources) for text in texts]
            if isinstance(value, list):
                arguments[name] = list(tokens)
            elif tokens:
                arguments[name] = tokens[0]
        return sources

    def token(self, line: int, name: str, text: str, sources: dict[str, str]) -> str:
        """What a reference is known by; a wrong one is reported."""
        try:
            found = self.spec.references.resolve(text)
        except ImageReferenceError as error:
            column = self.image_columns[0] if name == self.main_reference and len(self.image_columns) == 1 else name
            self.problems.report(line, column, f"{text[:200]!r}: {error}")
            return text
        if found.source:
            sources[found.token] = found.source
        return found.token

    def blame(self, line: int, given: Mapping[str, object], error: ArgumentsError) -> None:
        """Report wrong overrides in the columns that hold them; a clash with a default, in the column that clashes."""
        for name, reason in error.problems:
            column, what = (name, reason) if name in given else (next(iter(given), None), f"{name}: {reason}")
            self.problems.report(line, column, f"{what} (the column is taken for fal's input of this name)")

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
        first = self.ids.first_line(row_id, line)
        return None if first == line else f"the id {row_id[:80]!r} stands on line {first} already"

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
            value = columns[name] = json_of(cell)
            reason = unsendable(value)
            if reason is not None:  # the image table could not be written, once the images are paid for
                self.problems.report(line, name, reason)
        for name in self.embedding:
            if ";base64," in str(columns.get(name)):
                del columns[name]
        return columns
