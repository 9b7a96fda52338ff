"""A process that exports, and kills itself on the way: `STORE DATASET TO LAYOUT MOMENT`."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from dagster_gptimg.engine import operations
from dagster_gptimg.engine.export.export_list import UNFINISHED, ExportList
from dagster_gptimg.engine.export.options import ExportOptions
from dagster_gptimg.engine.export.target import Folder
from dagster_gptimg.store.dataset import Dataset
from dagster_gptimg.store.root import Store


def die(*_given: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> int:
    store, dataset, to, layout, moment = sys.argv[1:]
    delete, begin, begun = Store.delete, ExportList.begin, list[None]()

    def begin_and_die(self: ExportList, files: Any) -> None:
        begin(self, files)
        begun.append(None)
        if len(begun) == 2:  # the second list has a file that is not in its place yet
            die()

    if moment == "before a file is in its place":
        ExportList.begin = begin_and_die  # type: ignore[method-assign]
    if moment == "before old files are removed":
        Folder.remove_old = die  # type: ignore[assignment,method-assign]
    if moment == "before the list":
        ExportList.finish = die  # type: ignore[assignment,method-assign]
    if moment == "after the list":
        Store.delete = lambda self, name: die() if name == UNFINISHED else delete(self, name)  # type: ignore[method-assign]

    def progress(done: int, _of: int) -> None:
        if str(done) == moment:
            die()

    options = ExportOptions(layout, shard_mb=1)  # type: ignore[arg-type]
    operations.export(Dataset(Store(store), dataset), to, options, on_progress=progress)
    return 0
