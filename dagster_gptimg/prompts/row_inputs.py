"""A row's model inputs: from its columns, validated, with the reference images that it names."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from dagster_gptimg.errors import ArgumentsError, ImageReferenceError
from dagster_gptimg.fal.registry.model import holds_images, is_missing
from dagster_gptimg.prompts import reference_cells
from dagster_gptimg.prompts.cell_values import UnusableError, json_of
from dagster_gptimg.prompts.quoting import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagster_gptimg.fal.types import Json
    from dagster_gptimg.prompts.problems import Problems
    from dagster_gptimg.prompts.references import Reference
    from dagster_gptimg.prompts.spec import PromptSpec

CACHED_OVERRIDES = 4096
NO_SOURCES: Mapping[str, Reference] = MappingProxyType({})
_LONGEST_REASON = 300
_WAY_OUT = (
    "(the column is used as fal's input of this name; if that is wrong, name the input columns: inputs=[...], or "
    "--inputs none)"
)


class RowInputs:
    """The model inputs of the rows of one table.

    Attributes:
        names: the inputs that columns may hold, unless the user has named the columns.
        taken: the columns that hold an input, with the input's name.
        image_columns: the columns that hold reference images of an edit.
    """

    def __init__(self, spec: PromptSpec, problems: Problems) -> None:
        self.spec, self.model, self.problems = spec, spec.model, problems
        # A column that is named as the id or the prompt is not an input, even if a model's input has the same name.
        self.names = spec.known_inputs - {"prompt", spec.prompt_column, spec.id_column}
        self.main_reference = self.model.main_reference or ""
        if spec.image_columns:
            self.names -= {self.main_reference}
        self.taken: dict[str, str] = {}
        self.image_columns: tuple[str, ...] = spec.image_columns
        self._known: dict[tuple[tuple[str, str], ...], dict[str, Json]] = {}
        self._images = frozenset(self.model.reference_inputs)

    def take(self, columns: dict[str, str]) -> None:
        """Set the columns that hold inputs, with the inputs' names."""
        self.taken = columns
        held = (column for column, name in columns.items() if holds_images(name))
        self.image_columns = (*self.spec.image_columns, *held)

    @property
    def are_by_row(self) -> bool:
        """Whether rows may have their own model inputs."""
        return bool(self.taken or self.spec.image_columns)

    @property
    def are_plain(self) -> bool:
        """Whether inputs of rows can be checked without their lines: no images are among them."""
        return self._images.isdisjoint({*self.taken.values(), *self.spec.arguments})

    def checked(self, cells: Mapping[str, object]) -> dict[str, Json] | None:
        """Return the inputs of a row with these cells, if `are_plain`; None if one is wrong, which is not reported."""
        given = {self.taken[column]: cell for column, cell in cells.items() if not is_missing(cell)}
        try:
            return self._checked(given)
        except (ArgumentsError, RecursionError):
            return None

    def of(self, line: int, cells: Mapping[str, object]) -> dict[str, Json] | None:
        """Return the row's model inputs. Each distinct set is validated once, and shared by all rows that have it.

        None if there are problems, which are reported.
        """
        given = self._given(line, cells)
        if given is None:
            return None
        try:
            return self._checked(given)
        except ArgumentsError as error:
            self._blame(line, given, error)
        except RecursionError:
            self._report(line, next(iter(given), None), "the value is nested too deep")
        return None

    def resolve(self, line: int, arguments: dict[str, Json]) -> tuple[dict[str, Json], Mapping[str, Reference]]:
        """Return the inputs with tokens in place of references, and those with a location of their own by token.

        An invalid reference is reported.
        """
        if self._images.isdisjoint(arguments):
            return arguments, NO_SOURCES
        found = dict(arguments)
        sources: dict[str, Reference] = {}
        for name in self.model.reference_inputs:
            value = found.get(name)
            if isinstance(value, list):
                found[name] = [self._token(line, name, str(text), sources) for text in value]
            elif isinstance(value, str):
                found[name] = self._token(line, name, value, sources)
        return found, sources

    def _given(self, line: int, cells: Mapping[str, object]) -> dict[str, object] | None:
        """Return the values of the row's input columns by input name.

        None if one cannot be parsed, which is reported.
        """
        given: dict[str, object] = {}
        before = self.problems.count
        for column, name in self.taken.items():
            value = cells.get(column)
            if is_missing(value):
                continue
            given[name] = self._references(line, column, name, value) if name in self._images else value
        if self.spec.image_columns:
            given |= self._main_references(line, cells)
        if self.problems.count > before:
            return None
        return given if self.spec.move is None else self.spec.move.row(given)

    def _main_references(self, line: int, cells: Mapping[str, object]) -> dict[str, object]:
        """Return the reference images of the image columns, in their order; a cell may hold one or several."""
        found: list[object] = []
        for column in self.spec.image_columns:
            cell = cells.get(column)
            if not is_missing(cell):
                several = self._split(line, column, cell)
                found += several if isinstance(several, list | tuple) else [several]
        one = len(found) == 1 and not _takes_several(self.main_reference)
        return {self.main_reference: found[0] if one else found} if found else {}

    def _references(self, line: int, column: str, name: str, value: object) -> object:
        several = self._split(line, column, value)
        if _takes_several(name) or not isinstance(several, list):
            return several
        if len(several) > 1:
            self.problems.report(line, column, f"the cell has {len(several)} references, but {name} takes one")
        return several[0] if several else None

    def _split(self, line: int, column: str, cell: object) -> object:
        if not isinstance(cell, str):
            return cell
        try:
            return reference_cells.split(cell, self.spec.references.has)
        except ValueError as error:
            self.problems.report(line, column, f"{quoted(cell)}: {error}")
            return cell

    def _checked(self, given: dict[str, object]) -> dict[str, Json]:
        key = tuple((name, _key(value)) for name, value in given.items())
        found = self._known.get(key)
        if found is None:
            together = {**self.spec.arguments, **given}
            found = self.model.check(together, without_guarantee=self.spec.without_guarantee)
            self.model.demand_required(found)
            if len(self._known) < CACHED_OVERRIDES:
                self._known[key] = found
        return found

    def _token(self, line: int, name: str, text: str, sources: dict[str, Reference]) -> str:
        """Return the token of a reference; an invalid one is reported."""
        try:
            found = self.spec.references.resolve(text)
        except ImageReferenceError as error:
            self._report(line, name, f"{quoted(text)}: {error}")
            return text
        if found.source:
            sources[found.token] = found
        return found.token

    def _blame(self, line: int, given: Mapping[str, object], error: ArgumentsError) -> None:
        """Report invalid inputs in their columns; a conflict with a default, in the column that conflicts."""
        for name, reason in error.problems:
            where, what = (name, reason) if name in given else (next(iter(given), None), f"{name}: {reason}")
            self._report(line, where, f"{what} {_WAY_OUT}" if self.taken else what)

    def _report(self, line: int, name: str | None, reason: str) -> None:
        """Report a problem of an input in the column that holds it."""
        column = next((column for column, input_ in self.taken.items() if input_ == name), name)
        if name == self.main_reference and len(self.spec.image_columns) == 1:
            column = self.spec.image_columns[0]
        short = reason if len(reason) <= _LONGEST_REASON else f"{reason[:_LONGEST_REASON]}..."
        self.problems.report(line, column, short)


def _takes_several(name: str) -> bool:
    """Return whether an input holds several images; names of inputs that hold one end in `image_url`."""
    return name.endswith("s")


def _key(value: Any) -> str:  # noqa: ANN401 - a cell
    """Return a key that distinguishes cells: `repr`, because 1 == True, but only one of them is valid."""
    try:
        return repr(value)
    except (RecursionError, ValueError):  # an int with too many digits for Python
        try:
            return repr(json_of(value))
        except UnusableError as error:
            raise ArgumentsError([("", str(error))]) from error
