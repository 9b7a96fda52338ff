"""From a row to the key of its partition: by a value, a slug of it, a hash bucket, a date, or two of these together.

The same object tells which partition a row belongs to and which rows a partition has, so the two cannot differ.
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
"""As Dagster counts them, from 0."""

BETWEEN = "|"
"""What stands between the two parts of a key: Dagster's own sign, which no part may hold."""

_ODD = re.compile(r"[^\w &+.()@=-]+")
_DOTS = re.compile(r"\.{2,}")
_LONGEST_SLUG = 100
_EIGHT_DIGITS = (10**7, 10**8)


class Bounds(NamedTuple):
    """What every row of a partition has in one column: at least `low`, at most `high`. A reader may skip the rest.

    Text bounds speak of text cells only, dates of dates and times.
    """

    column: str
    low: str | date
    high: str | date


class RowKey(Protocol):
    """How a row's partition key is made."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it is made from."""

    def of(self, cells: Mapping[str, object]) -> str:
        """The key of a row. Raises `CellError` when a cell is empty or cannot be used."""

    def bounds(self, key: str) -> list[Bounds]:
        """What all rows with this key have in common; empty when nothing can be said."""


class RowFilter(Protocol):
    """Which rows are read."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that must be there."""

    def bounds(self) -> list[Bounds]:
        """What a reader may skip by."""

    def keeps(self, cells: Mapping[str, object]) -> bool:
        """Whether a row is wanted. Raises `CellError` when that cannot be told, but not for empty cells."""


@dataclass(frozen=True, slots=True)
class OnePartition:
    """The rows of one partition. A row with an empty cell belongs to none."""

    by: RowKey
    key: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that must be there."""
        return self.by.columns

    def bounds(self) -> list[Bounds]:
        """What a reader may skip by."""
        return self.by.bounds(self.key)

    def keeps(self, cells: Mapping[str, object]) -> bool:
        """Whether a row is wanted. Raises `CellError` when a cell is no text, or no date."""
        return has_cells(self.by, cells) and self.by.of(cells) == self.key


def has_cells(by: RowKey, cells: Mapping[str, object]) -> bool:
    """Whether a row has something in every cell that its key is made from."""
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
        """The cell's text."""
        return cell_text(cells, self.column)

    def bounds(self, key: str) -> list[Bounds]:
        """Exactly this text."""
        return [Bounds(self.column, key, key)]


@dataclass(frozen=True, slots=True)
class BySlug:
    """The key is the cell's text, made safe: see `slug`."""

    column: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The column."""
        return (self.column,)

    def of(self, cells: Mapping[str, object]) -> str:
        """The slug of the cell's text."""
        return slug(cell_text(cells, self.column))

    def bounds(self, key: str) -> list[Bounds]:  # noqa: ARG002 - a slug does not tell the text that it was made from
        """Nothing."""
        return []


@dataclass(frozen=True, slots=True)
class ByBucket:
    """The key is the number of a bucket, by the SHA-256 of the cell's text: no other row moves it."""

    column: str
    buckets: int

    @property
    def columns(self) -> tuple[str, ...]:
        """The column."""
        return (self.column,)

    def of(self, cells: Mapping[str, object]) -> str:
        """The bucket of the cell's text."""
        digest = hashlib.sha256(cell_text(cells, self.column).encode("utf-8", "surrogatepass")).digest()
        return self.name(int.from_bytes(digest[:8], "big") % self.buckets)

    def name(self, bucket: int) -> str:
        """A bucket's key: its number, with zeros before it, so that keys sort."""
        return str(bucket).zfill(len(str(self.buckets - 1)))

    def bounds(self, key: str) -> list[Bounds]:  # noqa: ARG002 - a hash does not tell
        """Nothing."""
        return []


