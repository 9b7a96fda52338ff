"""What an export is asked for, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

Layout: TypeAlias = Literal["folder", "imagefolder", "webdataset", "parquet", "zip"]
Only: TypeAlias = Literal["stored", "approved"]
What: TypeAlias = Literal["missing", "changed", "unreadable"]

MOST_TOLD = 1_000
"""Maximum images or files of a kind that are named; the others are counted."""


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """The options of one export, checked before (`dagster_gptimg.options`).

    Attributes:
        layout: the form of the export.
        file_names: template of the names of images; None: names made of row ids, always valid and unique.
        only: which images: all that are stored, or those that are approved.
        links: seconds for which the links of a column `link` are valid; None: no such column.
        shard_mb: megabytes of images in a file of many, at most.
    """

    layout: Layout = "folder"
    file_names: str | None = None
    only: Only = "stored"
    links: int | None = None
    shard_mb: int = 500


class Failed(NamedTuple):
    """An image that is not in the export, although it belongs to it.

    Attributes:
        row_id: of its row.
        image_index: which of the row's images it is, from 0.
        what: `missing`: its file is gone; `changed`: its file has other bytes than are on record; `unreadable`: its
            file cannot be read, or there is no hash on record.
        uri: of the file in the dataset; empty if the image table names none.
    """

    row_id: str
    image_index: int
    what: What
    uri: str


@dataclass(slots=True)
class Exported:
    """An export that was written.

    Attributes:
        uri: the folder.
        path: the folder's path if it is on this machine; else None.
        layout: the form of the export.
        images: number of images in it.
        copied: number of images that this call has written, those of rewritten shards included.
        removed: number of files of the last export that were removed, because they do not belong to it any more.
        kept: files of the last export that do not belong to it any more, and were left: somebody has changed them.
        failed: images that are not in it, although they belong to it; 1,000 at most.
        failed_count: number of all such images.
        left_out: number of images of a kind that this layout's readers cannot open (SVG).
        earlier_takes: number of images that were left out because a later take has replaced them.
        renamed: columns whose name the layout needs for itself, with the name that they have in the export.
        files: names of the files in which there are images or their columns, without those of single images.
        stored: number of images that are stored, and that `only` chose from.
        no_verdict: number of those on which there is no verdict.
    """

    uri: str
    path: str | None
    layout: Layout
    images: int = 0
    copied: int = 0
    removed: int = 0
    kept: list[str] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    failed_count: int = 0
    left_out: int = 0
    earlier_takes: int = 0
    renamed: dict[str, str] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    stored: int = 0
    no_verdict: int = 0

    @property
    def is_complete(self) -> bool:
        """Whether all images that belong to the export are in it, and no other file of an earlier one is."""
        return not self.failed_count and not self.kept


def note_failed(found: Exported, failed: Failed) -> None:
    """Note an image that cannot be exported."""
    found.failed_count += 1
    if len(found.failed) < MOST_TOLD:
        found.failed.append(failed)
