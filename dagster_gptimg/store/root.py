"""A store: an fsspec root with the three operations on which everything else is based.

* `create` makes an object exclusively and durably; the second caller gets `FileExistsError`. It is idempotency key,
  lock
  and record in one (docs/guarantee.md#invariant-7).
* `write` replaces an object atomically: no reader ever sees a part of it.
* `read` distinguishes "does not exist" (`FileNotFoundError`) from "cannot be read" (`UnreadableError`), which never
  leads
  to a purchase.

Local folders have their own writer (`store.local_files`), because fsspec's would leave an incomplete file after a
crash.
"""

from __future__ import annotations

import os
import re
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import fsspec
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from dagster_gptimg.base.masking import harmless, hide_in, hide_values, without_credentials
from dagster_gptimg.base.plain_text import words_of
from dagster_gptimg.base.regular_files import check_regular
from dagster_gptimg.errors import StoreError, UsageError
from dagster_gptimg.store.exclusive_create import (
    KNOWN_STORES,
    Exclusivity,
    create,
    exclusivity,
    has_cache,
    is_in_memory,
)
from dagster_gptimg.store.file_system_errors import changing, copying_to, reading
from dagster_gptimg.store.local_files import (
    PART,
    Folders,
    create_file,
    remove_part,
    replace_file,
    replacing,
    sync_all,
    try_folder,
)
from dagster_gptimg.temporary_files import TemporaryFolder
from dagster_gptimg.temporary_files import create as create_temporary

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


MOST_PARTS = 10_000
"""Maximum number of abandoned files that are remembered until they are removed; others are left to a later run."""


