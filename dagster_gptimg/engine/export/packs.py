"""Exports of many images a file: the steps that `webdataset`, `parquet` and `zip` share.

A file is written whole under a temporary name, and then put in its place. The export's own list has a digest of what
each file was made of: a file that would be made of the same again is left as it is.
"""

from __future__ import annotations

import hashlib
import json
from typing import IO, TYPE_CHECKING, Any, Protocol

from dagster_gptimg.engine.export import copying
from dagster_gptimg.engine.export.plan import Listed
from dagster_gptimg.store.images.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagster_gptimg.engine.export.job import ExportJob
    from dagster_gptimg.engine.export.plan import Item

VERSION = 1
"""Version of the layouts: a new one has all files written anew."""

_MB = 1_000_000


class Writer(Protocol):
    """Writes one file of many images."""

    def add(self, item: Item, row: dict[str, Any], spool: Spool) -> None:
        """Add an image with its columns."""

    def end(self) -> None:
        """Write what stands at the end of the file."""


class Pack(Protocol):
    """A layout of many images a file."""

    def open(self, job: ExportJob, file: IO[bytes]) -> Writer:
        """Begin a file."""

    def file_name(self, item: Item) -> str:
        """Return an image's name as its columns are to say it."""


class Packs:
    """The steps of one export."""

    def __init__(self, job: ExportJob, layout: Pack) -> None:
        """`job`: each of its images has a pack."""
        self._job, self._layout, self._done = job, layout, 0
        self._known = dict[str, Listed]()

    def write(self, packs: list[str]) -> None:
        """Bring the folder up to date; write nothing if it is. Raises `StoreError`, `UsageError`, `TemporaryError`.

        `packs`: names of all files, in order.
        """
        job = self._job
        names = "SELECT name FROM pack"
        job.plan.db.execute("CREATE TABLE pack (name TEXT PRIMARY KEY)")
        job.plan.db.executemany("INSERT INTO pack VALUES (?)", [(name,) for name in packs])
        job.folder.look(names)
        self._known = {name: self._old(name) for name in packs}
        stale = [name for name in packs if self._known[name].sha256 is None]
        left = job.plan.one(f"SELECT 1 FROM old WHERE name NOT IN ({names}) LIMIT 1")
        if stale or left or job.before != "finished":
            job.own_list.begin(self._listed())
            for name in stale:
                self._write(name)
            job.found.removed, job.found.kept = job.folder.remove_old(names)
            job.own_list.finish(self._known.values())
        job.found.files = packs

    def _old(self, name: str) -> Listed:
        """Return a file of the last export if it would be made of the same again; else its name alone."""
        job, old = self._job, self._job.plan.old(name)
        if old is not None and job.links_from is None and self._is_there(old):
            digest = _Content(job)
            for item in job.plan.items("pack = ?", name):
                digest.add(item, job.row(item, self._layout.file_name(item)))
            if digest.hexdigest() == old.content:
                images = int(job.plan.one("SELECT count(*) FROM item WHERE pack = ?", name))
                job.found.images += images
                self._done += images
                return old._replace(was=None)
        return Listed(name, None, None, was=old and (old.sha256 or old.was))

    def _is_there(self, old: Listed) -> bool:
        if not old.content or not self._job.folder.has(old.name, old.bytes):
            return False
        # In an unfinished export, a file that was to be replaced may be the old one or the new one.
        return old.was is None or self._job.folder.sha256(old.name) == old.sha256

    def _listed(self) -> Iterator[Listed]:
        yield from self._known.values()
        for row in self._job.plan.db.execute("SELECT * FROM old WHERE name NOT IN (SELECT name FROM pack)"):
            yield Listed(*row)

    def _write(self, name: str) -> None:
        """Write a file; it is in the list with its hash before it is in its place."""
        job, content, total = self._job, _Content(self._job), self._job.total()
        with job.target.writing(name) as file:
            writer = self._layout.open(job, file)
            for item, found in copying.read_all(job.dataset, job.plan.items("pack = ?", name)):
                if isinstance(found, Spool):
                    row = job.row(item, self._layout.file_name(item))
                    writer.add(item, row, found)
                    content.add(item, row)
                    job.found.images += 1
                    job.found.copied += 1
                else:
                    job.fail(item, found)
                self._done += 1
                job.on_progress(self._done, total)
            writer.end()
            file.flush()
            size = file.seek(0, 2)
            file.seek(0)
            digest = hashlib.sha256()
            while some := file.read(2**20):
                digest.update(some)
            was = self._known[name].was
            self._known[name] = Listed(name, digest.hexdigest(), size, content.hexdigest(), was)
            job.own_list.begin(self._listed())
        self._known[name] = self._known[name]._replace(was=None)


class _Content:
    """A digest of what a file is made of."""

    def __init__(self, job: ExportJob) -> None:
        self._digest = hashlib.sha256()
        self._add([VERSION, job.options.layout, [[column.name, column.kind] for column in job.columns.columns]])

    def add(self, item: Item, row: dict[str, Any]) -> None:
        """Add an image with its columns."""
        self._add([item.name, item.sha256, row])

    def hexdigest(self) -> str:
        """Return the digest."""
        return self._digest.hexdigest()

    def _add(self, value: object) -> None:
        self._digest.update(json.dumps(value).encode() + b"\n")


def cut(job: ExportJob, name: str) -> list[str]:
    """Give each image its shard, in order, each of up to `shard_mb`; return the names of the shards.

    `name`: of a shard, with a field for its number.
    """
    most, held, number = job.options.shard_mb * _MB, 0, 0
    for item in job.plan.items():
        if held and held + item.bytes > most:
            number, held = number + 1, 0
        held += item.bytes
        job.plan.db.execute("UPDATE item SET pack = ? WHERE number = ?", (name.format(number), item.number))
    job.plan.db.execute("CREATE INDEX by_pack ON item (pack, number)")
    return [name.format(count) for count in range(number + 1)] if held else []
