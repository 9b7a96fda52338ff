"""From a table's rows to checked prompt rows: every bad row is reported at once, before a cent is spent."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import rfc8785

from dagster_gptimg.errors import ArgumentsError, RowProblem, TableError, UsageError
from dagster_gptimg.fal.models import FalModel, is_missing
from dagster_gptimg.fal.types import Json
from dagster_gptimg.prompts import sources
from dagster_gptimg.prompts.sources import Source
from dagster_gptimg.prompts.template import Template
from dagster_gptimg.prompts.values import json_of, not_utf8, text_of

BATCH = 1024
KEPT_PROBLEMS = 10_000
SHOWN_PROBLEMS = 20
CACHED_OVERRIDES = 4096
LONGEST_ID = 512


@dataclass(frozen=True, slots=True)
class PromptRow:
    """One checked row.

    Attributes:
        row_id: unique in its table; data, never a path.
        prompt: as it will be sent.
        arguments: the model's inputs for this row, without the prompt; `num_images` is the row's number of images.
        columns: everything else that the row has, as JSON values.
        line: 1-based line in a text file, 1-based row number elsewhere.
    """

    row_id: str
    prompt: str
    arguments: dict[str, Json]
    columns: dict[str, Json]
    line: int


@dataclass(frozen=True)
class PromptSpec:
    """How a table becomes prompts. Checked when it is made, so that a typo costs no run.

    Attributes:
        model: whose inputs the arguments and the override columns are.
        prompt_column: the column that holds the prompt; a column named `prompt` if neither this nor `template` is
        given.
        template: a prompt with `{column}` fields.
        id_column: the column that holds the row's id; derived from the content otherwise.
        arguments: model inputs for all rows; a column of an input's name overrides them for its row.
        where: (column, value as text): only these rows are read; a partition.
        limit: only the first so many rows.

    Raises:
        UsageError: template or options are wrong. ArgumentsError: an argument is.
    """

    model: FalModel
    prompt_column: str | None = None
    template: str | None = None
    id_column: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    where: tuple[str, str] | None = None
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.template is not None and self.prompt_column is not None:
            msg = "give a template or a prompt column, not both"
            raise UsageError(msg)
        if "prompt" in self.arguments:
            msg = "the prompt is no argument for all rows: give a prompt column or a template"
            raise UsageError(msg)
        object.__setattr__(self, "arguments", self.model.check(self.arguments))
        self.parsed_template()

    def parsed_template(self) -> Template | None:
        """The template, parsed; None when a column holds the prompt."""
        return None if self.template is None else Template(self.template)


def read_rows(
    source: Source, spec: PromptSpec, storage_options: Mapping[str, Any] | None = None
) -> Iterator[list[PromptRow]]:
    """The checked rows of a table, in batches.

    Nothing may be done with them before this is exhausted: what is wrong is only known then.

    Args:
        source: any fsspec URL (.csv .tsv .jsonl .parquet), anything with `__arrow_c_stream__`, or mappings.
        spec: how rows become prompts.
        storage_options: passed to fsspec.

    Raises:
        TableError: the table cannot be read, or any row is invalid; it has all problems.
    """
    checker = _Checker(sources.name_of(source), spec)
    rows = checker.rows(sources.read(source, storage_options))
    while batch := list(islice(rows, BATCH)):
        yield batch
    checker.finish()


class _Checker:
    """Checks the rows of one table."""

    def __init__(self, source: str, spec: PromptSpec) -> None:
        self.source, self.spec, self.model = source, spec, spec.model
        self.template = spec.parsed_template()
        self.inputs = self.model.input_names - {"prompt"}
        self.problems: list[RowProblem] = []
        self.bad = 0
        self.ids: dict[bytes, int] = {}
        self.overrides: dict[tuple[object, ...], dict[str, Json]] = {}
        self.prompt_column = spec.prompt_column
        self.columns: set[str] | None = None

    def rows(self, items: Iterator[Any]) -> Iterator[PromptRow]:
        """Every valid row; the others become problems."""
        taken = 0
        for item in items:
            if taken == self.spec.limit:
                return
            if isinstance(item, RowProblem):
                self.report(item.line, item.column, item.reason)
                continue
            line, cells = item
            if self.columns is None or not self.columns.issuperset(cells):
                self.meet(set(cells))
            if self.is_wanted(cells):
                taken += 1
                row = self.row(line, cells)
                if row is not None:
                    yield row

    def finish(self) -> None:
        """Raise what was found."""
        if self.columns is None and not self.bad:
            msg = f"{self.source} has no rows"
            raise TableError(msg)
        if self.bad:
            shown = "".join(f"\n  {problem}" for problem in self.problems[:SHOWN_PROBLEMS])
            more = f"\n  and {self.bad - SHOWN_PROBLEMS} more" if self.bad > SHOWN_PROBLEMS else ""
            what = "1 row is" if self.bad == 1 else f"{self.bad} rows are"
            msg = f"{what} invalid in {self.source}; nothing was sent:{shown}{more}"
            raise TableError(msg, self.problems)

    def report(self, line: int, column: str | None, reason: str) -> None:
        """Note what is wrong with a row."""
        self.bad += 1
        if len(self.problems) < KEPT_PROBLEMS:
            self.problems.append(RowProblem(self.source, line, column, reason))

    def meet(self, columns: set[str]) -> None:
        """Look at the table's columns: the ones that the spec names must be there."""
        self.columns = (self.columns or set()) | columns
        if self.template is None and self.prompt_column is None:
            self.prompt_column = next((c for c in sorted(columns) if c.lower() == "prompt"), None)
            if self.prompt_column is None:
                raise TableError(
                    f"{self.source} has no column named prompt: name the prompt column, or give a template."
                    f" It has {_listed(columns)}"
                )
        named = {"prompt column": self.prompt_column, "id column": self.spec.id_column}
        wanted = [(what, name) for what, name in named.items() if name is not None]
        wanted += [("template's column", name) for name in (self.template.columns if self.template else ())]
        wanted += [("partition's column", self.spec.where[0])] if self.spec.where else []
        for what, name in wanted:
            if name not in self.columns:
                raise TableError(f"{self.source} has no column {name!r} (the {what}); it has {_listed(columns)}")

    def is_wanted(self, cells: Mapping[str, object]) -> bool:
        """Whether a row belongs to the partition."""
        if self.spec.where is None:
            return True
        value = cells.get(self.spec.where[0])
        return not is_missing(value) and text_of(value) == self.spec.where[1]

    def row(self, line: int, cells: dict[str, object]) -> PromptRow | None:
        """One row, or None with its problems reported."""
        before = self.bad
        prompt, arguments = self.prompt(line, cells), self.arguments(line, cells)
        if prompt is None or arguments is None or self.bad > before:
            return None
        row_id = self.row_id(line, cells, prompt, arguments)
        columns = {name: json_of(value) for name, value in cells.items() if name not in self.used}
        if any(isinstance(value, str) and not_utf8(value) for value in columns.values()):
            columns = {name: _replaced(value) for name, value in columns.items()}
        return None if row_id is None else PromptRow(row_id, prompt, arguments, columns, line)

    @property
    def used(self) -> frozenset[str]:
        """Columns that have become something else: the prompt, the id, a model's input."""
        return self.inputs | {name for name in (self.prompt_column, self.spec.id_column) if name is not None}

    def prompt(self, line: int, cells: Mapping[str, object]) -> str | None:
        """The row's prompt, or None with its problem reported."""
        try:
            prompt = self.template.fill(cells) if self.template else self.cell(cells, str(self.prompt_column))
            _check_sendable(prompt)
            self.model.check({"prompt": prompt})
        except KeyError as error:
            self.report(line, str(error.args[0]), "the cell is empty")
        except ArgumentsError as error:
            self.report(line, self.prompt_column, "; ".join(reason for _, reason in error.problems))
        else:
            return prompt
        return None

    def cell(self, cells: Mapping[str, object], column: str) -> str:
        """A cell as text; KeyError when it is empty."""
        if is_missing(cells.get(column)):
            raise KeyError(column)
        return text_of(cells[column])

    def arguments(self, line: int, cells: Mapping[str, object]) -> dict[str, Json] | None:
        """The row's model inputs. Each distinct set of overrides is checked once, not each row's."""
        given = {name: cells[name] for name in sorted(self.inputs & cells.keys()) if not is_missing(cells[name])}
        key = tuple((name, type(value), text_of(value)) for name, value in given.items())
        found = self.overrides.get(key)
        if found is None:
            try:
                found = self.model.check({**self.spec.arguments, **given})
            except ArgumentsError as error:
                for name, reason in error.problems:
                    self.report(line, name, f"{reason} (the column is taken for fal's input of this name)")
                return None
            if len(self.overrides) < CACHED_OVERRIDES:
                self.overrides[key] = found
        return dict(found)

    def row_id(self, line: int, cells: Mapping[str, object], prompt: str, arguments: dict[str, Json]) -> str | None:
        """The row's id: its column's, or one derived from what the row asks for."""
        if self.spec.id_column is None:
            return self.derived_id(prompt, arguments)
        try:
            row_id = self.cell(cells, self.spec.id_column)
        except KeyError:
            self.report(line, self.spec.id_column, "the id is empty")
            return None
        if len(row_id) > LONGEST_ID or not_utf8(row_id):
            self.report(line, self.spec.id_column, f"an id is UTF-8 text of at most {LONGEST_ID} characters")
            return None
        first = self.ids.setdefault(_digest(row_id.encode()), line)
        if first != line:
            self.report(line, self.spec.id_column, f"the id {row_id[:80]!r} stands on line {first} already")
            return None
        return row_id

    def derived_id(self, prompt: str, arguments: dict[str, Json]) -> str:
        """The same content has the same id wherever it stands; the n-th equal row of a table gets `-n`."""
        content = hashlib.sha256(rfc8785.dumps({"prompt": prompt, **arguments})).digest()
        count = self.ids.get(content[:16], 0) + 1
        self.ids[content[:16]] = count
        return content.hex()[:16] if count == 1 else f"{content.hex()[:16]}-{count}"


def _check_sendable(prompt: str) -> None:
    """What is not UTF-8 cannot be sent; pydantic would only say that it is odd."""
    if not_utf8(prompt):
        raise ArgumentsError([("prompt", "it has bytes that are not UTF-8: save the table as UTF-8")])


def _digest(data: bytes) -> bytes:
    """16 bytes that stand for a longer text: a million ids are kept as these."""
    return hashlib.blake2b(data, digest_size=16).digest()


def _replaced(value: Json) -> Json:
    """Text that is carried along, but cannot be written as UTF-8, with its odd bytes marked."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _listed(columns: set[str]) -> str:
    return ", ".join(sorted(columns)) or "none"
