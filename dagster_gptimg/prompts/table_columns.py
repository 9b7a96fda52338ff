"""The columns of one table: which of them is the prompt, which hold inputs, and which are carried along."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagster_gptimg.errors import TableError
from dagster_gptimg.prompts import column_roles
from dagster_gptimg.prompts.cell_values import unsendable
from dagster_gptimg.prompts.quoting import listed, meant, quoted

if TYPE_CHECKING:
    from collections.abc import Collection

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
        if self._template is None and self.prompt is None:
            self.prompt = column_roles.column_named_prompt(self.met, self._source)
        others = self.met - {self.prompt, spec.id_column, *spec.image_columns}
        mine = others if spec.inputs is None else others.intersection(spec.inputs)
        self._inputs.take(column_roles.input_columns(mine, self._inputs.names, self._inputs.taken, self._source))
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
        if self._template is None and self.prompt is None:
            msg = f"{source} has no column named prompt: name the prompt column, or give a template. It has {has[7:]}"
            raise TableError(msg)
        named = [("prompt column", self.prompt), ("id column", self._spec.id_column)]
        named += [("template's column", name) for name in (self._template.columns if self._template else ())]
        named += [("image column", name) for name in self._spec.image_columns]
        named += [("partition's column", name) for name in (self._filter.columns if self._filter else ())]
        named += [("input's column", name) for name in self._spec.inputs or ()]
        for what, name in named:
            if name is not None and name not in columns:
                raise TableError(f"{source} has no column {quoted(name)} (the {what}){meant(name, columns)}; {has}")
