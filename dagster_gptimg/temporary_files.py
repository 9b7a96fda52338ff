"""Temporary files of this machine. Their errors say nothing about a table or a store.

Most files have no name, and end with the process. Those that need a name are in folders on which this process holds a
lock: folders of killed processes are recognized by their free lock, and removed by a later process.
"""

from __future__ import annotations

import fcntl
import io
import os
import shutil
import tempfile
import time
import weakref
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING

from dagster_gptimg.errors import TemporaryError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _typeshed import ReadableBuffer as Buffer

PREFIX = "dagster-gptimg-"
"""Prefix of our names in the folder for temporary files."""

LOCK = ".lock"
"""File in each of our folders that is locked as long as the process lives that made the folder."""

OLD = 3600.0
"""Seconds after which a folder with a free or missing lock counts as abandoned."""

LEAST = 16 * 1024 * 1024
"""Minimum free bytes for small files."""


def check_room(wanted: int = 0) -> str:
    """Check that the folder for temporary files is writable, and has room for `wanted` bytes plus `LEAST`.

    Returns:
        A sentence with its path and free space.

    Raises:
        TemporaryError: there is no folder, it is not writable, or it is too full.
    """
    with temporary_file() as file:
        file.write(b"probe")
        file.flush()
    with told():
        folder = tempfile.gettempdir()
        free = shutil.disk_usage(folder).free
    if free < wanted + LEAST:
        raise TemporaryError(f"{folder} has {_mib(free)} MiB left, and {_mib(wanted + LEAST)} MiB are needed")
    return f"{folder} can be written to, and has {_mib(free)} MiB left"


def temporary_file() -> IO[bytes]:
    """Return a nameless file for writing and reading, which is removed when closed. Raises `TemporaryError`."""
    with told():
        with tempfile.TemporaryFile(prefix=PREFIX, buffering=0) as opened:
            handle = os.dup(opened.fileno())
        return _buffered(handle)


class TemporaryFolder:
    """A folder for files that need a name; removed with this object, or by a later process.

    Attributes:
        path: of the folder.
    """

    def __init__(self) -> None:
        """Make the folder. Raises `TemporaryError`."""
        with told():
            _look_once(tempfile.gettempdir())
            self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
            lock = (self.path / LOCK).open("wb")
        with suppress(OSError):  # a file system without locks: then no folder is removed as abandoned
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.close = weakref.finalize(self, _removed, self.path, lock, os.getpid())

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_: object) -> None:
        self.close()


def create(path: Path) -> IO[bytes]:
    """Create an empty file in one of our folders, for writing and reading. Raises `TemporaryError`."""
    with told():
        return _buffered(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600))


@contextmanager
def told() -> Iterator[None]:
    """Raise the system's errors about temporary files as `TemporaryError`."""
    try:
        yield
    except OSError as error:
        raise TemporaryError(error.strerror or str(error)) from error


@cache
def _look_once(folder: str) -> None:
    """Remove abandoned folders once per process: with thousands of them, every run would be slow."""
    remove_left_behind(Path(folder))


def remove_left_behind(folder: Path) -> None:
    """Remove abandoned folders of this user. Folders that cannot be examined are left alone."""
    with suppress(OSError):
        with os.scandir(folder) as entries:
            ours = [entry for entry in entries if entry.name.startswith(PREFIX)]
        for entry in ours:
            with suppress(OSError):
                if _is_left_behind(entry):
                    shutil.rmtree(entry, ignore_errors=True)


def _is_left_behind(entry: os.DirEntry[str]) -> bool:
    if not entry.is_dir(follow_symlinks=False):
        return False
    about = entry.stat(follow_symlinks=False)
    if about.st_uid != os.getuid() or time.time() - about.st_mtime < OLD:  # it may be about to be locked
        return False
    path = Path(entry)
    try:
        lock = os.open(path / LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return not any(path.iterdir())
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(lock)
    return True


def _removed(path: Path, lock: IO[bytes], owner: int) -> None:
    if os.getpid() == owner:  # and not a process that was forked from it
        shutil.rmtree(path, ignore_errors=True)
    lock.close()


class _File(io.FileIO):
    """A file whose write errors are raised as `TemporaryError`."""

    def write(self, data: Buffer) -> int:
        """Write some of the bytes, and return how many. Raises `TemporaryError`."""
        with told():
            return os.write(self.fileno(), data)


class _Buffered(io.BufferedRandom):
    """A buffered file whose unwritten bytes are dropped when it is closed."""

    def close(self) -> None:
        """Close the file; errors are ignored."""
        with suppress(TemporaryError, OSError):
            super().close()
        self.raw.close()


def _buffered(handle: int) -> IO[bytes]:
    return _Buffered(_File(handle, "r+b"))


def _mib(size: int) -> int:
    return -(-size // (1024 * 1024))
