"""The images of one dataset as the table of another: a row for each stored image, by its content.

What a row of such a table has: `uri`, by which the image is named; `row_id`; and the columns that the row of the
upstream asset carries along. The image table says the SHA-256 and the size of each image, so none is read for its key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from dagster_gptimg.base.plain_text import counted, shown
from dagster_gptimg.base.row_status import RowStatus
from dagster_gptimg.prompts import Reference
from dagster_gptimg.prompts.references import BY_CONTENT, CONTENT_TYPES
from dagster_gptimg.store.image_record import rows_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa

URI = "uri"
"""Column of a row with the address of its image."""
ROW_ID = "row_id"
"""Column with the row's id: that of the row upstream; for its second image `ID#2`, and so on."""
NAMED = 5
"""Maximum rows without an image that are named."""


def _nothing(_text: str, _reference: Reference) -> None:
    """Note nothing."""


@dataclass(frozen=True)
class StoredImages:
    """The stored images of an asset upstream, as rows. May be iterated several times.

    Attributes:
        tables: its image tables by partition key; the key None is that of a table without partitions.
        note: called with each image's URI, content and size, just before its row.
    """

    tables: Mapping[str | None, pa.Table] = field(repr=False)
    note: Callable[[str, Reference], None] = field(default=_nothing, repr=False, compare=False)

    @classmethod
    def of_input(cls, loaded: Any) -> StoredImages:  # noqa: ANN401 - what the loader returns
        """Wrap what the loader of an image asset returns: an image table, or a dict of them by partition key."""
        return cls(dict(loaded) if isinstance(loaded, Mapping) else {None: loaded})

    def of_partition(self, key: str | None) -> StoredImages:
        """Return the images of one partition, if they came by partition; else all of them."""
        return replace(self, tables={key: self.tables[key]}) if key in self.tables else self

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield a row for each stored image, in the order of the image tables."""
        for table in self.tables.values():
            for row in rows_of(table):
                if row["status"] != RowStatus.STORED or row["uri"] is None:
                    continue
                if row["sha256"] and row["content_type"] in CONTENT_TYPES:
                    has_size = row["width"] and row["height"]
                    size = (row["width"], row["height"]) if has_size else None
                    self.note(row["uri"], Reference(BY_CONTENT + row["sha256"], row["uri"], size))
                number = row["image_index"] or 0
                row_id = f"{row['row_id']}#{number + 1}" if number else row["row_id"]
                yield {**row["columns"], ROW_ID: row_id, URI: row["uri"]}

    def left_out(self, name: str) -> str:
        """Return in a sentence which rows have no stored image, so that nothing is sent for them; empty if all have.

        `name`: what the images are called in it.
        """
        without: dict[str, str] = {}
        for table in self.tables.values():
            for row in rows_of(table):
                if row["status"] != RowStatus.STORED or row["uri"] is None:
                    without.setdefault(row["row_id"], row["status"])
        if not without:
            return ""
        why = ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in Counter(without.values()).items())
        names = ", ".join(repr(shown(row_id, 80)) for row_id in [*without][:NAMED])
        more = ", ..." if len(without) > NAMED else ""
        rows = f"{counted(len(without), 'row')} of {name} {'is' if len(without) == 1 else 'are'} without a stored image"
        return f"{rows} ({why}); nothing is sent for them: {names}{more}"
