"""What a gallery's page shows of the records of an image table. All values are text or numbers, secrets are masked.

Each record is in two files: `entry` has what lists, searches and filters need and is loaded for all records, `details`
has everything else and is loaded when an image is opened.
"""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from dagster_gptimg.base.masking import masked
from dagster_gptimg.base.plain_text import shown
from dagster_gptimg.base.row_status import RowStatus
from dagster_gptimg.store.images.formats.kinds import SVG
from dagster_gptimg.store.layout import IMAGES, image_in
from dagster_gptimg.store.manifest import SCHEMA
from dagster_gptimg.store.verdicts.verdict_columns import is_on_verdict
from dagster_gptimg.store.verdicts.verdicts import image_of, text_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

FIELDS = (
    "row_id",
    "prompt",
    "status",
    "image_index",
    "images_wanted",
    "partition",
    "endpoint",
    "sha256",
    "has_thumbnail",
    "cost_usd",
    "stored_at",
    "error",
    "flags",
    "columns",
    "inputs",
    "verdict",
    "verdict_note",
    "verdict_number",
    "take",
    "is_other",
)
"""The values of an entry, in order; the page names them from here."""

IDENTITY = "image"
"""The value of `identity`, which follows those of `FIELDS` in a gallery that a server shows."""

LETTERS = 2_000
"""Maximum characters of one of the row's own columns in an entry; `details` has the whole text."""

PROMPT = "prompt"
_DIGESTS = {"sha256", "request_key"}
_SHOWN_IN_ENTRY = {*FIELDS, "arguments", "uri"} - {"sha256"}


class Seen(NamedTuple):
    """What is known of a record's image beside its record.

    Attributes:
        has_thumbnail: whether there is one.
        flags: what is odd about the image, in a word or two each.
        is_other: whether it is of another take than the current one of its row, and so not in the image table.
    """

    has_thumbnail: bool = False
    flags: tuple[str, ...] = ()
    is_other: bool = False


def entry(record: Mapping[str, Any], partition: str | None, seen: Seen, inputs: Collection[str]) -> list[Any]:
    """Return the values of `FIELDS` of a record.

    Args:
        record: of an image table.
        partition: the key of the record's partition.
        seen: what is known of its image.
        inputs: names of the model inputs that differ between records.
    """
    own = [[text(name), shown_text(value)] for name, value in json_of(record, "columns") if value is not None]
    values = [[text(name), shown_text(value)] for name, value in json_of(record, "arguments") if name in inputs]
    cost, stored_at = record["cost_usd"], record["stored_at"]
    error = record["error"] or record["error_type"]
    return [
        record["row_id"],
        text(record["prompt"]),
        record["status"],
        record["image_index"],
        record["images_wanted"],
        partition,
        record["endpoint"],
        record["sha256"] if record["uri"] else None,
        int(seen.has_thumbnail),
        None if cost is None else float(cost),
        stored_at.timestamp() if isinstance(stored_at, datetime) else None,
        text(error) if error and record["status"] != RowStatus.STORED else None,
        list(seen.flags),
        own,
        values,
        record.get("verdict"),
        text(record["verdict_note"]) if record.get("verdict_note") else None,
        record.get("verdict_number") or 0,
        record.get("take") or 0,
        int(seen.is_other),
    ]


def identity(record: Mapping[str, Any]) -> str | None:
    """Return the text by which a page names a record's image to its server; None if it cannot be judged."""
    image = image_of(record)
    return None if image is None else text_of(image)


def details(record: Mapping[str, Any]) -> list[Any]:
    """Return everything of a record that its entry does not have, as `[path, values, inputs, columns]`.

    `path` is that of the image within `images`, None for an SVG: a browser would run its scripts in the store's own
    origin, so the page neither shows nor links it. The others are lists of a name with its text.
    """
    names = [name for name in SCHEMA.names if name not in _SHOWN_IN_ENTRY and record[name] is not None]
    is_svg = record["content_type"] == SVG.content_type or str(record["uri"]).endswith(f".{SVG.ending}")
    path = image_in(record["uri"]) if record["uri"] and not is_svg else None
    return [
        path.removeprefix(f"{IMAGES}/") if path else None,
        [[name, record[name] if name in _DIGESTS else text(record[name])] for name in names],
        [[text(name), text(value)] for name, value in json_of(record, "arguments") if name != PROMPT],
        [[text(name), text(value)] for name, value in json_of(record, "columns") if value is not None],
    ]


def flags_of(record: Mapping[str, Any]) -> list[str]:
    """Return what the image table itself says to be odd about a stored image."""
    notes = (record["notes"] or "").split("; ")
    found = ["unusual file"] if any(note and not is_on_verdict(note) for note in notes) else []
    found += ["its verdict does not count"] if any(map(is_on_verdict, notes)) else []
    found += ["black"] if record.get("black") else []
    found += ["flagged unsafe by fal"] if record.get("nsfw") else []
    return found


def json_of(record: Mapping[str, Any], name: str) -> Iterator[tuple[str, Any]]:
    """Yield the names and values of a JSON column; none if it cannot be read, since a gallery is only derived."""
    try:
        found = json.loads(record[name] or "{}")
    except ValueError:
        return
    if isinstance(found, dict):
        yield from found.items()


def text(value: object) -> str:
    """Return a value as text for people, without secrets."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    if isinstance(value, dict | list):
        return masked(json.dumps(value, ensure_ascii=False))
    return masked(str(value))


def shown_text(value: object) -> str:
    """Return a value as text of at most `LETTERS` characters."""
    found = text(value)
    return found if len(found) <= LETTERS else shown(found, LETTERS)
