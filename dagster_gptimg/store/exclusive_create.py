"""Exclusive creates by fsspec: of which file systems they are known to be decided in one step, and how one is made.

Judged is the method that makes them, as it is inherited or overridden, and its package's version: a file system that
checks first and writes then looks exclusive as long as nobody tries twice at once.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from itertools import count
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from fsspec.asyn import sync
from fsspec.implementations.cached import CachingFileSystem
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from dagster_gptimg.base.retry_policies import STORE_CONFLICT

Known: TypeAlias = Literal["exclusive", "not exclusive", "not known"]

KNOWN_STORES: Final = "a folder (also a mounted one), s3://, gs://, abfs://"
"""The stores whose exclusive create is known, for people; `memory://` is for tests."""

OWN: Final[Mapping[str, tuple[str, str]]] = {
    "fsspec.implementations.memory.MemoryFileSystem.pipe_file": ("fsspec", "2026.1"),
    "s3fs.core.S3FileSystem._pipe_file": ("s3fs", "2026.1"),
    "gcsfs.core.GCSFileSystem._pipe_file": ("gcsfs", "2026.1"),
    "gcsfs.extended_gcsfs.ExtendedGcsFileSystem._pipe_file": ("gcsfs", "2026.1"),
    "adlfs.spec.AzureBlobFileSystem._pipe_file": ("adlfs", "2024.12"),
}
"""The methods whose create is one step: in memory, or a condition of the write, which the service decides
(`If-None-Match` of S3 and Azure, `ifGenerationMatch=0` of Google Cloud); each with the least supported version of its
package."""

ZONAL: Final = "gcsfs.extended_gcsfs.ExtendedGcsFileSystem._pipe_file"
"""The method that ignores the condition where the bucket is a zonal one."""

_OVERWRITES = "overwrites where it is asked to create"
_NOT_KNOWN = "is not known to create an object in one step"
_NOT: Final[Mapping[str, str]] = {
    "fsspec.spec": "looks first and writes then",  # what every file system inherits that has no create of its own
    "fsspec.implementations.cached": _OVERWRITES,
    "obstore": _OVERWRITES,
}
"""Modules whose create is known not to be one step, and what it does."""

CONFLICT = 409


class Exclusivity(NamedTuple):
    """What is known of a file system's exclusive create.

    Attributes:
        known: whether it is decided in one step.
        why: if not: the reason, as the end of a sentence that begins with the file system's name.
    """

    known: Known
    why: str = ""


def exclusivity(fs: Any, path: str) -> Exclusivity:  # noqa: ANN401 - fsspec has no types
    """Return what is known of a file system's exclusive create below a path. Of Google Cloud, it asks for the bucket.

    Local folders are not asked for: they have a writer of their own (`store.local_files`).
    """
    kind = type(fs)  # `isinstance` would ask the object, and a caching one answers for another
    if issubclass(kind, DirFileSystem):
        return exclusivity(fs.fs, f"{fs.path}/{path}")
    method = kind._pipe_file if kind.async_impl else kind.pipe_file  # noqa: SLF001 - the name that fsspec gives it
    name = f"{method.__module__}.{method.__qualname__}"
    if name not in OWN:
        package = next((n for n in _NOT if f"{method.__module__}.".startswith(f"{n}.")), None)
        return Exclusivity("not exclusive", _NOT[package]) if package else Exclusivity("not known", _NOT_KNOWN)
    package, least = OWN[name]
    if not _is_at_least(package, least):
        return Exclusivity("not known", f"is known to create in one step from {package} {least} on: update it")
    if name == ZONAL and sync(fs.loop, fs._is_zonal_bucket, fs.split_path(path)[0]):  # noqa: SLF001 - gcsfs's own name
        return Exclusivity("not exclusive", f"{_OVERWRITES}: it is a zonal bucket")
    return Exclusivity("exclusive")


def create(fs: Any, path: str, data: bytes) -> None:  # noqa: ANN401 - fsspec has no types
    """Create an object; where the service says that calls were in each other's way, once more: S3 asks for that.

    Raises:
        FileExistsError: the object is there, whatever error the service gave: 412, 409, or an errno of the adapter's.
        Exception: what the file system has raised; the object is not there, or cannot be read.
    """
    for tried in count(1):
        try:
            fs.pipe_file(path, data, mode="create")
        except FileExistsError:
            raise
        except Exception as error:
            if _is_conflict(error) and not STORE_CONFLICT.is_over(tried):
                time.sleep(STORE_CONFLICT.pause(tried))
                continue
            if not _is_there(fs, path):
                raise
            raise FileExistsError(path) from error
        else:
            return


def is_in_memory(fs: Any) -> bool:  # noqa: ANN401 - fsspec has no types
    """Whether everything in a file system is gone when this process ends."""
    return is_in_memory(fs.fs) if isinstance(fs, DirFileSystem) else isinstance(fs, MemoryFileSystem)


def has_cache(fs: Any) -> bool:  # noqa: ANN401 - fsspec has no types
    """Whether a cache of this machine answers for a store, also with what has never reached it."""
    kind = type(fs)
    return has_cache(fs.fs) if issubclass(kind, DirFileSystem) else issubclass(kind, CachingFileSystem)


def _is_there(fs: Any, path: str) -> bool:  # noqa: ANN401 - fsspec has no types
    """Return whether an object can be read. Services have many errors for a lost race, but one object."""
    try:
        fs.cat_file(path)
    except Exception:  # noqa: BLE001 - each file system has errors of its own; the one of the create is raised
        return False
    return True


def _is_at_least(package: str, least: str) -> bool:
    try:
        found = version(package)
    except PackageNotFoundError:  # it was imported, but not installed: nobody can tell its version
        return False
    numbers = [tuple(map(int, re.findall(r"\d+", text))) for text in (found, least)]
    return numbers[0] >= numbers[1]


def _is_conflict(error: BaseException | None) -> bool:
    """Return whether a service reports a conflict of two calls (S3's 409), after which nothing was created."""
    if error is None or isinstance(error, FileExistsError):
        return False
    about = getattr(error, "response", None)
    told = about.get("ResponseMetadata", {}).get("HTTPStatusCode") if isinstance(about, dict) else None
    codes = {told, getattr(error, "code", None), getattr(error, "status_code", None)}
    return CONFLICT in codes or _is_conflict(error.__cause__)
