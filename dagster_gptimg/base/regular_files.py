"""Local files that others may have created: opening a pipe or a device never blocks."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import IO

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class NotAFileError(OSError):
    """The path is a pipe, a device, a socket or a folder, not a regular file."""


def check_regular(path: str | Path) -> None:
    """Raise `NotAFileError` if a path exists and is not a regular file.

    Other errors are left to the function that opens it.
    """
    with suppress(FileNotFoundError, NotADirectoryError):
        _check(Path(path).stat().st_mode)


def open_regular(path: str | Path) -> IO[bytes]:
    """Open a file for reading, without blocking. The path must not be a link.

    Opening a pipe without a writer would wait for ever, and no signal ends that.

    Raises:
        NotAFileError: the path is not a regular file.
        OSError: the file cannot be opened.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        _check(os.fstat(handle).st_mode)
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def _check(mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise NotAFileError(f"it is {next((name for is_one, name in _KINDS if is_one(mode)), 'something else')}")
