"""Files of this machine that somebody else may have put there: a pipe or a device is never waited for."""

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
    """It is a pipe, a device, a socket or a folder, and not a file with bytes of its own."""


def check_regular(path: str | Path) -> None:
    """Raise `NotAFileError` for what is there and is no regular file; whoever opens a path tells everything else."""
    with suppress(FileNotFoundError, NotADirectoryError):
        _check(Path(path).stat().st_mode)


def open_regular(path: str | Path) -> IO[bytes]:
    """A file, to be read; at once, whatever it is. Its name must not be that of a link.

    The open of a pipe that nobody writes to would wait for ever, and no signal ends that.

    Raises:
        NotAFileError: it is no regular file.
        OSError: it cannot be opened.
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
