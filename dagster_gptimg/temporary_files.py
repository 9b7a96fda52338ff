"""Temporary files of this machine. That there is no room for them is no news of a table or a store.

Most have no name, and end with the process. Those that need one lie in folders that this process holds a lock on: what
a killed process has left behind is known by its lock being free, and is removed by the next one.
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
"""Of every name in the folder for temporary files that is ours."""

LOCK = ".lock"
"""In each of our folders; locked for as long as the process lives that made it."""

OLD = 3600.0
"""Seconds after which a folder whose lock is free, or that has none yet, has been left behind."""

LEAST = 16 * 1024 * 1024
"""Bytes of room that a run wants for its small files."""


def check_room(wanted: int = 0) -> str:
    """Try the folder for temporary files, and see that there is room for `wanted` bytes and some more.

    Returns:
        Where it is, and how much room it has, in a sentence.

    Raises:
        TemporaryError: there is none, it cannot be written to, or it is too full.
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
    """A file without a name, to be written and read; it ends when it is closed. Raises `TemporaryError`."""
    with told():
        with tempfile.TemporaryFile(prefix=PREFIX, buffering=0) as opened:
            handle = os.dup(opened.fileno())
        return _buffered(handle)


class TemporaryFolder:
    """A folder for files that need a name; it goes with this object, or is removed by a later process.

    Attributes:
        path: where it is.
    """

    def __init__(self) -> None:
        """Make it. Raises `TemporaryError`."""
        with told():
            _look_once(tempfile.gettempdir())
            self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
            lock = (self.path / LOCK).open("wb")
        with suppress(OSError):  # a file system without locks: by its age alone nothing is removed there
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.close = weakref.finalize(self, _removed, self.path, lock, os.getpid())

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_: object) -> None:
        self.close()


def create(path: Path) -> IO[bytes]:
    """A file in one of our folders, empty, to be written and read. Raises `TemporaryError`."""
    with told():
        return _buffered(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600))


@contextmanager
def told() -> Iterator[None]:
    """Raises what the system says of temporary files as `TemporaryError`."""
    try:
        yield
    except OSError as error:
        raise TemporaryError(error.strerror or str(error)) from error


@cache
def _look_once(folder: str) -> None:
    """Look for what was left behind once in a process: thousands of names in the folder would cost every run."""
    remove_left_behind(Path(folder))


def remove_left_behind(folder: Path) -> None:
    """Remove the folders that killed processes of this user have left. What cannot be looked at is left alone."""
    with suppress(OSError):
        for path in folder.glob(f"{PREFIX}*"):
            with suppress(OSError):
                if _is_left_behind(path):
                    shutil.rmtree(path, ignore_errors=True)


def _is_left_behind(path: Path) -> bool:
    about = path.lstat()
    if about.st_uid != os.getuid() or not path.is_dir() or path.is_symlink():
        return False
    if time.time() - about.st_mtime < OLD:  # it may be about to be locked
        return False
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
    """A file whose writes say that it is a temporary one which could not be written."""

    def write(self, data: Buffer) -> int:
        """Write some of it, and return how much. Raises `TemporaryError`."""
        with told():
            return os.write(self.fileno(), data)


class _Buffered(io.BufferedRandom):
    """What was not written by the time of closing is not wanted any more."""

    def close(self) -> None:
        """Close it; no error is news here."""
        with suppress(TemporaryError, OSError):
            super().close()
        self.raw.close()


def _buffered(handle: int) -> IO[bytes]:
    return _Buffered(_File(handle, "r+b"))


def _mib(size: int) -> int:
    return -(-size // (1024 * 1024))
