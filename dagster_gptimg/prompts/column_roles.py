"""The role of each column of a table: the prompt, the id, an input of the model, or carried along."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from dagster_gptimg.errors import TableError, UsageError
from dagster_gptimg.prompts.quoting import listed, meant, quoted

NONE = "none"
"""Value of `inputs` that means "no column is an input"."""

_GAPS = re.compile(r"[\s_-]+")
_NEAR = 0.85


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
