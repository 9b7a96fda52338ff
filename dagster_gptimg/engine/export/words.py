"""What came of an export, in words for people."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from dagster_gptimg.base.plain_text import counted, plain
from dagster_gptimg.prompts.quoting import listed, quoted

if TYPE_CHECKING:
    from dagster_gptimg.engine.export.options import Exported

TOLD = 20
"""Maximum images, or files, that are named."""

_WHAT = {
    "missing": "its file is gone",
    "changed": "its file has other bytes than are on record",
    "unreadable": "its file cannot be read, or no hash is on record",
}

_READ_WHEN_EMPTY = frozenset({"folder", "zip"})
"""Layouts for people, which are of use without images: a table without rows."""


def export_lines(found: Exported) -> list[str]:
    """Return what an export has, and what is wrong with it, in sentences."""
    parts = [counted(found.images, "image"), f"{found.copied} written now"]
    parts += [f"{counted(found.removed, 'file')} of the last export removed"] if found.removed else []
    lines = [", ".join(parts), *_empty_lines(found)]
    if found.renamed:
        pairs = (f"{quoted(old)} is called {quoted(new)}" for old, new in found.renamed.items())
        lines.append(f"columns under another name: {', '.join(pairs)}")
    if found.left_out:
        lines.append(f"{counted(found.left_out, 'SVG')} left out: readers of this layout cannot open them")
    if found.earlier_takes:
        lines.append(f"{counted(found.earlier_takes, 'image')} of earlier takes left out")
    if found.kept:
        lines.append(
            f"{counted(len(found.kept), 'file')} of the last export left, although no image of this one is in them: "
            f"somebody has changed them since. Look at them and delete them yourself: {listed(found.kept, TOLD)}"
        )
    lines += [
        f"row {plain(failed.row_id)}, image {failed.image_index}: not exported: {_WHAT[failed.what]}"
        for failed in found.failed[:TOLD]
    ]
    if found.failed_count > TOLD:
        lines.append(f"... and {found.failed_count - TOLD} more images that are not exported")
    if found.failed_count:
        lines.append("`dagster-gptimg verify` fetches files from fal that are gone; then export again")
    return lines


def open_line(found: Exported) -> str:
    """Return how a program opens an export, in one line; an empty text for layouts for people, or without images."""
    if not found.images or found.layout in _READ_WHEN_EMPTY:
        return ""
    where = found.path or found.uri
    if found.layout != "webdataset":
        return f'open it: load_dataset("{found.layout}", data_dir={json.dumps(where)})'
    shards = found.files[0]
    if len(found.files) > 1:
        first, last = (name.rpartition("-")[2].partition(".")[0] for name in (found.files[0], found.files[-1]))
        shards = shards.replace(first, f"{{{first}..{last}}}")
    return f"open it: webdataset.WebDataset({json.dumps(f'{where}/{shards}')})"


def _empty_lines(found: Exported) -> list[str]:
    """Return why an export has no image, and what that means for who opens it; nothing if it has one."""
    if found.images or found.failed_count:
        return []
    told = "no image is in the export" if found.left_out else "0 images are stored"
    if found.stored and not found.left_out:
        told = f"0 of {counted(found.stored, 'image')} are approved ({found.no_verdict} have no verdict)"
    unread = (
        ""
        if found.layout in _READ_WHEN_EMPTY
        else f"; an export in the layout {found.layout} cannot be opened without images"
    )
    return [told + unread]
