"""The class of a validated row, the settings by which a table becomes rows, and the roles its columns were seen in."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from types import MappingProxyType
from typing import Any, NamedTuple

from dagster_gptimg.errors import UsageError
from dagster_gptimg.fal.registry.model import FalModel
from dagster_gptimg.fal.types import Json
from dagster_gptimg.prompts.model_change import Move
from dagster_gptimg.prompts.partition_keys import ByValue, OnePartition, RowFilter
from dagster_gptimg.prompts.quoting import listed, meant, quoted
from dagster_gptimg.prompts.references import References
from dagster_gptimg.prompts.template import Template

NONE = "none"
"""Value of `inputs` that means "no column is an input"."""

_GAPS = re.compile(r"[\s_-]+")
_NEAR = 0.85


class PromptRow(NamedTuple):
    """One validated row.

    Attributes:
        row_id: unique in its table; untrusted, never used in paths.
        prompt: the text that will be sent; empty for a row without one, where the model works on an image alone.
        arguments: the model's inputs for this row, without the prompt; `num_images` is the row's number of images. One
            object is shared by all rows with equal arguments.
        columns: the row's other columns, as JSON values.
        references: by `sha256:<hex>`, the location of each image that the arguments identify by its content.
        line: 1-based line number in a text file, 1-based row number elsewhere.
    """

    row_id: str
    prompt: str
    arguments: Mapping[str, Json]
    columns: Mapping[str, Json]
    line: int
    references: Mapping[str, str] = MappingProxyType({})


@dataclass
class Seen:
    """The roles of a table's columns, as far as the table was read; for plans and logs.

    Attributes:
        prompt: the column that holds the prompt; None if a template makes it.
        inputs: the columns that are inputs of the model, with the inputs' names.
        carried: the columns that are only carried along. (Those of reference images are inputs, and carried, too.)
        warning: a message if the requested partition has no row; else empty.
    """

    prompt: str | None = None
    inputs: dict[str, str] = field(default_factory=dict)
    carried: list[str] = field(default_factory=list)
    warning: str = ""

    def sentence(self, input_names: Collection[str] = ()) -> str:
        """Return one line for people, empty if there is nothing to report; similar names are pointed out."""
        if not self.inputs and not self.carried:
            return ""
        as_inputs = [
            quoted(column) if column == name else f"{quoted(column)} (as {name})"
            for column, name in self.inputs.items()
        ]
        # A column with the name of an input was left aside on purpose: by `inputs`, or the prompt comes from elsewhere.
        others = [name for name in self.carried if name not in input_names]
        candidates = [name for name in input_names if name != "prompt"]
        near = {name: difflib.get_close_matches(folded(name)[:80], candidates, 1, _NEAR) for name in others[:50]}
        hints = [
            f"; {quoted(name)} is not used as the input {found[0]}: rename the column if it should be"
            for name, found in near.items()
            if found
        ]
        parts = [f"inputs {', '.join(as_inputs) or NONE}", f"carried along {listed(self.carried) or NONE}"]
        return f"columns: {'; '.join(parts)}{''.join(hints)}"


@dataclass(frozen=True)
class PromptSpec:
    """How a table becomes prompts. Checked when it is made, so that a typo costs no run.

    Attributes:
        model: whose inputs the arguments and the override columns are.
        prompt_column: the column that holds the prompt; a column named `prompt` if neither this nor `template` is
            given. A model that works on an image alone needs none.
        template: a prompt with `{column}` fields.
        id_column: the column that holds the row's id; derived from the content otherwise.
        arguments: model inputs for all rows; a column of an input's name overrides them for its row.
        inputs: the columns that are inputs of the model, or `none`; by default each that has the name of one, also with
            blanks around it or in other letters.
        where: only these rows are read: a partition's, or those with (column, value as text).
        image_columns: the columns that hold an edit's reference images, in this order; a column named `image_urls`
            otherwise.
        references: reads them; what a row may name is decided there.
        limit: maximum number of rows (of the partition), the first ones; 1 or more.
        is_first: whether the dataset has no image table of this partition yet: then the partition must have a row, for
            its value may be misspelt, and its image table would be a table of nothing for ever.
        without_guarantee: let `sync_mode` through (docs/fal.md).
        seen: takes down what became of the columns.
        chosen: why the model was chosen by default; empty if the user named it.
        given: the arguments as they were given, before the model has read them.
        move: leaves out, and notes, what another model took and this one does not; for plans only.

    Raises:
        UsageError: template or options are wrong. ArgumentsError: an argument is.
    """

    model: FalModel
    _: KW_ONLY
    prompt_column: str | None = None
    template: str | None = None
    id_column: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    inputs: Sequence[str] | str | None = None
    where: tuple[str, str] | RowFilter | None = None
    limit: int | None = None
    image_columns: tuple[str, ...] = ()
    references: References = field(default_factory=References, compare=False, repr=False)
    is_first: bool = field(default=False, compare=False)
    without_guarantee: bool = False
    seen: Seen = field(default_factory=Seen, compare=False, repr=False)
    move: Move | None = field(default=None, compare=False, repr=False)
    chosen: str = field(default="", compare=False)
    given: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.template is not None and self.prompt_column is not None:
            msg = "give a template or a prompt column, not both"
            raise UsageError(msg)
        if not self.model.takes_prompt and (self.template is not None or self.prompt_column is not None):
            what = "a template" if self.template is not None else "a prompt column"
            msg = f"{self.model.name} takes no prompt, but {what} is given: leave it out"
            raise UsageError(msg)
        if "prompt" in self.arguments:
            msg = "the prompt cannot be an argument of all rows: give a prompt column or a template"
            raise UsageError(msg)
        if self.image_columns and not self.model.reference_inputs:
            msg = f"image columns are given, but {self.model.name} takes no reference images"
            raise UsageError(msg)
        if isinstance(self.where, tuple) and not self.where[1].strip():
            msg = f"the partition by {quoted(self.where[0])} has no value: name the value of its rows"
            raise UsageError(msg)
        if self.limit is not None and self.limit < 1:
            msg = f"limit is {self.limit}: it must be 1 or more, or left out"
            raise UsageError(msg)
        object.__setattr__(self, "inputs", inputs_of(self.inputs))
        check_inputs(self.inputs or (), self.known_inputs, self.model.name)
        if self.given is None:
            object.__setattr__(self, "given", dict(self.arguments))
        arguments = self.arguments if self.move is None else self.move.arguments(self.arguments)
        object.__setattr__(self, "arguments", self.model.check(arguments, without_guarantee=self.without_guarantee))
        self.parsed_template()

    def with_model(self, model: FalModel, *, chosen: str = "", move: Move | None = None) -> PromptSpec:
        """The spec for another model, which reads the arguments anew, as they were given.

        Args:
            model: the other model.
            chosen: why it is this one, where nobody said it.
            move: leaves out, and notes, what the former model took and this one does not; for plans only.

        Raises:
            UsageError: the model does not take the arguments.
        """
        return replace(self, model=model, arguments=self.given or {}, given=None, chosen=chosen, move=move)

    def parsed_template(self) -> Template | None:
        """The parsed template; None if a column holds the prompt."""
        return None if self.template is None else Template(self.template)

    @property
    def known_inputs(self) -> frozenset[str]:
        """The input names that a column may have: the model's, and those of the models that a table is moved from."""
        return self.model.input_names | (self.move.former_inputs if self.move else frozenset())

    @property
    def about(self) -> str:
        """The settings common to all rows as JSON: model, template (or prompt column) and arguments."""
        about: list[object] = [
            self.model.endpoint,
            self.template or self.prompt_column,
            dict(self.arguments),
            self.model.key_digest,
        ]
        about += [] if self.inputs is None else [list(self.inputs)]
        return json.dumps(about, sort_keys=True)

    @property
    def recipe(self) -> str:
        """A digest of `about`."""
        return hashlib.sha256(self.about.encode()).hexdigest()[:32]

    @property
    def row_filter(self) -> RowFilter | None:
        """The filter for the rows that are read; None for all rows."""
        return OnePartition(ByValue(self.where[0]), self.where[1]) if isinstance(self.where, tuple) else self.where


def folded(name: str) -> str:
    """Normalize a column's name: ` Image Size` becomes `image_size`."""
    return _GAPS.sub("_", unicodedata.normalize("NFKC", name).strip().lower())


def inputs_of(given: Sequence[str] | str | None) -> tuple[str, ...] | None:
    """Return the columns that a user has named as inputs of the model; None: the columns that are called like an input.

    Raises:
        UsageError: the value is a text other than `none`.
    """
    if given is None:
        return None
    if isinstance(given, str):
        if given.strip().lower() == NONE:
            return ()
        raise UsageError(f"inputs must be a list of columns or {NONE!r}, not the text {quoted(given)}")
    return tuple(map(str, given))


def check_inputs(inputs: Iterable[str], known: Collection[str], model: str) -> None:
    """Raise `UsageError` if a named column cannot be an input."""
    for name in inputs:
        if folded(name) not in known or folded(name) == "prompt":
            hint = meant(name, known) or f"; it has {', '.join(sorted(known))}"
            raise UsageError(f"inputs: {model} has no input {quoted(name)}{hint}")
