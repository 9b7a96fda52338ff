"""The layout `webdataset`: tar files of samples, each an image and a `.json` with its columns under one key.

A key ends at the first dot of a name, so no key has one. Tar files are the same bytes whenever they are made of the
same images: times, owners and modes are fixed.
"""

from __future__ import annotations

import io
import json
import tarfile
from typing import IO, TYPE_CHECKING, Any

from dagster_gptimg.engine.export.columns import json_value
from dagster_gptimg.engine.export.packs import Packs, cut

if TYPE_CHECKING:
    from dagster_gptimg.engine.export.job import ExportJob
    from dagster_gptimg.engine.export.plan import Item
    from dagster_gptimg.store.images.spool import Spool

PREFIX = ""
OWN_FILES = ()

_NAME = "train/images-{:05}.tar"


def is_taken(_name: str) -> bool:
    """Return whether the layout needs a column's name for itself."""
    return False


def write(job: ExportJob) -> None:
    """Write the export. Raises `StoreError`, `UsageError`, `TemporaryError`."""
    Packs(job, _WebDataset()).write(cut(job, _NAME))


class _WebDataset:
    def open(self, _job: ExportJob, file: IO[bytes]) -> _Writer:
        return _Writer(file)

    def file_name(self, item: Item) -> str:
        return item.name


class _Writer:
    def __init__(self, file: IO[bytes]) -> None:
        self._tar = tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115 - closed by `end`

    def add(self, item: Item, row: dict[str, Any], spool: Spool) -> None:
        content = spool.content()
        if isinstance(content, bytes):
            self._add(item.name, len(content), io.BytesIO(content))
        else:
            with content.open("rb") as file:
                self._add(item.name, content.stat().st_size, file)
        values = {name: json_value(value) for name, value in row.items()}
        told = json.dumps(values, ensure_ascii=False).encode()
        self._add(f"{item.name.rpartition('.')[0]}.json", len(told), io.BytesIO(told))
        self._tar.members.clear()  # type: ignore[attr-defined]  # else it keeps the head of each member

    def end(self) -> None:
        self._tar.close()

    def _add(self, name: str, size: int, data: IO[bytes]) -> None:
        head = tarfile.TarInfo(name)
        head.size, head.mtime, head.mode = size, 0, 0o644
        self._tar.addfile(head, data)
