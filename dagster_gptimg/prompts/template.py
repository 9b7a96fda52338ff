"""Prompt templates: text with `{column}` fields, and nothing else. A field can never access an attribute."""

from __future__ import annotations

from itertools import repeat
from string import Formatter
from typing import TYPE_CHECKING

from dagster_gptimg.errors import UsageError
from dagster_gptimg.prompts.cell_values import cell_text
from dagster_gptimg.prompts.quoting import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


class Template:
    """A parsed template.

    Attributes:
        columns: the columns that it names, each once, in order.
    """

    def __init__(self, text: str, what: str = "prompt") -> None:
        """Parse a template.

        Args:
            text: the template.
            what: what a message calls that which is made of it.

        Raises:
            UsageError: the text is not a template, or has more than plain columns (`{a.b}`, `{a[0]}`, `{a!r}`,
                `{a:>3}`,
                `{}`).
        """
        self.text = text
        try:
            parts = list(Formatter().parse(text))
        except ValueError as error:
            msg = f"the template {quoted(text)} is not valid: {error}; write {{{{ and }}}} for braces"
            raise UsageError(msg) from error
        for _, name, spec, conversion in parts:
            if name is not None and (not name or spec or conversion or set(name) & set(".[]")):
                field = name + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "")
                msg = f"the template has {quoted('{' + field + '}')}: only {{column}} is allowed, a column's plain name"
                raise UsageError(msg)
        self._parts = [(literal, name) for literal, name, _, _ in parts]
        self.columns = list(dict.fromkeys(name for _, name in self._parts if name is not None))
        if not self.columns:
            msg = f"the template {quoted(text)} names no column: every row would have the same {what}"
            raise UsageError(msg)

    def fill(self, row: Mapping[str, object]) -> str:
        """Return the text of one row. Cells are inserted as plain text: braces in them have no meaning.

        Raises:
            CellError: a column is empty in this row (None, NaN, an empty cell), or has no text form.
        """
        return "".join(literal if name is None else f"{literal}{cell_text(row, name)}" for literal, name in self._parts)

    def fill_all(self, columns: Mapping[str, Sequence[str]]) -> list[str]:
        """Return the prompts of rows. `columns`: the texts of the columns that the template names, of at least one row.

        The same texts make the same prompts with `fill`.
        """
        parts: list[Iterable[str]] = []
        for literal, name in self._parts:
            parts += [repeat(literal)] if literal else []
            parts += [columns[name]] if name is not None else []
        return ["".join(some) for some in zip(*parts)]  # noqa: B905 - what stands between columns has no end
