"""Files in local folders, written so that a crash leaves none incomplete, and a power failure loses no name.

A file is written completely beside its place, synced, and linked or renamed; then the folder is synced.
"""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
import shutil
import stat
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PART = ".part-"
"""Prefix of files that are not yet in their places; readers ignore them."""

_PART_LETTERS = len(PART) + 16
OLD = 3600.0
"""Seconds after which such a file counts as abandoned: writing takes less."""

_AT_CWD = -100  # AT_FDCWD of renameat2(2)
_NO_REPLACE = 1  # RENAME_NOREPLACE of renameat2(2)
_NOT_HERE = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})
"""Errors of a file system for an operation that it does not support."""


def create_file(folders: Folders, path: Path, data: bytes) -> None:
    """Create a file that must not exist. Raises `FileExistsError`, or another `OSError`."""
    part = _written(folders, path, data)
    try:
        _put_in(part, path, data)
    finally:
        part.unlink(missing_ok=True)
    _sync(path.parent)


def replace_file(folders: Folders, path: Path, data: bytes | IO[bytes], *, is_durable: bool = True) -> None:
    """Create or replace a file atomically. Raises `OSError`.

    `is_durable`: whether it outlasts a power failure from now on; if not, from the next `sync_all`.
    """
    with replacing(folders, path, is_durable=is_durable) as file:
        _put(data, file)


@contextmanager
def replacing(folders: Folders, path: Path, *, is_durable: bool = True) -> Iterator[IO[bytes]]:
    """Yield a file that is put in its place, atomically, when the block ends without an error.

    `is_durable`: as for `replace_file`.
    """
    folders.make(path.parent)
    part = path.with_name(f"{PART}{secrets.token_hex(8)}")
    try:
        with part.open("x+b") as file:
            yield file
            file.flush()
            if is_durable:
                os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    if is_durable:
        _sync(path.parent)


def sync_all(folder: Path) -> None:
    """Make all files of the file system that a folder is in durable. Raises `OSError`."""
    sync = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if sync is None:
            os.sync()
        elif sync(handle):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(folder))
    finally:
        os.close(handle)


def remove_part(path: Path) -> None:
    """Remove an abandoned file beside a place, if it certainly is one, and old."""
    name = path.name
    if not name.startswith(PART) or len(name) != _PART_LETTERS or set(name[len(PART) :]) - set("0123456789abcdef"):
        return
    with suppress(OSError):
        about = path.lstat()
        if stat.S_ISREG(about.st_mode) and time.time() - about.st_mtime > OLD:
            path.unlink()


def try_folder(folder: Path) -> None:
    """Write into a folder, or into its first existing parent; check the folders below it. Raises `OSError`."""
    if not folder.exists() and not folder.is_symlink() and folder != folder.parent:
        try_folder(folder.parent)
        return
    part = folder / f"{PART}{secrets.token_hex(8)}"
    with part.open("xb") as file:
        file.write(b"probe")
    part.unlink()
    with os.scandir(folder) as below:
        for entry in below:
            if entry.is_dir() and not os.access(entry.path, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), entry.path)


def has_links(folder: Path) -> bool:
    """Return whether a folder supports hard links; tested with a file that is removed again. Raises `OSError`."""
    part, other = (folder / f"{PART}{secrets.token_hex(8)}" for _ in range(2))
    try:
        part.touch(exist_ok=False)
        os.link(part, other)
    except FileExistsError:
        raise
    except OSError:
        return False
    finally:
        part.unlink(missing_ok=True)
        other.unlink(missing_ok=True)
    return True


def _put_in(part: Path, path: Path, data: bytes) -> None:
    """Give a file its name unless it is taken: atomic and exclusive, as far as the file system supports it."""
    try:
        os.link(part, path)
    except FileExistsError:
        raise
    except OSError:  # no hard links here (exFAT, SMB, many FUSE mounts), told in a dozen ways
        if not _renamed(part, path):
            _create_in_place(path, data)


def _renamed(part: Path, path: Path) -> bool:
    """Rename, and fail if the name is taken; False if the system does not support it. Raises `FileExistsError`."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    done = bool(rename(_AT_CWD, os.fsencode(part), _AT_CWD, os.fsencode(path), _NO_REPLACE) == 0)
    if not done and ctypes.get_errno() == errno.EEXIST:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    return done


def _create_in_place(path: Path, data: bytes) -> None:
    """Create a file exclusively, but not atomically: a power failure may leave it incomplete, and its row held."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(handle)
    except OSError:
        path.unlink(missing_ok=True)  # it was created here, and nobody has read it yet
        raise


def _written(folders: Folders, path: Path, data: bytes | IO[bytes]) -> Path:
    """Write a synced file beside `path`, under a name that readers ignore."""
    folders.make(path.parent)
    part = path.with_name(f"{PART}{secrets.token_hex(8)}")
    try:
        with part.open("xb") as file:
            _put(data, file)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        part.unlink(missing_ok=True)
        raise
    return part


def _put(data: bytes | IO[bytes], file: IO[bytes]) -> None:
    if isinstance(data, bytes):
        file.write(data)
    else:
        shutil.copyfileobj(data, file)


class Folders:
    """The folders of a store whose own names are durable, as far as this process knows."""

    def __init__(self, root: Path) -> None:
        """`root`: existing folders above it belong to the user, and are not changed."""
        self._root = root
        self._durable: set[Path] = set()

    def make(self, folder: Path) -> None:
        """Create a folder if needed, and make its name durable.

        An existing folder may have been made by a process that was killed before it synced the name, or has not synced
        it yet.
        """
        if folder.is_dir():
            if folder not in self._durable:
                self._sync_name(folder)
            return
        self.make(folder.parent)
        try:
            folder.mkdir(exist_ok=True)
        except FileExistsError as error:  # must not be taken for an object that another process has created
            msg = f"{folder} is a file, not a folder"
            raise NotADirectoryError(msg) from error
        _sync(folder.parent)
        self._durable.add(folder)

    def _sync_name(self, folder: Path) -> None:
        """Sync the parent folder, which makes all names in it durable.

        A store has a few hundred folders in few parents.
        """
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
    """Make a folder's entries durable: otherwise a power failure may lose a synced file.

    Some file systems do not support this for folders: then nothing more can be done.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NOT_HERE:
            raise
    finally:
        os.close(handle)
