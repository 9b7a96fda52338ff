"""Partitions of a prompt table: Dagster's definition and the row filter, made together."""

from collections.abc import Sequence
from dataclasses import dataclass

import dagster as dg

from dagster_gptimg.errors import UsageError


@dataclass(frozen=True)
class TablePartitions:
    """How a prompt table is cut into partitions.

    Attributes:
        definition: for Dagster.
        column: the column whose value, as text, is a row's partition key.
    """

    definition: dg.PartitionsDefinition[str]
    column: str

    def where(self, key: str) -> tuple[str, str]:
        """The row filter of one partition: (column, value)."""
        return self.column, key


def by_column(column: str, keys: Sequence[str]) -> TablePartitions:
    """One partition for each of these values of a column.

    The keys are given, and not read from the table, so that loading definitions waits for nothing.

    Raises:
        UsageError: there is no key, or one stands twice.
    """
    if not keys or len(set(keys)) != len(keys):
        msg = f"partitions by {column!r}: give each value once, and at least one"
        raise UsageError(msg)
    return TablePartitions(dg.StaticPartitionsDefinition(list(keys)), column)
