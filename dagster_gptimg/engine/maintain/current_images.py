"""The images that are in the image tables now, looked up by identity; read again only when a table has changed."""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING, Any

from dagster_gptimg.base.digest_columns import DigestMap, digest_of
from dagster_gptimg.engine.maintain.all_takes import OtherTakes
from dagster_gptimg.errors import UnreadableError
from dagster_gptimg.store.layout import partition_folder
from dagster_gptimg.store.manifest import manifest_folders, manifest_version_in, read_manifest_in, scan_columns_in
from dagster_gptimg.store.parallel import side_by_side
from dagster_gptimg.store.verdicts.verdicts import image_of, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagster_gptimg.store.dataset import Dataset
    from dagster_gptimg.store.verdicts.verdicts import ImageId

_NEEDED = ["request_key", "uri", "sha256"]


class CurrentImages:
    """The images of a dataset's image tables, or of one partition's. All methods block, and may be called by threads.

    Images of rows' other takes are among them: these can be approved, too. An image takes 16 bytes. Nothing is read
    until something is asked.
    """

    def __init__(self, dataset: Dataset, partition: str | None = None) -> None:
        """`partition`: the key of the only partition whose images are meant; None: all."""
        self._dataset, self._lock = dataset, threading.Lock()
        self._only = None if partition is None else partition_folder(partition)
        self._folders, self._versions, self._images = list[str](), dict[str, str](), DigestMap()

    def version(self) -> str:
        """Return a text that changes when an image table changes, comes or goes. Raises `StoreError`."""
        return _digest(self._look())

    def has(self, image: ImageId) -> bool:
        """Return whether an image table has the image now; one call of the store if nothing has changed.

        Raises `StoreError`, also if an image table cannot be read: then it is not known.
        """
        with self._lock:
            number = self._images.get(digest_of(text_of(image)))
            if number is not None:
                folder = self._folders[number]
                if manifest_version_in(self._dataset, folder) == self._versions[folder]:
                    return True
            versions = self._look()
            if versions != self._versions:
                self._read(versions)
            return self._images.get(digest_of(text_of(image))) is not None

    def _look(self) -> dict[str, str]:
        folders = [name for name in manifest_folders(self._dataset) if self._only in {None, name}]
        return dict(side_by_side(self._dataset.store, self._version_in, folders))

    def _version_in(self, folder: str) -> str:
        return manifest_version_in(self._dataset, folder)

    def _read(self, versions: dict[str, str]) -> None:
        folders, images, others = list(versions), DigestMap(), OtherTakes(self._dataset)
        for number, folder in enumerate(folders):
            try:
                for records in self._records(folder, others):
                    for record in records:
                        image = image_of(record)
                        if image is not None:
                            images.setdefault(digest_of(text_of(image)), number)
            except FileNotFoundError as error:
                raise UnreadableError(f"the image table in {folder!r} was replaced while it was read") from error
        self._folders, self._versions, self._images = folders, versions, images

    def _records(self, folder: str, others: OtherTakes) -> Iterator[list[dict[str, Any]]]:
        """Yield the records of an image table, and those of its rows' other takes."""
        for batch in scan_columns_in(self._dataset, folder, _NEEDED):
            yield batch.to_pylist()
        if others.are_there:
            table = read_manifest_in(self._dataset, folder)
            yield others.of(others.picked(table).to_pylist()).to_pylist()


def _digest(versions: dict[str, str]) -> str:
    return hashlib.sha256(repr(sorted(versions.items())).encode()).hexdigest()[:32]
