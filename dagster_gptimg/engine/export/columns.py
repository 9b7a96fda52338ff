"""The columns of an export: those of the image table that people need, and the user's own, each of one type.

Own columns are JSON in the image table, and may have values of several types: such a column becomes text as a whole,
because readers tell a column's type by its first values and fail, or lose rows, at others.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from dagster_gptimg.base.masking import without_known
from dagster_gptimg.base.plain_text import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Kind: TypeAlias = Literal["text", "whole", "real", "flag"]

FILE_NAME = "file_name"
LINK = "link"
_MAIN: tuple[tuple[str, Kind], ...] = (
    (FILE_NAME, "text"),
    ("row_id", "text"),
    ("partition", "text"),
    ("image_index", "whole"),
    ("prompt", "text"),
    ("model", "text"),
    ("cost_usd", "real"),
    ("verdict", "text"),
    ("sha256", "text"),
    (LINK, "text"),
)
MAIN = tuple(name for name, _ in _MAIN)
"""The columns that are not the user's own, in order. `partition` and `link` are there only where they have values."""

NAME_LETTERS = 200
"""Maximum characters of a column's name."""

_LONGEST_WHOLE = 2**63
_EXACT_REAL = 2**53


class Column(NamedTuple):
    """A column of an export.

    Attributes:
        name: in the export.
        source: its name among the values of an image: an own column's, or one of `MAIN`.
        kind: of its values.
        is_own: whether it is the user's own.
    """

    name: str
    source: str
    kind: Kind
    is_own: bool


class OwnColumns:
    """The user's own columns of the images that were seen, with the types of their values."""

    def __init__(self) -> None:
        self._kinds: dict[str, set[str]] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._kinds)

    def see(self, values: Mapping[str, Any]) -> None:
        """Note the columns of one image."""
        for name, value in values.items():
            kinds = self._kinds.setdefault(name, set())
            if value is not None:
                kinds.add(_kind_of(value))

    def kind(self, name: str) -> Kind:
        """Return the one type of a column."""
        kinds = self._kinds[name]
        for kind, held in _HELD.items():
            if kinds and kinds <= held:
                return kind
        return "text"


_HELD: Mapping[Kind, set[str]] = {"flag": {"flag"}, "whole": {"whole", "long"}, "real": {"whole", "real"}}
"""What a column of each kind can hold without a loss."""


def _kind_of(value: object) -> str:
    if isinstance(value, bool):
        return "flag"
    if isinstance(value, int):
        return "whole" if abs(value) <= _EXACT_REAL else "long" if abs(value) < _LONGEST_WHOLE else "text"
    return "real" if isinstance(value, float) else "text"


class Columns:
    """All columns of an export, in order.

    Attributes:
        columns: the columns.
        renamed: own columns with a name that is taken, and what they are called instead.
    """

    def __init__(
        self, own: OwnColumns, *, has_partitions: bool, has_links: bool, is_taken: Callable[[str], bool]
    ) -> None:
        """Name the columns.

        Args:
            own: the user's own.
            has_partitions: whether there is a column `partition`.
            has_links: whether there is a column `link`.
            is_taken: whether the layout needs a name, in lower case, for itself.
        """
        absent = {*(() if has_partitions else ("partition",)), *(() if has_links else (LINK,))}
        self.columns = [Column(name, name, kind, is_own=False) for name, kind in _MAIN if name not in absent]
        self.renamed: dict[str, str] = {}
        names = {column.name for column in self.columns}
        for source in own:
            first = name = shown(without_known(source), NAME_LETTERS) or "column"
            number = 1
            while name.casefold() in names or is_taken(name.casefold()):
                name = f"{first}_column" if number == 1 else f"{first}_column_{number}"
                number += 1
            names.add(name.casefold())
            if name != source:
                self.renamed[source] = name
            self.columns.append(Column(name, source, own.kind(source), is_own=True))

    def row(self, main: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
        """Return an image's values by the columns' names.

        Args:
            main: by the names of `MAIN`.
            own: the values of its own columns.
        """
        return {
            column.name: value_as((own if column.is_own else main).get(column.source), column.kind)
            for column in self.columns
        }


def value_as(value: object, kind: Kind) -> str | int | float | bool | None:
    """Return a value as one of a column's kind."""
    if value is None:
        return None
    if kind == "text":
        return text_of(value)
    if kind == "real":
        return float(value)  # type: ignore[arg-type]
    return value  # type: ignore[return-value]


def text_of(value: object) -> str:
    """Return a value as text, without known secrets; what is no text or number as JSON."""
    if isinstance(value, Decimal):
        text = f"{value.normalize():f}"
    elif isinstance(value, str):
        text = value
    else:
        text = json.dumps(value, ensure_ascii=False)
    return without_known(text).encode("utf-8", "replace").decode()


def json_value(value: object) -> object:
    """Return a value for JSON, which has no infinite numbers."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def csv_cell(value: object) -> str:
    """Return a value for CSV: nothing for none, `true` and `false` as JSON has them."""
    if value is None:
        return ""
    return ("true" if value else "false") if isinstance(value, bool) else str(value).replace("\0", "\ufffd")