class Store:
    """Objects below one fsspec root, by their paths relative to it. All methods block; run them in a thread.

    Attributes:
        is_local: whether it is a folder of this machine.
        is_lost_at_exit: whether everything in it is gone when this process ends.
        is_near: whether its calls come back at once, so that nothing is gained by making many at a time.
    """

    def __init__(self, uri: str, storage_options: Mapping[str, Any] | None = None) -> None:
        """Open a root; nothing is read or written yet, but a file system may connect.

        Args:
            uri: `file:///...` or a plain path, `memory://...`, `s3://...`, `gs://...`, `abfs://...`.
            storage_options: passed to fsspec unchanged.

        Raises:
            UsageError: fsspec does not know the protocol, its package is not installed, or the service refuses; or
                there is a cache in front of the store; or the path has an empty part, for which an object store may
                list another folder.
        """
        if not uri.strip():
            raise UsageError("the store has no root: name a folder or an fsspec URL")
        hide_in(uri)
        hide_values(storage_options or {})
        try:
            # No listings cache: another process's receipts must be seen at once.
            self.fs, self.root = fsspec.url_to_fs(uri, use_listings_cache=False, **dict(storage_options or {}))
        except Exception as error:  # noqa: BLE001 - each file system has errors of its own (no credentials, nobody answers)
            hint = f". Stores that are known to work: {KNOWN_STORES}" if isinstance(error, TypeError) else ""
            msg = f"the store {without_credentials(uri)!r} cannot be opened: {words_of(error)}{hint}"
            raise UsageError(msg) from harmless(error)
        hide_values(self.fs.storage_options)  # with what comes from fsspec's configuration
        if has_cache(self.fs):
            raise UsageError(
                f"the store {without_credentials(uri)!r} has a cache in front of it, which answers for what has never "
                "reached the store, so that a purchase could go unrecorded: name the store itself"
            )
        self.is_local = isinstance(self.fs, LocalFileSystem)
        self.is_lost_at_exit = is_in_memory(self.fs)
        self.is_near = self.is_local or isinstance(self.fs, MemoryFileSystem)
        self.root = self.root.rstrip("/")
        if self.is_local:
            self.root = _SLASHES.sub("/", self.root)
        elif "//" in self.root.lstrip("/"):
            raise UsageError(
                f"the store's path {self.root!r} has an empty part, for which some services list another folder than "
                "the one they write to: use single slashes (perhaps a variable in the path is empty)"
            )
        self._shown = _shown_root(self.fs, self.root, uri)
        self._folders = Folders(Path(self.root))
        self._parts: set[str] = set()

    def path(self, name: str) -> str:
        """Return the path of an object for fsspec."""
        return f"{self.root}/{name}"

    def exclusivity(self) -> Exclusivity:
        """Return whether an exclusive create is known to be decided in one step: by this module, or by the service.

        Many file systems of fsspec check first, and write then: sequential creates look exclusive, but of two
        concurrent ones both may succeed. Of Google Cloud's file system, the first call asks for the bucket's kind.
        """
        return Exclusivity("exclusive") if self.is_local else exclusivity(self.fs, self.root)

    def uri(self, name: str) -> str:
        """Return a URI of an object for `fsspec.open`; it contains no credentials."""
        return f"{self._shown}/{name}" if self._shown else str(self.fs.unstrip_protocol(self.path(name)))

    def create(self, name: str, data: bytes) -> None:
        """Create an object that must not exist, durably.

        Raises:
            FileExistsError: it exists. (Read it: a request that fsspec has repeated can make a winner look like a
                loser.)
            StoreError: it could not be created, or it is not known whether it was.
        """
        with changing("create", name):
            if self.is_local:
                create_file(self._folders, Path(self.path(name)), data)
            else:
                create(self.fs, self.path(name), data)

    def write(self, name: str, data: bytes) -> None:
        """Create or replace an object atomically and durably. Raises `StoreError`."""
        with changing("write", name):
            if self.is_local:
                replace_file(self._folders, Path(self.path(name)), data)
            else:
                self.fs.pipe_file(self.path(name), data)

    def write_file(self, name: str, source: Path) -> None:
        """Create or replace an object atomically with a local file. Raises `StoreError`."""
        with changing("write", name):
            if self.is_local:
                with source.open("rb") as file:
                    replace_file(self._folders, Path(self.path(name)), file)
            else:
                self.fs.put_file(str(source), self.path(name))

    def write_derived(self, name: str, content: bytes | Path) -> None:
        """Create or replace an object atomically with bytes, or with a local file. Raises `StoreError`.

        In a local folder, it outlasts a power failure from the next `sync` only: for many files that can be made again.
        """
        if not self.is_local:
            self.write(name, content) if isinstance(content, bytes) else self.write_file(name, content)
            return
        place = Path(self.path(name))
        with changing("write", name):
            if isinstance(content, bytes):
                replace_file(self._folders, place, content, is_durable=False)
            else:
                with content.open("rb") as file:
                    replace_file(self._folders, place, file, is_durable=False)

    def sync(self) -> None:
        """Make all objects that were written durable. Raises `StoreError`."""
        if self.is_local:
            with changing("sync", ""):
                sync_all(Path(self.root))

    @contextmanager
    def writing(self, name: str) -> Iterator[IO[bytes]]:
        """Yield a file that becomes an object, atomically, when the block ends without an error.

        Of other stores than local folders it is a temporary file until then. Raises `StoreError`, `TemporaryError`.
        """
        if self.is_local:
            with changing("write", name), replacing(self._folders, Path(self.path(name))) as file:
                yield file
            return
        with TemporaryFolder() as made:
            with create_temporary(made / "object") as file:
                yield file
                file.flush()
            self.write_file(name, made / "object")

    def open(self, name: str) -> IO[bytes]:
        """Open an object for random reads. Raises as `read` does."""
        with reading(self.uri(name), name):
            self._check_file(name)
            file: IO[bytes] = self.fs.open(self.path(name), "rb")
            return file

    def fetch(self, name: str, target: Path) -> None:
        """Copy an object to a local file. Raises as `read` does, or `TemporaryError`."""
        with reading(self.uri(name), name):
            self._check_file(name)
            with copying_to(target):
                if self.is_local:
                    shutil.copyfile(self.path(name), target)
                else:
                    self.fs.get_file(self.path(name), str(target))

    def read(self, name: str) -> bytes:
        """Return the bytes of an object.

        Raises:
            FileNotFoundError: it does not exist.
            UnreadableError: it may exist, but cannot be read.
        """
        with reading(self.uri(name), name):
            self._check_file(name)
            return bytes(self.fs.cat_file(self.path(name)))

    def version(self, name: str) -> str:
        """Return a text that changes when an object is replaced. Raises as `read` does."""
        with reading(self.uri(name), name):
            return str(self.fs.ukey(self.path(name)))

    def _check_file(self, name: str) -> None:
        """Raise `OSError` for a path that is not a regular file: opening a pipe would wait for ever."""
        if self.is_local:
            check_regular(self.path(name))

    def names(self, folder: str, prefix: str = "") -> list[str]:
        """Return the sorted names of the objects directly in a folder (with a prefix), if it exists.

        Raises `StoreError`.
        """
        try:
            found = self._list(self.path(folder), prefix)
        except (FileNotFoundError, NotADirectoryError):  # a desktop's own file lies where a folder of ours would
            return []
        except Exception as error:  # noqa: BLE001 - each file system has errors of its own
            msg = f"cannot list {self.uri(folder)}: {error}"
            raise StoreError(msg) from harmless(error)
        names = found if self.is_local else (path.rstrip("/").rpartition("/")[2] for path in found)
        every = list(names)
        self._note_parts(folder, every)
        return sorted(name for name in every if name.startswith(prefix) and not name.startswith(PART))

    def shows(self, name: str) -> bool:
        """Return whether listings show an object in the root, even one that readers ignore. Raises `StoreError`."""
        try:
            found = [self._list(self.path("").rstrip("/"), prefix) for prefix in ("", name)]
        except Exception as error:  # noqa: BLE001 - each file system has errors of its own
            raise StoreError(f"cannot list {self.uri('')}: {error}") from harmless(error)
        return all(any(path.rstrip("/").rpartition("/")[2] == name for path in paths) for paths in found)

    def _note_parts(self, folder: str, names: list[str]) -> None:
        """Remember possibly abandoned files of killed processes in a folder."""
        if self.is_local and len(self._parts) < MOST_PARTS:
            self._parts.update(self.path(f"{folder}/{name}") for name in names if name.startswith(PART))

    def remove_parts(self) -> None:
        """Remove the abandoned incomplete files that were seen in listings."""
        while self._parts:
            remove_part(Path(self._parts.pop()))

    def sizes(self, folder: str, prefix: str = "") -> dict[str, int | None]:
        """Return the sizes in bytes of the objects directly in a folder (with a prefix), without folders.

        A size is None if the store does not provide it. Raises `StoreError`.
        """
        return {name: size for name, size, is_folder in self._entries(folder, prefix) if not is_folder}

    def _entries(self, folder: str, prefix: str) -> list[_Entry]:
        path = self.path(folder).rstrip("/")
        try:
            found = _local_entries(path) if self.is_local else self._far_entries(path, prefix)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except Exception as error:  # noqa: BLE001 - each file system has errors of its own
            msg = f"cannot list {self.uri(folder)}: {error}"
            raise StoreError(msg) from harmless(error)
        return [entry for entry in found if entry.name.startswith(prefix) and not entry.name.startswith(PART)]

    def _far_entries(self, path: str, prefix: str) -> list[_Entry]:
        if prefix and self._finds_by_prefix:
            found = list(self.fs.find(path, maxdepth=None, prefix=prefix, detail=True).values())
        else:
            found = self.fs.ls(path, detail=True, refresh=True)
        entries = list[_Entry]()
        for entry in found:
            above, _, name = str(entry["name"]).rstrip("/").rpartition("/")
            if name and above.strip("/") == path.strip("/"):  # `find` goes into the folders below, too
                entries.append(_Entry(name, entry.get("size"), entry.get("type") == "directory"))
        return entries

    def folders(self, folder: str) -> list[str]:
        """Return the sorted names of the folders directly in a folder. Raises `StoreError`."""
        return sorted(name for name, _, is_folder in self._entries(folder, "") if is_folder)

    def _list(self, path: str, prefix: str) -> list[str]:
        if self.is_local:
            return os.listdir(path)  # noqa: PTH208 - a Path for each of a million names takes seconds
        if prefix and self._finds_by_prefix:
            found: list[str] = self.fs.find(path, maxdepth=None, prefix=prefix)
            return found
        listed: list[str] = self.fs.ls(path, detail=False, refresh=True)
        return listed

    @property
    def _finds_by_prefix(self) -> bool:
        """Whether the service finds names by prefix: one call, where a listing of the folder may take a dozen."""
        names = [self.fs.protocol] if isinstance(self.fs.protocol, str) else self.fs.protocol
        return not {"s3", "gs", "abfs"}.isdisjoint(names)

    def try_folder(self, folder: str) -> None:
        """Write into a folder and those below it, and remove the file again. Raises `StoreError`.

        In object stores only a name at the beginning is tested: there are no folders, and permissions go by prefix.
        """
        with changing("write into", folder):
            if self.is_local:
                try_folder(Path(self.path(folder)))
                return
            probe = self.path(f"{folder}/{PART}probe")
            self.fs.pipe_file(probe, b"probe")
            with suppress(Exception):  # whoever may not delete leaves a small object that no reader looks at
                self.fs.rm_file(probe)

    def delete(self, name: str) -> None:
        """Remove an object, if it exists. Raises `StoreError`."""
        with changing("delete", name), suppress(FileNotFoundError):
            self.fs.rm_file(self.path(name))


def _shown_root(fs: Any, root: str, uri: str) -> str:  # noqa: ANN401 - fsspec has no types
    """Return the root's URI as it was given, without credentials, if fsspec's path is not sufficient.

    Else an empty text.

    fsspec's paths omit the host (sftp, ftp, WebDAV), without which they cannot be opened.
    """
    try:
        host = urlsplit(uri).hostname if "://" in uri and "::" not in uri else None
    except ValueError:
        host = None
    told = str(fs.unstrip_protocol(root))
    if host and host not in told.lower():
        return without_credentials(uri).rstrip("/")
    return "" if without_credentials(told) == told else without_credentials(told)


_SLASHES = re.compile("/{2,}")


class _Entry(NamedTuple):
    """An object or folder directly in a folder.

    Attributes:
        size: in bytes; None if not known.
    """

    name: str
    size: int | None
    is_folder: bool


def _local_entries(path: str) -> list[_Entry]:
    found = list[_Entry]()
    with os.scandir(path) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # gone since, or a link to nothing
                found.append(_Entry(entry.name, entry.stat().st_size, entry.is_dir()))
    return found
