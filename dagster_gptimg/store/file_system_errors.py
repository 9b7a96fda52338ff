"""What file systems raise, told as this package's errors: "not there" is never mistaken for "cannot be read"."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dagster_gptimg.base.masking import harmless
from dagster_gptimg.errors import GptImgError, StoreError, TemporaryError, UnreadableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def reading(uri: str, name: str) -> Iterator[None]:
    """Raise `FileNotFoundError` or `UnreadableError` for the errors of a read."""
    try:
        yield
    except TemporaryError:
        raise
    except FileNotFoundError as error:
        raise FileNotFoundError(name) from error
    except Exception as error:  # noqa: BLE001 - each file system has errors of its own
        msg = f"cannot read {uri}: {error}"
        raise UnreadableError(msg) from harmless(error)


@contextmanager
def copying_to(target: Path) -> Iterator[None]:
    """Raise `TemporaryError` for errors of the local copy, as distinct from those of the read."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL or not target.parent.is_dir():
            raise TemporaryError(error.strerror or str(error)) from error
        raise


@contextmanager
def changing(verb: str, name: str) -> Iterator[None]:
    """Raise any error of a file system as a `StoreError` that names the object, except `FileExistsError`."""
    try:
        yield
    except (FileExistsError, GptImgError):
        raise
    except Exception as error:  # noqa: BLE001 - each file system has errors of its own
        hint = " (the disk is full)" if getattr(error, "errno", None) in _FULL else ""
        msg = f"cannot {verb} {name} in the store{hint}: {error}"
        raise StoreError(msg) from harmless(error)
