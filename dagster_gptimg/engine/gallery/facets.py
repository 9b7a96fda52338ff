"""The columns that a gallery can be filtered and grouped by: all with few different values, over all records."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from dagster_gptimg.engine.gallery.records import PROMPT, json_of, shown_text, text

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind: TypeAlias = Literal["field", "column", "input"]
"""Of the image table, of the row's own columns, or of the model's inputs."""

_Facet: TypeAlias = "tuple[Kind, str]"

FEW = 4
"""Records up to which a column with another value in each of them is offered."""

MOST_VALUES = 30
"""Maximum different values of a column that is offered as a filter."""

MOST_PARTITIONS = 2_000
"""Maximum partitions that are offered as a filter."""

MOST_COLUMNS = 200
"""Maximum columns and inputs that are counted; a hostile table may have a new one in each row."""

LONGEST = 100
"""Maximum characters of a value in a filter: longer ones are texts."""

_FIELDS: tuple[tuple[Kind, str, int], ...] = (
    ("field", "status", MOST_VALUES),
    ("field", "partition", MOST_PARTITIONS),
    ("field", "endpoint", MOST_VALUES),
)


class Facets:
    """Counts the values of columns, record by record."""

    def __init__(self) -> None:
        self._counts: dict[_Facet, Counter[str] | None] = {(kind, name): Counter() for kind, name, _ in _FIELDS}
        self._most = {(kind, name): most for kind, name, most in _FIELDS}
        self.records = 0

    def add(self, record: Mapping[str, Any], partition: str | None) -> None:
        """Count the values of one record."""
        self.records += 1
        self._add("field", "status", record["status"])
        self._add("field", "endpoint", record["endpoint"])
        if partition is not None:
            self._add("field", "partition", partition)
        for name, value in json_of(record, "columns"):
            if value is not None:
                self._add("column", text(name), shown_text(value))
        for name, value in json_of(record, "arguments"):
            if name != PROMPT:
                self._add("input", text(name), shown_text(value))

    def _add(self, kind: Kind, name: str, value: str) -> None:
        facet = (kind, name)
        if facet not in self._counts:
            if len(self._counts) >= MOST_COLUMNS:
                return
            self._counts[facet] = Counter()
        counts = self._counts[facet]
        if counts is None:
            return
        counts[value] += 1
        if len(counts) > self._most.get(facet, MOST_VALUES) or len(value) > LONGEST:
            self._counts[facet] = None  # too many values for a filter: they are not kept

    def as_lists(self) -> list[list[Any]]:
        """Return `[kind, name, [[value, count], ...]]` of each column that tells records apart."""
        found = list[list[Any]]()
        for (kind, name), counts in self._counts.items():
            if counts is None or not self._tells_apart(name, counts):
                continue
            values = sorted(counts.items(), key=lambda pair: pair[0].casefold())
            found.append([kind, name, [list(pair) for pair in values]])
        return found

    def _tells_apart(self, name: str, counts: Counter[str]) -> bool:
        if name == "status":
            return True
        is_unique = self.records > FEW and len(counts) == self.records
        return not is_unique and (len(counts) > 1 or 0 < counts.total() < self.records)

    def varying_inputs(self) -> set[str]:
        """Return the names of the model's inputs that an entry has to carry for the filters."""
        return {name for kind, name, _ in self.as_lists() if kind == "input"}
