"""A sensor's state for a prompt table, and the detection of changes. No Dagster: a cursor in, keys and a cursor out.

A tick returns a limited number of keys; the rest follows with the next ticks, from the same state of the table. Each
key has a digest of its (new) rows; whether a run is needed depends on the last materialization.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import fsspec

from dagster_gptimg.base.masking import harmless, hide_in, hide_values, without_secrets
from dagster_gptimg.errors import TableError
from dagster_gptimg.fal.registry.model import is_missing
from dagster_gptimg.prompts.cell_values import UnusableError, json_of
from dagster_gptimg.prompts.readers.folders import is_several, parts_of
from dagster_gptimg.prompts.readers.formats import TableFile
from dagster_gptimg.prompts.table_scan import NO_ROWS, digest_text, digests, sum_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from dagster_gptimg.prompts.partition_keys import RowKey
    from dagster_gptimg.prompts.readers.sources import Source

Mark = list[Any]
"""A watermark: [0, a number] or [1, a text]; such lists can be compared."""

_VERSIONS = ("ETag", "etag", "md5Hash", "content_md5", "LastModified", "last_modified", "updated", "mtime")


@dataclass(frozen=True)
class Cursor:
    """A sensor's position in a table.

    Attributes:
        version: the table's ETag or modification time at the last read.
        mark: the watermark up to which all rows were returned.
        target: the watermark up to which rows are being returned.
        after: the last key that was returned; None if all were.
    """

    version: str | None = None
    mark: Mark | None = None
    target: Mark | None = None
    after: str | None = None

    @classmethod
    def parse(cls, text: str | None) -> Cursor:
        """Parse Dagster's text; an invalid one is the initial cursor: it costs a read, and starts no run twice."""
        try:
            return cls(**json.loads(text or "{}"))
        except (ValueError, TypeError):
            return cls()

    def __str__(self) -> str:
        return json.dumps({name: value for name, value in asdict(self).items() if value is not None})


@dataclass(frozen=True)
class Found:
    """The result of a tick.

    Attributes:
        keys: partition keys ("" for a table without partitions), each with the digest of its rows.
        cursor: for the next tick.
        left: number of keys that follow with the next ticks.
    """

    keys: dict[str, str]
    cursor: Cursor
    left: int = 0


def look(
    source: Source,
    by: RowKey | None,
    cursor: Cursor,
    *,
    most: int,
    watermark: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    emptied: Callable[[Collection[str]], Collection[str]] = lambda _: (),
) -> Found:
    """Find the changes of a table since a cursor.

    Args:
        source: the table; it is read as a whole if it has changed.
        by: how rows are assigned to partitions; None without partitions.
        cursor: of the previous tick.
        most: maximum number of keys.
        watermark: a column whose values only grow (a number, a time); only rows above it count, and rows without a
            value never do.
        storage_options: passed to fsspec.
        emptied: given the table's keys, returns those that it had before but no longer has; not used with a watermark.

    Raises:
        TableError: the table cannot be read.
    """
    version = version_of(source, storage_options)
    if version is not None and version == cursor.version and cursor.after is None:
        return Found({}, cursor)
    is_new_round = cursor.after is None or (watermark is None and version != cursor.version)
    after, target = ("", None) if is_new_round else (cursor.after or "", cursor.target)
    sums, high = _sums(source, by, watermark, (cursor.mark, target), storage_options)
    all_keys = {key: digest_text(total) for key, total in sums.items()}
    if watermark is None:
        all_keys |= dict.fromkeys(emptied(sums.keys()), NO_ROWS)
    found = {key: digest for key, digest in sorted(all_keys.items()) if is_new_round or key > after}
    page = dict(list(found.items())[:most])
    left = len(found) - len(page)
    mark, target = cursor.mark, target or high or cursor.mark
    if not left:
        # With a watermark, rows may have been added meanwhile: the next tick reads the table even if it is unchanged.
        version = None if watermark is not None and not is_new_round else version
        return Found(page, Cursor(version, target if watermark else None))
    return Found(page, Cursor(version, mark, target, max(page)), left)


def version_of(source: Source, storage_options: Mapping[str, Any] | None = None) -> str | None:
    """Return a digest of a file's ETag or modification time and its size; None if its file system provides neither.

    Raises:
        TableError: the file cannot be reached.
    """
    source = source.url if isinstance(source, TableFile) else source
    if not isinstance(source, str | os.PathLike):
        return None
    url = os.fspath(source)
    if is_several(url, storage_options):
        versions = [(part.place.name, _version(part.info)) for part in parts_of(url, storage_options)]
        return None if None in dict(versions).values() else _digest(repr(versions))
    hide_in(url)
    hide_values(storage_options or {})
    try:
        fs, path = fsspec.url_to_fs(url, use_listings_cache=False, **dict(storage_options or {}))
        info = fs.info(path)
    except FileNotFoundError as error:
        raise TableError(f"there is no table at {without_secrets(url)}") from harmless(error)
    except Exception as error:  # noqa: BLE001 - each file system has errors of its own
        raise TableError(f"the table cannot be reached: {type(error).__name__}") from harmless(error)
    return _version(info)


def _version(info: Mapping[str, Any]) -> str | None:
    """Return a digest of a file system's details of a file that changes when the file changes."""
    told = [str(info[name]) for name in _VERSIONS if info.get(name)]
    return _digest("|".join([*told, str(info.get("size"))])) if told else None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def _sums(
    source: Source,
    by: RowKey | None,
    watermark: str | None,
    between: tuple[Mark | None, Mark | None],
    storage_options: Mapping[str, Any] | None,
) -> tuple[dict[str, int], Mark | None]:
    """Return the digest of each key's rows (with a watermark: of those above it), and the highest watermark."""
    sums: dict[str, int] = {}
    low, target = between
    high: Mark | None = None
    for key, digest, value in digests(source, by, storage_options, watermark):
        if watermark is not None:
            mark = _mark(value)
            if mark is None or (low is not None and mark <= low) or (target is not None and mark > target):
                continue
            high = mark if high is None else max(high, mark)
        sums[key] = sum_of(sums.get(key, 0), digest)
    return sums, high


def _mark(value: object) -> Mark | None:
    """Return a cell as a watermark; a text that is a number counts as one, since files have only text."""
    if is_missing(value) or isinstance(value, bool):
        return None
    if isinstance(value, str):
        try:
            value = int(value)
        except ValueError:
            return [1, value]
    try:
        found = json_of(value)
    except UnusableError:
        return None
    return [0, found] if isinstance(found, int | float) and math.isfinite(found) else [1, str(found)]
