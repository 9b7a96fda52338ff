"""Files of local folders, written so that a crash leaves none torn, and no name is forgotten by a power cut.

A file is written whole beside its place, synced, and linked or renamed in; then the folder is synced.
"""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
import shutil
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

PART = ".part-"
"""How the names begin of files that are not yet in their places; no reader looks at them."""

_PART_LETTERS = len(PART) + 16
OLD = 3600.0
"""Seconds after which such a file was left behind: none takes so long to be written."""

_AT_CWD, _NO_REPLACE = -100, 1
_NOT_HERE = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})
"""What a file system says of something that it does not know at all."""


def create_file(folders: Folders, path: Path, data: bytes) -> None:
    """Make a file that must not be there yet. Raises `FileExistsError`, or another `OSError`."""
    part = _written(folders, path, data)
    try:
        _put_in(part, path, data)
    finally:
        part.unlink(missing_ok=True)
    _sync(path.parent)


def replace_file(folders: Folders, path: Path, data: bytes | IO[bytes]) -> None:
    """Make or replace a file as a whole. Raises `OSError`."""
    part = _written(folders, path, data)
    try:
        part.replace(path)
    except OSError:
        part.unlink()
        raise
    _sync(path.parent)


def remove_part(path: Path) -> None:
    """Remove what a killed process has left beside a place, if it is surely that, and old."""
    name = path.name
    if not name.startswith(PART) or len(name) != _PART_LETTERS or set(name[len(PART) :]) - set("0123456789abcdef"):
        return
    with suppress(OSError):
        about = path.lstat()
        if stat.S_ISREG(about.st_mode) and time.time() - about.st_mtime > OLD:
            path.unlink()


def try_folder(folder: Path) -> None:
    """Write into a folder, or into the one in which it would be made; look at those below it. Raises `OSError`."""
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
    """Whether files of a folder can have two names; tried with one that is removed again. Raises `OSError`."""
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
    """Give a file its name, unless that is taken: atomic and exclusive, as far as the file system can."""
    try:
        os.link(part, path)
    except FileExistsError:
        raise
    except OSError:  # no hard links here (exFAT, SMB, many FUSE mounts), told in a dozen ways
        if not _renamed(part, path):
            _create_in_place(path, data)


def _renamed(part: Path, path: Path) -> bool:
    """Rename, and fail where the name is taken; False where the system cannot do that. Raises `FileExistsError`."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    done = bool(rename(_AT_CWD, os.fsencode(part), _AT_CWD, os.fsencode(path), _NO_REPLACE) == 0)
    if not done and ctypes.get_errno() == errno.EEXIST:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    return done


def _create_in_place(path: Path, data: bytes) -> None:
    """The last resort: exclusive, and not atomic. A power cut may leave half of it, which then cannot be read: held."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(handle)
    except OSError:
        path.unlink(missing_ok=True)  # it was made here, and nobody has it for a fact yet
        raise


def _written(folders: Folders, path: Path, data: bytes | IO[bytes]) -> Path:
    """A synced file beside `path`, under a name that no reader looks at."""
    folders.make(path.parent)
    part = path.with_name(f"{PART}{secrets.token_hex(8)}")
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


class Folders:
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
    """Make the folder's entries durable: without it, a power cut may forget a file that was synced itself.

    Some file systems do not know that for folders: then there is nothing more to be done.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NOT_HERE:
            raise
    finally:
        os.close(handle)
