"""What each column of a table is: the prompt, the id, an input of the model, or carried along."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from dagster_gptimg.errors import TableError, UsageError
from dagster_gptimg.prompts.quoting import listed, meant, quoted

NONE = "none"
"""The word for "no column is an input", where a list of columns is asked for."""

_GAPS = re.compile(r"[\s_-]+")
_NEAR = 0.85


def folded(name: str) -> str:
    """A column's name as people mean it: ` Image Size` is `image_size`."""
    return _GAPS.sub("_", unicodedata.normalize("NFKC", name).strip().lower())


def inputs_of(given: Sequence[str] | str | None) -> tuple[str, ...] | None:
    """The columns that are inputs of the model, as a user names them; None: those that have an input's name.

    Raises:
        UsageError: it is a text that is neither `none` nor anything that can be taken for a list.
    """
    if given is None:
        return None
    if isinstance(given, str):
        if given.strip().lower() == NONE:
            return ()
        raise UsageError(f"inputs takes a list of columns, or {NONE!r}, and not the text {quoted(given)}")
    return tuple(map(str, given))


def check_inputs(inputs: Iterable[str], known: Collection[str], model: str) -> None:
    """Make sure that every named column can be an input. Raises `UsageError`."""
    for name in inputs:
        if folded(name) not in known or folded(name) == "prompt":
            hint = meant(name, known) or f"; it has {', '.join(sorted(known))}"
            raise UsageError(f"inputs: {model} has no input {quoted(name)}{hint}")


@dataclass
class Seen:
    """What became of a table's columns, as far as it was read; for plans and logs.

    Attributes:
        prompt: the column that holds the prompt; None where a template makes it.
        inputs: the columns that are inputs of the model, with the inputs' names.
        carried: the columns that are only carried along. (Those of reference images are inputs, and carried, too.)
        warning: what somebody should know who asked for a partition that has no row; empty otherwise.
    """

    prompt: str | None = None
    inputs: dict[str, str] = field(default_factory=dict)
    carried: list[str] = field(default_factory=list)
    warning: str = ""

    def sentence(self, input_names: Collection[str] = ()) -> str:
        """One line for people, empty where there is nothing to say; what is nearly called so is pointed out."""
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
            f"; {quoted(name)} is not taken for {found[0]}: rename it if it is meant"
            for name, found in near.items()
            if found
        ]
        parts = [f"inputs {', '.join(as_inputs) or NONE}", f"carried along {listed(self.carried) or NONE}"]
        return f"columns: {'; '.join(parts)}{''.join(hints)}"


def column_named_prompt(columns: Iterable[str], source: str) -> str | None:
    """The column `prompt`; or else the one that means it.

    Raises:
        TableError: several mean it.
    """
    found = sorted(column for column in columns if folded(column) == "prompt")
    if "prompt" not in found and len(found) > 1:
        raise TableError(f"{source} has the columns {listed(found)}: say which is the prompt column")
    return "prompt" if "prompt" in found else next(iter(found), None)


def input_columns(
    columns: Iterable[str], inputs: Collection[str], taken: Mapping[str, str], source: str
) -> dict[str, str]:
    """The columns that are taken for inputs, with the inputs' names; one of exactly that name goes before others.

    Args:
        columns: those that may be inputs.
        inputs: the names of inputs.
        taken: what was found before, of rows that have some columns more each.
        source: the table, for messages.

    Raises:
        TableError: several columns mean one input.
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
            words = f"may each be meant for the input {name}: rename all but one, or say which is it (inputs=)"
            raise TableError(f"{source}: the columns {listed(several)} {words}")
        found[column] = name
    return found
