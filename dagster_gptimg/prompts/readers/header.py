"""The names of a table's columns if they are in its first row: text files and sheets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dagster_gptimg.errors import TableError
from dagster_gptimg.fal.registry.model import is_missing
from dagster_gptimg.prompts.readers.arrow import check_names


@dataclass(frozen=True, slots=True)
class Named:
    """The columns of a table.

    Attributes:
        source: the table and the line of its header, for messages.
        places: position in a row of each named column's cell.
        width: number of cells of a row.
    """

    source: str
    places: dict[str, int]
    width: int

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names."""
        return tuple(self.places)

    def row(self, cells: Sequence[object], line: int) -> dict[str, object]:
        """Return the cells by column.

        Raises:
            TableError: a column has cells but no name; data frames write their index so.
        """
        if len(self.places) < len(cells):
            named = set(self.places.values())
            for place, cell in enumerate(cells):
                if place not in named and not is_missing(cell):
                    where = f"but line {line} has a cell in column {place + 1}"
                    index = (
                        "; if it is the index of pandas, write the file with to_csv(..., index=False)"
                        if place == 0
                        else ""
                    )
                    raise TableError(
                        f"{self.source}: a column has no name, {where}: give each column a unique name{index}"
                    )
        return {name: cells[place] for name, place in self.places.items()}


def named_columns(header: Sequence[str], source: str) -> Named:
    """Return the columns of a header; columns without a name may not have cells.

    Raises:
        TableError: no column has a name, or two have the same.
    """
    names = [name if name.strip() else "" for name in header]
    given = [name for name in names if name]
    if not given:
        raise TableError(f"{source}: no column has a name; give each column a unique name")
    check_names(given, source)
    return Named(source, {name: place for place, name in enumerate(names) if name}, len(names))
