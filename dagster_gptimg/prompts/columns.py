"""The role of each column of a table: the prompt, the id, an input of the model, or carried along."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagster_gptimg.errors import TableError
from dagster_gptimg.prompts.cell_values import unsendable
from dagster_gptimg.prompts.quoting import listed, meant, quoted
from dagster_gptimg.prompts.spec import folded

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from dagster_gptimg.prompts.row_inputs import RowInputs
    from dagster_gptimg.prompts.spec import PromptSpec


class TableColumns:
    """The columns of one table, as far as rows or headers have shown them.

    Attributes:
        met: all of them.
        prompt: the one that holds the prompt; None for a template, or while it is not known.
        used: those that have become something else: the prompt, the id, a model's input.
        embedding: those that are carried along, and may hold reference images as data URIs.
    """

    def __init__(self, spec: PromptSpec, source: str, inputs: RowInputs) -> None:
        """`source`: the table, as messages call it; `inputs` is told which columns hold one."""
        self._spec, self._source, self._inputs = spec, source, inputs
        self._template, self._filter = spec.parsed_template(), spec.row_filter
        self.met: set[str] = set()
        self.prompt = spec.prompt_column
        self.used: frozenset[str | None] = frozenset()
        self.embedding: set[str] = set()

    def meet(self, columns: set[str]) -> None:
        """Look at columns that were not there before. Raises `TableError`."""
        for name in sorted(columns - self.met):
            reason = unsendable(name)
            if reason is not None:
                raise TableError(f"{self._source}: the column name {quoted(name)}: {reason}")
        self.met |= columns
        spec = self._spec
        if self._template is None and self.prompt is None and spec.model.takes_prompt:
            self.prompt = column_named_prompt(self.met, self._source)
        others = self.met - {self.prompt, spec.id_column, *spec.image_columns}
        mine = others if spec.inputs is None else others.intersection(spec.inputs)
        self._inputs.take(input_columns(mine, self._inputs.names, self._inputs.taken, self._source))
        # References stay among the carried columns: the arguments have only their content hash.
        held = {column for column in self._inputs.taken if column not in self._inputs.image_columns}
        self.used = frozenset(held | {self.prompt, spec.id_column})
        self.embedding = set(self._inputs.image_columns) & self.met - self.used
        spec.seen.prompt = self.prompt
        spec.seen.inputs = dict(self._inputs.taken)
        spec.seen.carried = sorted(self.met - self.used - self._inputs.taken.keys())

    def demand(self, columns: Collection[str], source: str) -> None:
        """Make sure that every column that the spec names is there. Raises `TableError`."""
        has = f"it has {listed(sorted(columns))}"
        if not columns:
            return
        if self._template is None and self.prompt is None and self._spec.model.needs_prompt:
            msg = f"{source} has no column named prompt: name the prompt column, or give a template. It has {has[7:]}"
            raise TableError(msg)
        self._demand_image(source, has)
        named = [("prompt column", self.prompt), ("id column", self._spec.id_column)]
        named += [("template's column", name) for name in (self._template.columns if self._template else ())]
        named += [("image column", name) for name in self._spec.image_columns]
        named += [("partition's column", name) for name in (self._filter.columns if self._filter else ())]
        named += [("input's column", name) for name in self._spec.inputs or ()]
        for what, name in named:
            if name is not None and name not in columns:
                raise TableError(f"{source} has no column {quoted(name)} (the {what}); {has}{meant(name, columns)}")

    def _demand_image(self, source: str, has: str) -> None:
        """Make sure that a table for a model that works on an image alone has a column of images."""
        model, name = self._spec.model, self._spec.model.main_reference
        if model.needs_prompt or name is None or name in self._spec.arguments or self._inputs.image_columns:
            return
        raise TableError(
            f"{source} has no column of images, and {model.name} works on an image: name the image column "
            f"(image_columns, --image-column), or call it {name}. It has {has[7:]}"
        )


def column_named_prompt(columns: Iterable[str], source: str) -> str | None:
    """Return the column `prompt`, or the only one whose normalized name is `prompt`.

    Raises:
        TableError: several columns have that normalized name.
    """
    found = sorted(column for column in columns if folded(column) == "prompt")
    if "prompt" not in found and len(found) > 1:
        raise TableError(f"{source} has the columns {listed(found)}: name the prompt column")
    return "prompt" if "prompt" in found else next(iter(found), None)


def input_columns(
    columns: Iterable[str], inputs: Collection[str], taken: Mapping[str, str], source: str
) -> dict[str, str]:
    """Return the columns that are used as inputs, with the inputs' names; an exact name is preferred.

    Args:
        columns: the columns that may be inputs.
        inputs: the names of inputs.
        taken: the result for earlier rows, if the rows have different columns.
        source: the table's name for messages.

    Raises:
        TableError: several columns match one input.
    """
    meaning: dict[str, list[str]] = {}
    for column in sorted(columns):
        name = column if column in inputs else folded(column)
        if name in inputs:
            meaning.setdefault(name, []).append(column)
    found: dict[str, str] = {}
    for name, several in sorted(meaning.items()):
        column = name if name in several else several[0]
        before = next((other for other, input_ in taken.items() if input_ == name), column)
        if (column != name and len(several) > 1) or before != column:
            words = f"all match the input {name}: rename all but one, or name the column with inputs="
            raise TableError(f"{source}: the columns {listed(several)} {words}")
        found[column] = name
    return found
