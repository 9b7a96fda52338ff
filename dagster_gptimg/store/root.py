"""A store: an fsspec root with the three operations that everything else stands on.

* `create` makes an object exclusively and durably; whoever comes second gets `FileExistsError`. It is idempotency key,
  lock and record in one (docs/guarantee.md#invariant-7).
* `write` replaces an object as a whole: no reader ever sees half of it.
* `read` tells "not there" (`FileNotFoundError`) from "could not be read" (`UnreadableError`): the second never buys.

Local folders get their own writer, because fsspec's would leave a torn file behind a crash: a file is written whole
beside its place, synced, and linked or renamed in; then the folder is synced.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import fsspec
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from dagster_gptimg.errors import StoreError, UnreadableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Store:
    """Objects below one fsspec root, by their paths relative to it. Every call blocks; run it in a thread.

    Attributes:
        is_local: whether it is a folder of this machine.
        is_near: whether its calls come back at once, so that nothing is gained by making many at a time.
    """

    def __init__(self, uri: str, storage_options: Mapping[str, Any] | None = None) -> None:
        """Open a root; nothing is read or written yet.

        Args:
            uri: `file:///...` or a plain path, `memory://...`, `s3://...`, `gs://...`, `abfs://...`.
            storage_options: passed to fsspec as they are.

        Raises:
            UsageError: fsspec does not know the protocol, or its package is not installed.
        """
        try:
            # No listings cache: another process's receipts must be seen at once.
            self.fs, self.root = fsspec.url_to_fs(uri, use_listings_cache=False, **dict(storage_options or {}))
        except (ImportError, ValueError) as error:
            msg = f"the store {uri!r} cannot be opened: {error}"
            raise UsageError(msg) from error
        self.is_local = isinstance(self.fs, LocalFileSystem)
        self.is_near = self.is_local or isinstance(self.fs, MemoryFileSystem)
        self.root = self.root.rstrip("/")
        self._folders = _Folders(Path(self.root))

    def path(self, name: str) -> str:
        """The path of an object in fsspec's words."""
        return f"{self.root}/{name}"

    def uri(self, name: str) -> str:
        """A URI of an object that `fsspec.open` opens."""
        return str(self.fs.unstrip_protocol(self.path(name)))

    def create(self, name: str, data: bytes) -> None:
        """Make an object that must not be there yet, durably.

        Raises:
            FileExistsError: it is there. (Read it: a repeated request inside fsspec can make a winner look like a
            loser.)
            StoreError: it could not be made, or nobody knows.
        """
        with _Explained("create", name):
            if self.is_local:
                _create_file(self._folders, Path(self.path(name)), data)
            else:
                self.fs.pipe_file(self.path(name), data, mode="create")

    def write(self, name: str, data: bytes) -> None:
        """Make or replace an object as a whole, durably. Raises `StoreError`."""
        with _Explained("write", name):
            if self.is_local:
                _replace_file(self._folders, Path(self.path(name)), data)
            else:
                self.fs.pipe_file(self.path(name), data)

    def write_file(self, name: str, source: Path) -> None:
        """Make or replace an object, as a whole, with a file of this machine. Raises `StoreError`."""
        with _Explained("write", name):
            if self.is_local:
                with source.open("rb") as file:
                    _replace_file(self._folders, Path(self.path(name)), file)
            else:
                self.fs.put_file(str(source), self.path(name))

    def open(self, name: str) -> IO[bytes]:
        """An object, to be read here and there; raises what `read` does."""
        with _reading(self.uri(name), name):
            file: IO[bytes] = self.fs.open(self.path(name), "rb")
            return file

    def fetch(self, name: str, target: Path) -> None:
        """Copy an object to a file of this machine; raises what `read` does."""
        with _reading(self.uri(name), name):
            if self.is_local:
                shutil.copyfile(self.path(name), target)
            else:
                self.fs.get_file(self.path(name), str(target))

    def read(self, name: str) -> bytes:
        """The bytes of an object.

        Raises:
            FileNotFoundError: it is not there.
            UnreadableError: it may be there, and cannot be read.
        """
        with _reading(self.uri(name), name):
            return bytes(self.fs.cat_file(self.path(name)))

    def names(self, folder: str, prefix: str = "") -> list[str]:
        """The names of the objects right in a folder (that begin with `prefix`), sorted; none where there is no folder.

        Raises `StoreError`.
        """
        try:
            found = self._list(self.path(folder), prefix)
        except (FileNotFoundError, NotADirectoryError):  # a desktop's own file lies where a folder of ours would
            return []
        except Exception as error:
            msg = f"cannot list {self.uri(folder)}: {error}"
            raise StoreError(msg) from error
        names = found if self.is_local else (path.rstrip("/").rpartition("/")[2] for path in found)
        return sorted(name for name in names if name.startswith(prefix) and not name.startswith(_PART))

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
        """Whether the service itself finds names by their beginnings: one call, where a folder may take a dozen."""
        names = [self.fs.protocol] if isinstance(self.fs.protocol, str) else self.fs.protocol
        return not {"s3", "gs", "abfs"}.isdisjoint(names)

    def delete(self, name: str) -> None:
        """Remove an object, if it is there. Raises `StoreError`."""
        with _Explained("delete", name), suppress(FileNotFoundError):
            self.fs.rm_file(self.path(name))


