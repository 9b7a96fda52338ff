"""Exports of a file an image, with one table beside them: the steps that `folder` and `imagefolder` share.

New images are written first, then the table, then what does not belong any more is removed, then the list is written:
at no time does the table name an image that is not there.
"""

from __future__ import annotations

import hashlib
from typing import IO, TYPE_CHECKING

from dagster_gptimg.engine.export import copying
from dagster_gptimg.engine.export.plan import Listed
from dagster_gptimg.store.images.spool import Spool
from dagster_gptimg.store.parallel import side_by_side
from dagster_gptimg.temporary_files import TemporaryFolder, create

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dagster_gptimg.engine.export.job import ExportJob
    from dagster_gptimg.engine.export.options import What
    from dagster_gptimg.engine.export.plan import Item


class Files:
    """The steps of one export."""

    def __init__(self, job: ExportJob, table: str, write_table: Callable[[ExportJob, IO[bytes]], None]) -> None:
        """Name the table.

        Args:
            job: the export.
            table: the table's name.
            write_table: writes the table of all images that are in the export into a file.
        """
        self._job, self._table, self._write_table = job, table, write_table
        self._has_begun = False

    def write(self) -> None:
        """Bring the folder up to date; write nothing if it is. Raises `StoreError`, `UsageError`, `TemporaryError`."""
        job = self._job
        job.folder.look(f"SELECT name FROM item UNION SELECT '{self._table}'")
        self._find_done()
        if job.before != "finished" or self._changes():
            self._begin()
        self._copy()
        table = self._put_table()
        if not self._has_begun:
            return
        keep = f"SELECT name FROM item WHERE is_failed = 0 UNION SELECT '{self._table}'"
        job.found.removed, job.found.kept = job.folder.remove_old(keep)
        job.target.sync()
        job.own_list.finish(self._finished(table))

    def _find_done(self) -> None:
        """Mark the images that are in the folder already, by the last export's list."""
        job = self._job
        for item in job.plan.items("name IN (SELECT name FROM old JOIN there USING (name))"):
            old = job.plan.old(item.name)
            if old is None or old.sha256 != item.sha256 or not job.folder.has(item.name, item.bytes):
                continue
            # Of an unfinished export: a file that was to be replaced may be the old one or the new one, and the power
            # may have failed before a local file was on the disk.
            is_sure = job.before == "finished" or (old.was is None and not job.target.is_local)
            if is_sure or job.folder.sha256(item.name) == item.sha256:
                job.plan.done(item)

    def _changes(self) -> bool:
        pending = self._job.plan.one("SELECT 1 FROM item WHERE is_done = 0 LIMIT 1")
        left = self._job.plan.one(
            "SELECT 1 FROM old WHERE name NOT IN (SELECT name FROM item) AND name != ? LIMIT 1", self._table
        )
        return pending is not None or left is not None

    def _begin(self) -> None:
        if not self._has_begun:
            self._has_begun = True
            self._job.own_list.begin(self._expected())

    def _expected(self) -> Iterator[Listed]:
        """Yield what the folder may have while the export is unfinished: the new files, and the last export's."""
        job = self._job
        for item in job.plan.items():
            yield Listed(item.name, item.sha256, item.bytes, was=self._was(item))
        table = job.plan.old(self._table)
        yield Listed(self._table, None, None, was=table and (table.sha256 or table.was))
        left = "SELECT * FROM old WHERE name NOT IN (SELECT name FROM item) AND name != ?"
        for row in job.plan.db.execute(left, (self._table,)):
            yield Listed(*row)

    def _was(self, item: Item) -> str | None:
        """Return the hash of another file that is there under an image's name."""
        old = self._job.plan.old(item.name)
        if old is None or self._job.plan.one("SELECT is_done FROM item WHERE number = ?", item.number):
            return None
        if self._job.plan.one("SELECT 1 FROM there WHERE name = ?", item.name) is None:
            return None
        return self._job.folder.sha256(item.name) if self._job.before == "unfinished" else old.sha256

    def _copy(self) -> None:
        job, total = self._job, self._job.total()
        done = job.found.images = int(job.plan.one("SELECT count(*) FROM item WHERE is_done = 1"))
        far = job.dataset.store if job.target.is_near else job.target
        for item, wrong in side_by_side(far, self._copy_one, job.plan.items("is_done = 0")):
            done += 1
            if wrong is None:
                job.found.images += 1
                job.found.copied += 1
            else:
                job.fail(item, wrong)
            job.on_progress(done, total)

    def _copy_one(self, item: Item) -> What | None:
        found = copying.read(self._job.dataset, item)
        if not isinstance(found, Spool):
            return found
        with found:
            copying.write(self._job.target, item.name, found)
        return None

    def _put_table(self) -> Listed:
        """Write the table, if another one is there; return it as a file of the list."""
        job, old = self._job, self._job.plan.old(self._table)
        with TemporaryFolder() as made:
            path = made / "table"
            with create(path) as file:
                self._write_table(job, file)
                file.flush()
                size = file.tell()
            with path.open("rb") as written:
                sha256 = hashlib.file_digest(written, "sha256").hexdigest()
            if old is None or old.sha256 != sha256 or not job.folder.has(self._table, size):
                self._begin()
                job.target.write_file(self._table, path)
        job.found.files = [self._table]
        return Listed(self._table, sha256, size)

    def _finished(self, table: Listed) -> Iterator[Listed]:
        for item in self._job.plan.items("is_failed = 0"):
            yield Listed(item.name, item.sha256, item.bytes)
        yield table
