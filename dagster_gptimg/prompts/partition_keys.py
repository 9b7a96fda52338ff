"""Partition keys of rows: from a value, a slug of it, a hash bucket, a date, or a combination of two of these.

The same object computes a row's partition and selects a partition's rows, so the two cannot differ.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, TypeAlias
from zoneinfo import ZoneInfo

from dagster_gptimg.fal.registry.model import is_missing
from dagster_gptimg.prompts.cell_values import CellError, cell_text
from dagster_gptimg.prompts.python_values import native

if TYPE_CHECKING:
    from collections.abc import Mapping

Every: TypeAlias = Literal["hourly", "daily", "weekly", "monthly"]

WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
"""Weekdays in Dagster's order; Sunday is 0."""

BETWEEN = "|"
"""Separator of the two parts of a key: Dagster's own, which may not occur in a part."""

_ODD = re.compile(r"[^\w &+.()@=-]+")
_DOTS = re.compile(r"\.{2,}")
_LONGEST_SLUG = 100
_EIGHT_DIGITS = (10**7, 10**8)


class Bounds(NamedTuple):
    """A bound on one column for all rows of a partition: at least `low`, at most `high`. A reader may skip other rows.

    Bounds that are texts apply to text cells only, dates to dates and times.
    """

    column: str
    low: str | date
    high: str | date


class RowKey(Protocol):
    """Computes a row's partition key."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the key is computed from."""

    def of(self, cells: Mapping[str, object]) -> str:
        """Return the key of a row. Raises `CellError` if a cell is empty or cannot be used."""

    def bounds(self, key: str) -> list[Bounds]:
        """Return bounds that all rows with this key satisfy; empty if there are none."""


class RowFilter(Protocol):
    """Selects the rows that are read."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that must exist."""

    def bounds(self) -> list[Bounds]:
        """Return the bounds outside which a reader may skip rows."""

    def keeps(self, cells: Mapping[str, object]) -> bool:
        """Return whether a row is selected. Raises `CellError` if a cell is invalid; an empty cell is not an error."""


@dataclass(frozen=True, slots=True)
class OnePartition:
    """Selects the rows of one partition. A row with an empty cell belongs to no partition."""

    by: RowKey
    key: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that must exist."""
        return self.by.columns

    def bounds(self) -> list[Bounds]:
        """Return the bounds outside which a reader may skip rows."""
        return self.by.bounds(self.key)

    def keeps(self, cells: Mapping[str, object]) -> bool:
        """Return whether a row belongs to the partition.

        Raises `CellError` if a cell has no text form, or is not a date.
        """
        return has_cells(self.by, cells) and self.by.of(cells) == self.key


def has_cells(by: RowKey, cells: Mapping[str, object]) -> bool:
    """Return whether every cell that the row's key is computed from has a value."""
    return not any(is_missing(cells.get(column)) for column in by.columns)


@dataclass(frozen=True, slots=True)
class ByValue:
    """The key is the cell's text."""

    column: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The column."""
        return (self.column,)

    def of(self, cells: Mapping[str, object]) -> str:
        """Return the cell's text."""
        return cell_text(cells, self.column)

    def bounds(self, key: str) -> list[Bounds]:
        """Return a bound that only this text satisfies."""
        return [Bounds(self.column, key, key)]


@dataclass(frozen=True, slots=True)
class BySlug:
    """The key is the slug of the cell's text: see `slug`."""

    column: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The column."""
        return (self.column,)

    def of(self, cells: Mapping[str, object]) -> str:
        """Return the slug of the cell's text."""
        return slug(cell_text(cells, self.column))

    def bounds(self, key: str) -> list[Bounds]:  # noqa: ARG002 - the text cannot be recovered from its slug
        """Return no bounds."""
        return []


@dataclass(frozen=True, slots=True)
class ByBucket:
    """The key is a bucket number, from the SHA-256 of the cell's text; independent of the other rows."""

    column: str
    buckets: int

    @property
    def columns(self) -> tuple[str, ...]:
        """The column."""
        return (self.column,)

    def of(self, cells: Mapping[str, object]) -> str:
        """Return the bucket of the cell's text."""
        digest = hashlib.sha256(cell_text(cells, self.column).encode("utf-8", "surrogatepass")).digest()
        return self.name(int.from_bytes(digest[:8], "big") % self.buckets)

    def name(self, bucket: int) -> str:
        """Return a bucket's key: its number with leading zeros, so that keys sort."""
        return str(bucket).zfill(len(str(self.buckets - 1)))

    def bounds(self, key: str) -> list[Bounds]:  # noqa: ARG002 - the text cannot be recovered from its hash
        """Return no bounds."""
        return []


