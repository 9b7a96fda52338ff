"""Partitions of a prompt table: Dagster's definition and the row filter are made together, so that they cannot differ.

Keys are given, computed, stored by Dagster, or read once from a local file: definitions load without any network.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import dagster as dg

from dagster_gptimg.argument_rules import ARGUMENTS, check_arguments
from dagster_gptimg.errors import TableError, UsageError
from dagster_gptimg.options import check
from dagster_gptimg.prompts.cell_values import CellError, cell_text
from dagster_gptimg.prompts.partition_keys import (
    WEEKDAYS,
    Bounds,
    ByBoth,
    ByBucket,
    ByDate,
    BySlug,
    ByValue,
    Every,
    RowKey,
    meant,
)
from dagster_gptimg.prompts.readers import sources
from dagster_gptimg.prompts.readers.formats import by_name
from dagster_gptimg.prompts.table_scan import DigestedPartition

_DEFINITIONS = {
    "hourly": dg.HourlyPartitionsDefinition,
    "daily": dg.DailyPartitionsDefinition,
    "weekly": dg.WeeklyPartitionsDefinition,
    "monthly": dg.MonthlyPartitionsDefinition,
}


@dataclass(frozen=True)
class TablePartitions:
    """How a prompt table is cut into partitions.

    Attributes:
        definition: for Dagster.
        rows: from a row to its partition's key.
    """

    definition: dg.PartitionsDefinition[str]
    rows: RowKey

    def where(self, key: str) -> DigestedPartition:
        """The row filter of one partition; it also tells what it has kept.

        Args:
            key: the partition's.

        Raises:
            UsageError: no row can have this key, whatever the table: it was added to Dagster by hand.
        """
        if (right := meant(self.rows, str(key))) != str(key):
            raise UsageError(
                f"the partition {key!r} cannot have rows: the rows with this text belong to {right!r}. Delete the "
                f"partition {key!r}, and add {right!r}, or let build_prompt_table_sensor add it. Nothing was sent."
            )
        return DigestedPartition(self.rows, str(key))

    def get_partition_keys(self, instance: dg.DagsterInstance | None = None) -> list[str]:
        """The keys of all partitions that there are now.

        Args:
            instance: Dagster's, which has the dynamic keys; without it there are none of these.
        """
        found = self.definition.get_partition_keys(dynamic_partitions_store=instance)
        return [str(key) for key in found]

    @property
    def dynamic_name(self) -> str | None:
        """The name under which Dagster stores the dynamic keys; None if the partitions are not dynamic."""
        return self.definition.name if isinstance(self.definition, dg.DynamicPartitionsDefinition) else None


@dataclass(frozen=True)
class EveryRow:
    """The row key of a table that holds one partition's rows only, whatever their cells.

    Attributes:
        key: the partition's.
    """

    key: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """No column decides."""
        return ()

    def of(self, _cells: Mapping[str, object]) -> str:
        """Return the key."""
        return self.key

    def bounds(self, _key: str) -> list[Bounds]:
        """Return no bounds: nothing is skipped."""
        return []


@dataclass(frozen=True)
class UpstreamPartitions(TablePartitions):
    """The partitions of the asset upstream: the images of one of its partitions are the rows of the same one here."""

    @classmethod
    def of_upstream(cls, partitions: TablePartitions) -> "UpstreamPartitions":
        """Make the same partitions for the asset downstream."""
        return cls(partitions.definition, EveryRow())

    def where(self, key: str) -> DigestedPartition:
        """The row filter of one partition: it keeps every row, and tells their digest.

        Args:
            key: the partition's.
        """
        return DigestedPartition(EveryRow(str(key)), str(key))


def by_column(column: str, keys: Sequence[str] | str | os.PathLike[str]) -> TablePartitions:
    """One partition for each of these values of a column.

    Args:
        column: its cells' text is the key.
        keys: a list of the values; or the path of a local file, as a text or a `Path`, read once, now: a prompt table
            (each value of the column that it has), or any other text file, with one value a line.

    Raises:
        UsageError: there is no key, one stands twice, Dagster takes it for no key, or the file cannot be read.
    """
    check_arguments(column=column, keys=keys)
    found = _keys_of_file(Path(keys), column) if isinstance(keys, str | os.PathLike) else list(keys)
    if not all(isinstance(key, str) for key in found):
        raise UsageError(f"partitions by {column!r}: each key must be a text, equal to the cells' text")
    if not found or len(set(found)) != len(found) or not all(str(key).strip() for key in found):
        raise UsageError(f"partitions by {column!r}: give at least one value, each once, and no blank ones")
    try:
        return TablePartitions(dg.StaticPartitionsDefinition(found), ByValue(column))
    except dg.DagsterInvalidDefinitionError as error:
        raise UsageError(f"partitions by {column!r}: {error}; by_dynamic() takes any value") from error


def by_hash(column: str, buckets: int) -> TablePartitions:
    """Make a fixed number of partitions of about equal size, by a hash of a column's text; use the column of row ids.

    A growing table never moves a row to another partition. Another number of buckets moves rows but buys nothing: a
    row's images belong to the dataset, whatever its partition.

    Args:
        column: the column whose text is hashed.
        buckets: number of partitions.

    Raises:
        UsageError: there are fewer than 1 or more than 100,000 buckets.
    """
    check_arguments(column=column, buckets=buckets)
    by = ByBucket(column, buckets)
    return TablePartitions(dg.StaticPartitionsDefinition([by.name(n) for n in range(buckets)]), by)


def by_date(
    column: str,
    every: Every = "daily",
    *,
    start: date | str,
    end: date | str | None = None,
    end_offset: int = 0,
    timezone: str = "UTC",
    week_starts_on: str = "sunday",
) -> TablePartitions:
    """One partition for each hour, day, week or month of a column of dates (or ISO 8601 text).

    Args:
        column: dates, or moments; those with a time zone become days in `timezone`.
        every: `hourly` (of moments, in UTC), `daily`, `weekly` or `monthly`.
        start: the first day; its week or month begins where it should.
        end: the day before which the last partition ends; none by default.
        end_offset: Dagster's: a day (week, month) has its partition when it is over; 1 gives it to the present one.
        timezone: of days, and of Dagster's schedule.
        week_starts_on: the first day of a week: `sunday`, as in Dagster, `monday`, ...

    Raises:
        UsageError: the period, a date, the day of the week or the time zone is not valid, or hourly partitions have
            another time zone than UTC.
    """
    check(every=every, week_starts_on=week_starts_on)
    check_arguments(column=column, start=start, end=end, end_offset=end_offset, timezone=timezone)
    if every == "hourly" and timezone != "UTC":
        words = "hourly partitions are in UTC: in other time zones one hour occurs twice a year"
        raise UsageError(f"partitions by {column!r}: {words}; leave timezone out")
    try:
        by = ByDate(column, every, timezone, WEEKDAYS.index(week_starts_on))
        first = _midnight(by.first(_date(start)))
        last = None if end is None else _midnight(_date(end))
        given = {"start_date": first, "end_date": last, "end_offset": end_offset, "timezone": timezone}
        more = {"day_offset": by.week_starts_on} if every == "weekly" else {}
        made = _DEFINITIONS[every](**given, **more)
    except (ValueError, KeyError, dg.DagsterInvalidDefinitionError) as error:
        raise UsageError(f"partitions by {column!r}: {error}") from error
    return TablePartitions(made, by)


def by_dynamic(column: str, name: str) -> TablePartitions:
    """One partition for each value that a column has, added as rows come: see `build_prompt_table_sensor`.

    A key is the cell's text when that is safe, else a safe part of it and a short hash: Dagster takes any text for a
    dynamic key, and trips over `...`, commas and line breaks later.

    Args:
        column: whose values.
        name: under which Dagster keeps the keys; another one for each asset that has keys of its own.

    Raises:
        UsageError: one of them is blank, or no text.
    """
    check_arguments(column=column, name=name)
    return TablePartitions(dg.DynamicPartitionsDefinition(name=name), BySlug(column))


def by_dimensions(**dimensions: TablePartitions) -> TablePartitions:
    """Partitions of two dimensions, for instance `by_dimensions(category=by_column(...), date=by_date(...))`.

    Args:
        **dimensions: two of the other `by_...`, by the name of the dimension.

    Raises:
        UsageError: there are not two (Dagster knows no other number), or Dagster does not take their keys.
    """
    for name, part in dimensions.items():
        if (wrong := ARGUMENTS["dimension"].wrong(part)) is not None:
            raise UsageError(f"partitions: {name} {wrong}")
    ordered = sorted(dimensions.items())
    try:
        made = dg.MultiPartitionsDefinition({name: part.definition for name, part in ordered})
    except (dg.DagsterInvalidDefinitionError, dg.DagsterInvalidInvocationError) as error:
        raise UsageError(f"partitions by {' and '.join(dimensions)}: {error}") from error
    return TablePartitions(made, ByBoth(tuple((name, part.rows) for name, part in ordered)))


def partitions_from(about: Mapping[str, object], folder: Path | None = None) -> TablePartitions:
    """Make partitions from plain values, as in YAML: `{by_column: category, keys: [bags, shoes]}`.

    Args:
        about: one of `by_column` (with `keys` or `keys_file`), `by_hash` (`buckets`), `by_date` (`every`, `start`,
            ...), `by_dynamic` (`name`), `by_dimensions` (a mapping of two of these).
        folder: the folder of a file of keys.

    Raises:
        UsageError: the values are none of these, or are invalid.
    """
    kinds = [kind for kind in _FROM if kind in about]
    if len(kinds) != 1:
        raise UsageError(f"partitions: give exactly one of {', '.join(_FROM)}, not {', '.join(map(str, about))}")
    more = {str(name): value for name, value in about.items() if name != kinds[0]}
    if isinstance(more.get("keys"), list):
        more["keys"] = [str(key) for key in more["keys"]]  # type: ignore[attr-defined]  # YAML has numbers, too
    for name in ("keys", "keys_file"):
        if isinstance(file := more.pop(name, None), str):
            more["keys"] = (folder or Path()) / file
        elif file is not None:
            more["keys"] = file
    made, what = _FROM[kinds[0]], about[kinds[0]]
    try:
        if isinstance(what, Mapping):
            return by_dimensions(**{str(name): partitions_from(part, folder) for name, part in what.items()})
        return made(what, **more)  # type: ignore[no-any-return, operator]
    except TypeError as error:
        raise UsageError(f"partitions {kinds[0]}: {error}") from error


_FROM: Mapping[str, object] = {
    "by_column": by_column,
    "by_hash": by_hash,
    "by_date": by_date,
    "by_dynamic": by_dynamic,
    "by_dimensions": by_dimensions,
}


def _keys_of_file(path: Path, column: str) -> list[str]:
    try:
        if by_name(path.name)[0] not in {None, "txt"}:
            return _values(path, column)
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError, TableError) as error:
        words = f"partitions by {column!r}: the file of keys cannot be read: {error}"
        raise UsageError(f"{words}. A text names a file; the values themselves are given as a list") from error
    return list(dict.fromkeys(line.strip() for line in lines if line.strip()))


def _values(path: Path, column: str) -> list[str]:
    """Return the values of a column of a local table, in the order of their first occurrence."""
    found: dict[str, None] = {}
    for item in sources.read(path):
        if isinstance(item, tuple):
            try:
                found[cell_text(item[1], column)] = None
            except CellError:
                continue  # the check of the whole table reports it
    return list(found)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day)  # noqa: DTZ001 - Dagster gives it the zone of the partitions


def _date(value: date | str) -> date:
    return date.fromisoformat(value) if isinstance(value, str) else value