@dataclass(frozen=True, slots=True)
class ByDate:
    """The key is the first day of the cell's day, week or month, `2026-01-31`, or its hour, `2026-01-31-23:00`.

    Attributes:
        timezone: in which a moment with a time zone becomes a day. Moments without one are taken as they stand. Hours
            are those of UTC: elsewhere one of them comes twice a year.
        week_starts_on: the first day of a week, as `WEEKDAYS` counts.
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
        """The first day of the cell's day, week or month, or its hour."""
        value = cells.get(self.column)
        if self.every == "hourly":
            return self.hour(value)
        day = self.day(value)
        if day is None:
            words = "empty" if is_missing(value) else "no date as 2026-01-31 (ISO 8601) or 20260131"
            raise CellError(self.column, f"the cell is {words}")
        return self.first(day).isoformat()

    def hour(self, value: object) -> str:
        """The hour of a moment, in UTC. Raises `CellError` when a cell is no moment."""
        moment = _dated(value)
        words = "empty" if is_missing(value) else "no moment as 2026-01-31T23:59 (ISO 8601): it has no hour"
        if not isinstance(moment, datetime) or (isinstance(value, str | int) and not _has_hour(str(value))):
            raise CellError(self.column, f"the cell is {words}")
        try:
            found = moment.astimezone(UTC) if moment.tzinfo else moment
        except OverflowError as error:
            raise CellError(self.column, "the cell is beyond the hours that there are") from error
        return f"{found:%Y-%m-%d-%H}:00"

    def first(self, day: date) -> date:
        """The first day of a day's day, week or month."""
        if self.every == "monthly":
            return day.replace(day=1)
        return day - timedelta(days=(day.isoweekday() - self.week_starts_on) % 7 if self.every == "weekly" else 0)

    def day(self, value: object) -> date | None:
        """A cell as a day; None when it is none."""
        value = _dated(value)
        if isinstance(value, datetime):
            try:
                return (value.astimezone(ZoneInfo(self.timezone)) if value.tzinfo else value).date()
            except OverflowError:  # at the end of what Python has dates for
                return None
        return value if isinstance(value, date) else None

    def bounds(self, key: str) -> list[Bounds]:
        """From the first day to the last one, and a day around them, for time zones."""
        first = date.fromisoformat(key[:10])
        days = {"hourly": 1, "daily": 1, "weekly": 7, "monthly": 31}[self.every]
        low, high = first.toordinal() - 1, first.toordinal() + days + 1
        return [Bounds(self.column, date.fromordinal(max(low, 1)), date.fromordinal(min(high, date.max.toordinal())))]


@dataclass(frozen=True, slots=True)
class ByBoth:
    """Two keys together, in the order of their dimensions' names, as Dagster joins them: `bags|2026-01-31`."""

    dimensions: tuple[tuple[str, RowKey], ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of both."""
        return tuple(column for _, by in self.dimensions for column in by.columns)

    def of(self, cells: Mapping[str, object]) -> str:
        """Both keys."""
        return BETWEEN.join(by.of(cells) for _, by in self.dimensions)

    def bounds(self, key: str) -> list[Bounds]:
        """What both say."""
        parts = zip(self.dimensions, key.split(BETWEEN), strict=True)
        return [bound for (_, by), part in parts for bound in by.bounds(part)]


def _dated(value: object) -> object:
    """Text and numbers as dates, as far as they are: ISO 8601, `20260131`, and a time with ` UTC` behind it."""
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
    """Whether a text that is a date has a time of day, too."""
    return ":" in text or "T" in text.upper()


def slug(text: str) -> str:
    """A partition key from any text: the text itself when it is one, else a safe part of it and a short hash.

    Dagster takes any text for a dynamic partition, and trips over it later: `...` and commas are its syntax for ranges
    and lists, `|` joins dimensions, and slashes and dots are paths elsewhere.
    """
    safe = _DOTS.sub(".", _ODD.sub("-", text)).strip(" .-_")[:_LONGEST_SLUG].rstrip()
    if text and safe == text:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{safe}-{digest}" if safe else digest


def meant(by: RowKey, key: str) -> str:
    """The key that somebody means who writes a key: where slugs are keys, the slug of a text in its place."""
    if isinstance(by, BySlug):
        return slug(key)
    if isinstance(by, ByBoth) and key.count(BETWEEN) == len(by.dimensions) - 1:
        return BETWEEN.join(
            meant(part, text) for (_, part), text in zip(by.dimensions, key.split(BETWEEN), strict=True)
        )
    return key


def may_hold(bound: Bounds, low: object, high: object) -> bool:
    """Whether rows between `low` and `high` (a Parquet row group's statistics) may lie within the bound."""
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
