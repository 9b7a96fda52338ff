"""Planning a table for another model: which of its inputs that model does not accept, and why.

A run refuses inputs that its model does not accept. A plan for another model leaves them out and lists them, so that
the cost of a change is known before anything is changed.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from dagster_gptimg.errors import ArgumentsError
from dagster_gptimg.fal.registry.price_formulas import ByTokens

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dagster_gptimg.fal.registry.model import FalModel

V = TypeVar("V")


class NotCarried(NamedTuple):
    """An input that the other model does not accept.

    Attributes:
        name: fal's name of it, or the column's.
        reason: why not, for people.
        rows: number of rows that have it in a column; None for an argument of all rows.
    """

    name: str
    reason: str
    rows: int | None

    def __str__(self) -> str:
        where = "for all rows" if self.rows is None else f"in {self.rows} row{'s' * (self.rows > 1)}"
        return f"{self.name} ({where}): {self.reason}"


class Move:
    """The change of a table to another model; records the inputs that are left out.

    Attributes:
        model: the new model.
        former_inputs: the input names of the models that made the existing images.
    """

    def __init__(self, model: FalModel, former: Sequence[FalModel]) -> None:
        """`former`: the models that made the existing images; an input that none of them accepts remains an error."""
        self.model, self._former = model, former
        self.former_inputs = frozenset(name for other in former for name in other.input_names)
        self._arguments: dict[str, str] = {}
        self._columns: Counter[tuple[str, str]] = Counter()

    def arguments(self, given: Mapping[str, V]) -> dict[str, V]:
        """Return arguments for all rows without those that the new model does not accept."""
        kept, left = self._split(given)
        self._arguments |= left
        return kept

    def row(self, given: Mapping[str, V]) -> dict[str, V]:
        """Return the inputs of one row without those that the new model does not accept."""
        kept, left = self._split(given)
        self._columns.update(left.items())
        return kept

    def not_carried(self) -> list[NotCarried]:
        """Return the inputs that were left out so far."""
        found = [NotCarried(name, reason, None) for name, reason in self._arguments.items()]
        return found + [NotCarried(name, reason, rows) for (name, reason), rows in self._columns.items()]

    def other_meanings(self) -> list[str]:
        """Describe values of `quality` that both models accept but for which they use a different number of tokens."""
        new = self.model.price
        found = []
        for former in self._former:
            old = former.price
            if not (isinstance(old, ByTokens) and isinstance(new, ByTokens)):
                continue
            names = {edge: word for word, edge in new.edges.items()}
            others = {word: names.get(edge) for word, edge in old.edges.items() if new.edges.get(word) != edge}
            if others:
                words = [f"{word} is {name}" if name else f"{word} has no equal" for word, name in others.items()]
                found.append(f"from {former.name} to {self.model.name}, {', '.join(words)}")
        return list(dict.fromkeys(found))

    def _split(self, given: Mapping[str, V]) -> tuple[dict[str, V], dict[str, str]]:
        refused = self._refused(self.model, given)
        left = {name: why for name, why in refused.items() if name in given and self._was_taken(name, given[name])}
        return {name: value for name, value in given.items() if name not in left}, left

    def _was_taken(self, name: str, value: object) -> bool:
        return any(not self._refused(model, {name: value}) for model in self._former)

    @staticmethod
    def _refused(model: FalModel, given: Mapping[str, object]) -> dict[str, str]:
        try:
            model.check(given)
        except ArgumentsError as error:
            return dict(error.problems)
        return {}