@contextmanager
def _reading(uri: str, name: str) -> Iterator[None]:
    """Tells "not there" from "cannot be read"."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(name) from error
    except Exception as error:
        msg = f"cannot read {uri}: {error}"
        raise UnreadableError(msg) from error


class _Explained:
    """Turns whatever a file system raises into a `StoreError` that names the object; FileExistsError passes."""

    def __init__(self, verb: str, name: str) -> None:
        self.verb, self.name = verb, name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, Exception) or isinstance(error, FileExistsError):
            return
        hint = " (the disk is full)" if getattr(error, "errno", None) in {errno.ENOSPC, errno.EDQUOT} else ""
        msg = f"cannot {self.verb} {self.name} in the store{hint}: {error}"
        raise StoreError(msg) from error


_PART = ".part-"


def _create_file(folders: _Folders, path: Path, data: bytes) -> None:
    part = _written(folders, path, data)
    try:
        # A link is atomic and exclusive; an open with "x" could be torn by a crash.
        os.link(part, path)
    finally:
        part.unlink()
    _sync(path.parent)


def _replace_file(folders: _Folders, path: Path, data: bytes | IO[bytes]) -> None:
    part = _written(folders, path, data)
    try:
        part.replace(path)
    except OSError:
        part.unlink()
        raise
    _sync(path.parent)


def _written(folders: _Folders, path: Path, data: bytes | IO[bytes]) -> Path:
    """A synced file beside `path`, under a name that no reader looks at."""
    folders.make(path.parent)
    part = path.with_name(f"{_PART}{secrets.token_hex(8)}")
    try:
        with part.open("xb") as file:
            if isinstance(data, bytes):
                file.write(data)
            else:
                shutil.copyfileobj(data, file)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        part.unlink(missing_ok=True)
        raise
    return part


class _Folders:
    """The folders of a store whose own names are durable, as far as this process knows."""

    def __init__(self, root: Path) -> None:
        """None is known. What is above `root` is the user's, unless it has to be made."""
        self._root = root
        self._durable: set[Path] = set()

    def make(self, folder: Path) -> None:
        """See to it that a folder is there, and that a power cut does not forget it with all that is synced in it.

        One that is there already may have been made by a process that was killed before it synced the name, or that is
        only about to.
        """
        if folder.is_dir():
            if folder not in self._durable:
                self._sync_name(folder)
            return
        self.make(folder.parent)
        try:
            folder.mkdir(exist_ok=True)
        except FileExistsError as error:  # it must not pass for an object that somebody else has created
            msg = f"{folder} is a file, not a folder"
            raise NotADirectoryError(msg) from error
        _sync(folder.parent)
        self._durable.add(folder)

    def _sync_name(self, folder: Path) -> None:
        """One sync makes all names beside it durable, too: a store has a few hundred folders, in a few folders."""
        beside = [folder]
        if folder == self._root:
            with suppress(OSError):  # the folder above may not be ours to open
                _sync(folder.parent)
        elif folder.is_relative_to(self._root):
            self.make(folder.parent)
            beside = list(folder.parent.iterdir())
            _sync(folder.parent)
        self._durable.update(beside)


def _sync(folder: Path) -> None:
    """Make the folder's entries durable: without it, a power cut may forget a file that was synced itself."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