@dataclass(frozen=True, slots=True)
class ByDate:
    """The key is the first day of the cell's day, week or month, `2026-01-31`, or its hour, `2026-01-31-23:00`.

    Attributes:
        timezone: time zone in which a time with a zone is converted to a day. Times without a zone are used as they
            are. Hours are always in UTC: in other zones one hour occurs twice a year.
        week_starts_on: index of the first day of a week in `WEEKDAYS`.
    """

    column: str
    every: Every
    timezone: str = "UTC"
    week_starts_on: int = 0

    @property
    def columns(self) -> tuple[str, ...]:
        """The column."""
        return (self.column,)

    def of(self, cells: Mapping[str, object]) -> str:
        """Return the first day of the cell's day, week or month, or its hour."""
        value = cells.get(self.column)
        if self.every == "hourly":
            return self.hour(value)
        day = self.day(value)
        if day is None:
            words = "empty" if is_missing(value) else "not a date such as 2026-01-31 (ISO 8601) or 20260131"
            raise CellError(self.column, f"the cell is {words}")
        return self.first(day).isoformat()

    def hour(self, value: object) -> str:
        """Return the UTC hour of a time. Raises `CellError` if the cell is not a time."""
        moment = _dated(value)
        words = "empty" if is_missing(value) else "not a date with a time such as 2026-01-31T23:59 (ISO 8601)"
        if not isinstance(moment, datetime) or (isinstance(value, str | int) and not _has_hour(str(value))):
            raise CellError(self.column, f"the cell is {words}")
        try:
            found = moment.astimezone(UTC) if moment.tzinfo else moment
        except OverflowError as error:
            raise CellError(self.column, "the cell's time is outside the years 1 to 9999 in UTC") from error
        return f"{found:%Y-%m-%d-%H}:00"

    def first(self, day: date) -> date:
        """Return the first day of the day, week or month that contains a day."""
        if self.every == "monthly":
            return day.replace(day=1)
        return day - timedelta(days=(day.isoweekday() - self.week_starts_on) % 7 if self.every == "weekly" else 0)

    def day(self, value: object) -> date | None:
        """Convert a cell to a day; None if it is not a date."""
        value = _dated(value)
        if isinstance(value, datetime):
            try:
                return (value.astimezone(ZoneInfo(self.timezone)) if value.tzinfo else value).date()
            except OverflowError:  # outside the range of Python's dates
                return None
        return value if isinstance(value, date) else None

    def bounds(self, key: str) -> list[Bounds]:
        """Return a bound from the first day to the last, plus one day on each side for time zones."""
        first = date.fromisoformat(key[:10])
        days = {"hourly": 1, "daily": 1, "weekly": 7, "monthly": 31}[self.every]
        low, high = first.toordinal() - 1, first.toordinal() + days + 1
        return [Bounds(self.column, date.fromordinal(max(low, 1)), date.fromordinal(min(high, date.max.toordinal())))]


@dataclass(frozen=True, slots=True)
class ByBoth:
    """Two keys combined, in the order of their dimensions' names, as Dagster joins them: `bags|2026-01-31`."""

    dimensions: tuple[tuple[str, RowKey], ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of both keys."""
        return tuple(column for _, by in self.dimensions for column in by.columns)

    def of(self, cells: Mapping[str, object]) -> str:
        """Return both keys, joined."""
        return BETWEEN.join(by.of(cells) for _, by in self.dimensions)

    def bounds(self, key: str) -> list[Bounds]:
        """Return the bounds of both keys."""
        parts = zip(self.dimensions, key.split(BETWEEN), strict=True)
        return [bound for (_, by), part in parts for bound in by.bounds(part)]


def _dated(value: object) -> object:
    """Convert texts and numbers to dates if possible: ISO 8601, `20260131`, and a time with the suffix ` UTC`."""
    value = native(value)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value) if _EIGHT_DIGITS[0] <= value < _EIGHT_DIGITS[1] else ""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if text.endswith((" UTC", " Z")):
        text = f"{text.rpartition(' ')[0]}+00:00"
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _has_hour(text: str) -> bool:
    """Return whether a text that is a date also has a time of day."""
    return ":" in text or "T" in text.upper()


def slug(text: str) -> str:
    """Make a partition key from any text: the text itself if it is valid, else its valid characters and a short hash.

    Dagster accepts any text as a dynamic partition key but fails on some later: `...` and commas are its syntax for
    ranges and lists, `|` joins dimensions, and slashes and dots are parts of paths in other places.
    """
    safe = _DOTS.sub(".", _ODD.sub("-", text)).strip(" .-_")[:_LONGEST_SLUG].rstrip()
    if text and safe == text:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{safe}-{digest}" if safe else digest


def meant(by: RowKey, key: str) -> str:
    """Return the key for a user's input: if keys are slugs, the slug of the text."""
    if isinstance(by, BySlug):
        return slug(key)
    if isinstance(by, ByBoth) and key.count(BETWEEN) == len(by.dimensions) - 1:
        return BETWEEN.join(
            meant(part, text) for (_, part), text in zip(by.dimensions, key.split(BETWEEN), strict=True)
        )
    return key


def may_hold(bound: Bounds, low: object, high: object) -> bool:
    """Return whether rows between `low` and `high` (statistics of a Parquet row group) may satisfy the bound."""
    if isinstance(bound.low, str):
        return not (isinstance(low, str) and isinstance(high, str)) or (low <= bound.high and bound.low <= high)  # type: ignore[operator]
    first, last = _utc_day(low), _utc_day(high)
    return first is None or last is None or (first <= bound.high and bound.low <= last)  # type: ignore[operator]


def _utc_day(value: object) -> date | None:
    if isinstance(value, datetime):
        try:
            return (value.astimezone(UTC) if value.tzinfo else value).date()
        except OverflowError:
            return None
    return value if isinstance(value, date) else None
