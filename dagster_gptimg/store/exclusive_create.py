"""Exclusive creates by fsspec: which file systems decide them in one step, and how one of theirs is made."""

from __future__ import annotations

import time
from itertools import count
from typing import Any

from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from dagster_gptimg.base.retry_policies import STORE_CONFLICT

_ATOMIC = frozenset({"s3fs", "gcsfs", "adlfs"})
"""The packages whose exclusive create is a condition of the write, which their services guarantee."""

CONFLICT = 409


def is_create_atomic(fs: Any) -> bool:  # noqa: ANN401 - fsspec has no types
    """Whether a file system decides an exclusive create in one step."""
    if isinstance(fs, DirFileSystem):
        return is_create_atomic(fs.fs)
    return isinstance(fs, MemoryFileSystem) or type(fs).__module__.partition(".")[0] in _ATOMIC


def create(fs: Any, path: str, data: bytes) -> None:  # noqa: ANN401 - fsspec has no types
    """Create an object; where the service says that calls were in each other's way, once more: S3 asks for that."""
    for tried in count(1):
        try:
            fs.pipe_file(path, data, mode="create")
        except Exception as error:
            if STORE_CONFLICT.is_over(tried) or not _is_conflict(error):
                raise
            time.sleep(STORE_CONFLICT.pause(tried))
        else:
            return


def is_in_memory(fs: Any) -> bool:  # noqa: ANN401 - fsspec has no types
    """Whether everything in a file system is gone when this process ends."""
    return is_in_memory(fs.fs) if isinstance(fs, DirFileSystem) else isinstance(fs, MemoryFileSystem)


def _is_conflict(error: BaseException | None) -> bool:
    """Return whether a service reports a conflict of two calls (S3's 409), after which nothing was created."""
    if error is None or isinstance(error, FileExistsError):
        return False
    about = getattr(error, "response", None)
    told = about.get("ResponseMetadata", {}).get("HTTPStatusCode") if isinstance(about, dict) else None
    codes = {told, getattr(error, "code", None), getattr(error, "status_code", None)}
    return CONFLICT in codes or _is_conflict(error.__cause__)
