"""Images as they are stored, each with its hash compared: no other bytes ever get into an export."""

from __future__ import annotations

import hashlib
from typing import IO, TYPE_CHECKING

from dagster_gptimg.errors import UnreadableError
from dagster_gptimg.store.images.spool import Spool
from dagster_gptimg.store.parallel import side_by_side

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from dagster_gptimg.engine.export.options import What
    from dagster_gptimg.engine.export.plan import Item
    from dagster_gptimg.store.dataset import Dataset
    from dagster_gptimg.store.root import Store

_CHUNK = 2**20
_IN_MEMORY = 4 * 2**20
"""Maximum bytes of an image in memory; up to 16 are read ahead from an object store."""


def read(dataset: Dataset, item: Item) -> Spool | What:
    """Return an image's bytes in a spool, which the caller closes; or what is wrong with its file.

    Raises `TemporaryError` if there is no room for a large image.
    """
    spool, digest, size = Spool(_IN_MEMORY), hashlib.sha256(), 0
    try:
        with dataset.store.open(f"{dataset.folder}/{item.path}") as file:
            while size <= item.bytes and (some := _some(file, dataset, item)):
                digest.update(some)
                size += len(some)
                spool.write(some)
    except FileNotFoundError:
        spool.restart()
        return "missing"
    except UnreadableError:
        spool.restart()
        return "unreadable"
    except BaseException:
        spool.restart()
        raise
    if size != item.bytes or digest.hexdigest() != item.sha256:
        spool.restart()
        return "changed"
    return spool


def _some(file: IO[bytes], dataset: Dataset, item: Item) -> bytes:
    try:
        return file.read(_CHUNK)
    except Exception as error:  # noqa: BLE001 - each file system has errors of its own
        raise UnreadableError(f"cannot read {dataset.uri(item.path)}: {error}") from None


def read_all(dataset: Dataset, items: Iterable[Item]) -> Iterator[tuple[Item, Spool | What]]:
    """Yield images with their bytes, in order, from concurrent reads where the store is far away. Raises as `read`."""
    for item, found in side_by_side(dataset.store, lambda item: read(dataset, item), items):
        try:
            yield item, found
        finally:
            if isinstance(found, Spool):
                found.restart()


def write(target: Store, name: str, spool: Spool) -> None:
    """Write an image into an export's folder; it is durable from the next `sync` of the folder. Raises `StoreError`.

    A call of the disk for each of 100,000 files takes longer than all else.
    """
    target.write_derived(name, spool.content())


def pour(spool: Spool, write_some: Callable[[bytes], object]) -> None:
    """Pass an image's bytes on, some at a time."""
    content = spool.content()
    if isinstance(content, bytes):
        write_some(content)
        return
    with content.open("rb") as file:
        while some := file.read(_CHUNK):
            write_some(some)
