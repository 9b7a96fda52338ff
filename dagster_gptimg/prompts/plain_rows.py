"""Rows that are checked in columns, together. A row for which that is not enough is checked by itself (`checker.py`).

Most rows of a large table are plain: texts in every column that is looked at, an id of their own, inputs that other
rows have, too. Checking a million of them one by one takes three times as long.
"""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Any

from dagster_gptimg.fal.registry.model import is_missing
from dagster_gptimg.prompts.cell_values import json_objects, text_of, unsendable
from dagster_gptimg.prompts.row_batch import RowBatch
from dagster_gptimg.prompts.row_inputs import NO_SOURCES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dagster_gptimg.fal.types import Json
    from dagster_gptimg.prompts.columns import TableColumns
    from dagster_gptimg.prompts.readers.chunks import Items, Line
    from dagster_gptimg.prompts.row_ids import RowIds
    from dagster_gptimg.prompts.row_inputs import RowInputs
    from dagster_gptimg.prompts.spec import PromptSpec

CACHED = 4096
LONGEST_ID = 512
_HASHED = ({str}, {type(None)}, {str, type(None)}, {int}, {int, type(None)})
"""Types of a column's cells of which equal ones are the same input."""


class PlainRows:
    """Makes batches of rows of one table, where all rows of a chunk are plain.

    Attributes:
        is_possible: whether there may be such rows, by the settings.
    """

    def __init__(self, spec: PromptSpec, columns: TableColumns, inputs: RowInputs, ids: RowIds) -> None:
        """`columns`, `inputs` and `ids` are those of the checker."""
        self._spec, self._model, self._columns, self._inputs, self._ids = spec, spec.model, columns, inputs, ids
        self._template = spec.parsed_template()
        self._known: dict[tuple[tuple[str, ...], tuple[object, ...]], Mapping[str, Json] | None] = {}
        self.is_possible = not (spec.limit or spec.row_filter or spec.image_columns or spec.move)

    def batch(
        self, cells: Mapping[str, list[Any]], lines: Sequence[int], before: int, same: Mapping[str, Json] | None
    ) -> RowBatch | None:
        """Return the rows; None if one of them has to be looked at by itself: then nothing is kept of them.

        Args:
            cells: of the rows, by column.
            lines: where each row stands in its file, from 1.
            before: number of lines of the files before that one.
            same: the inputs that each row has, where none has any of its own.
        """
        if not self.is_possible or self._columns.embedding or not lines or not self._columns.met.issuperset(cells):
            return None
        prompts = self._prompts(cells)
        if prompts is None or not self._model.takes_prompts(prompts) or unsendable("".join(prompts)) is not None:
            return None
        arguments = [same] * len(lines) if same is not None else self._arguments(cells, len(lines))
        carried = {name: some for name, some in cells.items() if name not in self._columns.used}
        columns = json_objects(carried) if carried else ["{}"] * len(lines)
        if arguments is None or columns is None:
            return None
        row_ids = self._row_ids(cells, lines, before, prompts, arguments)
        return (
            None
            if row_ids is None
            else RowBatch(row_ids, prompts, arguments, columns, lines, [NO_SOURCES] * len(lines))
        )

    def _prompts(self, cells: Mapping[str, list[Any]]) -> Sequence[str] | None:
        if self._template is None:
            return None if self._columns.prompt is None else cells.get(self._columns.prompt)
        texts = {name: _texts(cells.get(name)) for name in self._template.columns}
        return None if None in texts.values() else self._template.fill_all(texts)  # type: ignore[arg-type]

    def _arguments(self, cells: Mapping[str, list[Any]], count: int) -> list[Mapping[str, Json]] | None:
        """Return the inputs of rows that have their own; None if one of them has to be looked at by itself."""
        if not self._inputs.are_plain:
            return None
        taken = tuple(column for column in self._inputs.taken if column in cells)
        if not all(set(map(type, cells[column])) in _HASHED for column in taken):
            return None
        found: list[Mapping[str, Json]] = []
        for values in zip(*(cells[column] for column in taken), strict=True) if taken else repeat((), count):
            about = taken, values  # another file's rows may have the same values in other columns
            if about not in self._known:
                if len(self._known) >= CACHED:
                    self._known.clear()
                self._known[about] = self._inputs.checked(dict(zip(taken, values, strict=True)))
            arguments = self._known[about]
            if arguments is None:
                return None
            found.append(arguments)
        return found

    def _row_ids(
        self,
        cells: Mapping[str, list[Any]],
        lines: Sequence[int],
        before: int,
        prompts: Sequence[str],
        arguments: Sequence[Mapping[str, Json]],
    ) -> Sequence[str] | None:
        if self._spec.id_column is None:
            return self._ids.derived(prompts, arguments)
        found = _texts(cells.get(self._spec.id_column))
        if found is None or max(map(len, found)) > LONGEST_ID or unsendable("".join(found)) is not None:
            return None
        return found if self._ids.are_new(found, [before + line for line in lines]) else None


def in_columns(items: Items, most: int) -> Iterator[tuple[Sequence[int], dict[str, list[Any]]] | list[Any]]:
    """Yield rows that follow one another and have the same columns: their lines and cells; anything else in lists."""
    rows: list[Line] = []
    names: tuple[str, ...] = ()
    for item in items:
        is_row = isinstance(item, tuple) and bool(item[1])
        if rows and not (is_row and len(rows) < most and tuple(item[1]) == names):  # type: ignore[index]
            yield _columns(rows, names)
            rows = []
        if is_row:
            names = names if rows else tuple(item[1])  # type: ignore[index]
            rows.append(item)  # type: ignore[arg-type]
        else:
            yield [item]
    if rows:
        yield _columns(rows, names)


def _columns(rows: Sequence[Line], names: Sequence[str]) -> tuple[Sequence[int], dict[str, list[Any]]]:
    cells = [list(column) for column in zip(*(row.values() for _, row in rows), strict=True)]
    return [line for line, _ in rows], dict(zip(names, cells, strict=True))


def _texts(cells: Sequence[Any] | None) -> Sequence[str] | None:
    """Return the texts of a column without empty cells; None if a cell is empty, or has no text."""
    if cells is None:
        return None
    if set(map(type, cells)) == {str}:
        return cells if all(map(str.strip, cells)) else None
    if any(map(is_missing, cells)):
        return None
    try:
        return list(map(text_of, cells))
    except TypeError:
        return None
