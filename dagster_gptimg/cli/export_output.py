"""Output of the command `export`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from dagster_gptimg.base.exit_status import ExitStatus
from dagster_gptimg.base.plain_text import counted
from dagster_gptimg.cli.output import say, tell, tell_json
from dagster_gptimg.engine import operations
from dagster_gptimg.engine.export.words import export_lines, open_line

if TYPE_CHECKING:
    from dagster_gptimg.engine.export.options import Exported, ExportOptions
    from dagster_gptimg.store.dataset import Dataset

PROGRESS_SECONDS = 5.0
"""Seconds between two lines about an export that is being written."""


def print_export(
    dataset: Dataset, partition: str | None, to: str, options: ExportOptions, *, as_json: bool
) -> ExitStatus:
    """Write an export, print what came of it, and return the exit status.

    Raises:
        UsageError: something has to be mended first; nothing was written.
        StoreError: a store cannot be used; the export is unfinished.
    """
    told = time.monotonic()

    def progress(done: int, of: int) -> None:
        nonlocal told
        if time.monotonic() - told > PROGRESS_SECONDS:
            told = time.monotonic()
            say(f"{done:,} of {counted(of, 'image')}")

    found = operations.export(dataset, to, options, partition, progress)
    for line in filter(None, [*export_lines(found), open_line(found)]):
        say(line)
    tell(found.path or found.uri)
    if as_json:
        tell_json(_as_json(found))
    return ExitStatus.COMPLETE if found.is_complete and found.images else ExitStatus.INCOMPLETE


def _as_json(found: Exported) -> dict[str, object]:
    counts = {"images": found.images, "copied": found.copied, "removed": found.removed, "failed": found.failed_count}
    left = {"left_out": found.left_out, "earlier_takes": found.earlier_takes}
    where = {"uri": found.uri, "path": found.path, "layout": found.layout, "files": found.files}
    wrong = {"kept": found.kept, "wrong": [failed._asdict() for failed in found.failed]}
    left |= {"stored": found.stored, "no_verdict": found.no_verdict}
    return where | counts | left | wrong | {"renamed": found.renamed}
