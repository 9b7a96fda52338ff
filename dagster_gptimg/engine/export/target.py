"""The folder of an export: whether it may be written to, and what is in it."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dagster_gptimg.engine.export.export_list import LISTS
from dagster_gptimg.errors import UnreadableError, UsageError
from dagster_gptimg.prompts.quoting import listed, quoted
from dagster_gptimg.store.layout import ABOUT

if TYPE_CHECKING:
    from dagster_gptimg.engine.export.plan import Plan
    from dagster_gptimg.store.dataset import Dataset
    from dagster_gptimg.store.root import Store

TOLD = 20
"""Maximum names of files in the way that are told."""

_CHUNK = 2**20


def check_place(target: Store, dataset: Dataset) -> None:
    """Check that an export's folder is no part of a store, and holds none: files of both would be mixed.

    Raises:
        UsageError: it is; nothing was written.
        StoreError: the folder cannot be read.
    """
    store = dataset.store
    if type(target.fs) is type(store.fs):
        mine, its = (_real(found) for found in (target, store))
        if f"{mine}/".startswith(f"{its}/") or f"{its}/".startswith(f"{mine}/"):
            raise UsageError(
                f"{target.uri('')} and the dataset's store {store.uri('')} lie one within the other: name a folder "
                "beside the store for the export (to=, --to). Nothing was written"
            )
    parts = _real(target).split("/")
    for count in range(len(parts), 0, -1):
        if _is_dataset(target, "/".join(parts[:count])):
            raise UsageError(
                f"{target.uri('')} is a dataset, or within one: name another folder for the export (to=, --to). "
                "Nothing was written"
            )


def _is_dataset(target: Store, folder: str) -> bool:
    """Return whether a folder is known to be a dataset's; one above the export's may not be ours to look into."""
    with suppress(Exception):
        return bool(folder) and bool(target.fs.exists(f"{folder}/{ABOUT}"))
    return False


def _real(store: Store) -> str:
    return os.path.realpath(store.root) if store.is_local else str(store.root)


class Folder:
    """What is in an export's folder, and belongs to the export."""

    def __init__(self, target: Store, plan: Plan) -> None:
        """`plan`: with names, and the files of the last export."""
        self._target, self._plan = target, plan

    def look(self, names: str) -> None:
        """Put the files that are there into the plan, and check that no other file is in the way.

        Args:
            names: the question, in SQL, for the names of the files that will be there.

        Raises:
            UsageError: another file, or a link, is in the way; nothing was written.
            StoreError: the folder cannot be read.
        """
        db, folders = self._plan.db, {""}
        for (name,) in db.execute(f"{names} UNION SELECT name FROM old"):
            folders.add(name.rpartition("/")[0])
        for folder in sorted(folders):
            self._check_link(folder)
            sizes = self._target.sizes(folder)
            if self._target.is_local:
                self._target.names(folder)  # by which a store knows what killed processes have left, and removes it
            place = f"{folder}/" if folder else ""
            rows = ((f"{place}{name}", size) for name, size in sizes.items() if f"{place}{name}" not in LISTS)
            db.executemany("INSERT OR REPLACE INTO there VALUES (?, ?)", rows)
        taken = f"SELECT name FROM there WHERE name IN ({names}) AND name NOT IN (SELECT name FROM old)"
        count = self._plan.one(f"SELECT count(*) FROM ({taken})")
        if count:
            told = listed((name for (name,) in db.execute(f"{taken} ORDER BY name LIMIT {TOLD + 1}")), TOLD)
            raise UsageError(
                f"{count} files are in {self._target.uri('')} already, and no export has written them: choose another "
                f"folder (to=, --to). Nothing was written: {told}"
            )

    def _check_link(self, folder: str) -> None:
        """Raise `UsageError` if a folder is a link: its files would be written elsewhere."""
        if not self._target.is_local:
            return
        path = Path(self._target.root)
        for part in folder.split("/") if folder else ():
            path /= part
            if path.is_symlink():
                raise UsageError(
                    f"{quoted(str(path), 300)} is a link, and an export follows none: choose another folder (to=, "
                    "--to). Nothing was written"
                )

    def has(self, name: str, size: int | None) -> bool:
        """Return whether a file of this size was there when the folder was looked at."""
        there = self._plan.db.execute("SELECT bytes FROM there WHERE name = ?", (name,)).fetchone()
        return there is not None and size is not None and there[0] == size and not self._is_link(name)

    def sha256(self, name: str) -> str | None:
        """Return the SHA-256 of a file in the folder, which is read; None if it is not there, or cannot be read."""
        if self._is_link(name):
            return None
        digest = hashlib.sha256()
        try:
            with self._target.open(name) as file:
                while some := file.read(_CHUNK):
                    digest.update(some)
        except (FileNotFoundError, UnreadableError, OSError):
            return None
        return digest.hexdigest()

    def _is_link(self, name: str) -> bool:
        return self._target.is_local and Path(self._target.path(name)).is_symlink()

    def remove_old(self, keep: str) -> tuple[int, list[str]]:
        """Remove the files of the last export that do not belong to it any more; those that were changed stay.

        Args:
            keep: the question, in SQL, for the names of the files that belong to the export.

        Returns:
            How many were removed, and the names of those that stay.
        """
        removed, kept, folders = 0, list[str](), set[str]()
        rows = self._plan.db.execute(
            f"SELECT name, sha256, was FROM old JOIN there USING (name) WHERE name NOT IN ({keep}) ORDER BY name"
        )
        for name, *digests in rows:
            folders.add(name.rpartition("/")[0])
            if self.sha256(name) in [digest for digest in digests if digest]:
                self._target.delete(name)
                removed += 1
            else:
                kept.append(name)
        self._remove_empty(folders)
        return removed, kept

    def _remove_empty(self, folders: set[str]) -> None:
        """Remove folders of removed files that are empty now, and those above them."""
        if not self._target.is_local:
            return
        for folder in sorted(folders, key=len, reverse=True):
            path = Path(self._target.path(folder))
            while folder and path != Path(self._target.root):
                try:
                    path.rmdir()
                except OSError:
                    break
                path = path.parent
