"""The layout `zip`: one zip file with images under names that people can read, and `images.csv`."""

from __future__ import annotations

import zipfile
from typing import IO, TYPE_CHECKING, Any

from dagster_gptimg.engine.export import folder
from dagster_gptimg.engine.export.copying import pour
from dagster_gptimg.engine.export.packs import Packs

if TYPE_CHECKING:
    from dagster_gptimg.engine.export.job import ExportJob
    from dagster_gptimg.engine.export.plan import Item
    from dagster_gptimg.store.images.spool import Spool

NAME = "images.zip"
PREFIX = ""
OWN_FILES = folder.OWN_FILES

_FIRST_DAY = (1980, 1, 1, 0, 0, 0)
"""The first time that a zip file can have: two exports of the same images are the same bytes."""


def is_taken(name: str) -> bool:
    """Return whether the layout needs a column's name for itself."""
    return folder.is_taken(name)


def write(job: ExportJob) -> None:
    """Write the export. Raises `StoreError`, `UsageError`, `TemporaryError`."""
    job.plan.db.execute("UPDATE item SET pack = ?", (NAME,))
    Packs(job, _Zip()).write([NAME])


class _Zip:
    def open(self, job: ExportJob, file: IO[bytes]) -> _Writer:
        return _Writer(job, file)

    def file_name(self, item: Item) -> str:
        return item.name


class _Writer:
    def __init__(self, job: ExportJob, file: IO[bytes]) -> None:
        self._job = job
        self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True)

    def add(self, item: Item, _row: dict[str, Any], spool: Spool) -> None:
        with self._zip.open(_head(item.name, item.bytes), "w") as member:
            pour(spool, member.write)

    def end(self) -> None:
        with self._zip.open(_head(folder.TABLE, 0), "w", force_zip64=True) as member:
            folder.write_csv(self._job, member)
        self._zip.close()


def _head(name: str, size: int) -> zipfile.ZipInfo:
    head = zipfile.ZipInfo(name, _FIRST_DAY)
    head.file_size, head.external_attr, head.create_system = size, 0o644 << 16, 3
    return head
