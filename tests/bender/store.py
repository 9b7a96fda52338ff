"""A store that lies: an fsspec file system before a true one, which fails, is late, tears, and denies what it did."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fsspec.implementations.memory import MemoryFileSystem

from dagster_gptimg.store.root import Store

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

YOUNG = 3.0
"""Seconds for which an object, or a name in a listing, may not be seen yet."""

LIES = (
    "a create fails",
    "a create's reply is lost",
    "it exists, although it is ours",
    "a write fails",
    "a write's reply is lost",
    "a read fails",
    "a read is torn",
    "a read is too early",
    "a list fails",
    "a list is stale",
    "a delete fails",
)


@dataclass
class Lies:
    """What a world's store does wrong, and how often.

    Attributes:
        rates: by lie, its share of the calls that it could be told at.
        paths: only objects with one of these in their paths; none: all.
        told: by lie, how often.
    """

    draw: random.Random
    time: Callable[[], float]
    rates: dict[str, float] = field(default_factory=dict)
    paths: tuple[str, ...] = ()
    told: Counter[str] = field(default_factory=Counter)
    born: dict[str, float] = field(default_factory=dict)

    def tells(self, lie: str, path: str) -> bool:
        """Whether a lie is told now, about the object at a path."""
        rate = self.rates.get(lie, 0.0)
        if not rate or (self.paths and not any(part in path for part in self.paths)) or self.draw.random() >= rate:
            return False
        self.told[lie] += 1
        return True

    def is_young(self, path: str) -> bool:
        return self.time() < self.born.get(path, float("-inf")) + YOUNG


class LyingFileSystem:
    """What `Store` uses of fsspec, over a file system that is right."""

    async_impl = False

    def __init__(self, fs: Any, lies: Lies) -> None:
        self._fs, self._lies = fs, lies

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fs, name)

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **how: Any) -> None:
        """Create or write an object."""
        tells, what = self._lies.tells, "create" if mode == "create" else "write"
        if tells(f"a {what} fails", path):
            raise OSError("503 SlowDown: reduce your request rate")
        self._fs.pipe_file(path, value, mode=mode, **how)
        self._lies.born[path] = self._lies.time()
        if tells(f"a {what}'s reply is lost", path):
            raise TimeoutError("the reply was lost")
        if mode == "create" and tells("it exists, although it is ours", path):
            raise FileExistsError(path)

    # Its creates are decided in one step, whatever it says of them, as those of the file system below it are.
    pipe_file.__module__, pipe_file.__qualname__ = MemoryFileSystem.__module__, MemoryFileSystem.pipe_file.__qualname__

    def put_file(self, source: str, path: str, **how: Any) -> None:
        """Write an object from a file."""
        if self._lies.tells("a write fails", path):
            raise OSError("503 SlowDown: reduce your request rate")
        self._fs.put_file(source, path, **how)
        if self._lies.tells("a write's reply is lost", path):
            raise TimeoutError("the reply was lost")

    def cat_file(self, path: str, *args: Any, **how: Any) -> bytes:
        """Read an object."""
        self._check_read(path)
        data = bytes(self._fs.cat_file(path, *args, **how))
        return data[: len(data) // 2] if self._lies.tells("a read is torn", path) else data

    def get_file(self, path: str, target: str, **how: Any) -> None:
        """Read an object into a file."""
        self._check_read(path)
        self._fs.get_file(path, target, **how)

    def open(self, path: str, mode: str = "rb", **how: Any) -> Any:
        """Open an object."""
        self._check_read(path)
        return self._fs.open(path, mode, **how)

    def _check_read(self, path: str) -> None:
        if self._lies.tells("a read fails", path):
            raise OSError("connection reset by peer")
        if self._lies.is_young(path) and self._lies.tells("a read is too early", path):
            raise FileNotFoundError(path)

    def ls(self, path: str, detail: bool = True, **how: Any) -> list[Any]:  # noqa: FBT001, FBT002 - fsspec's
        """List a folder."""
        found: list[Any] = self._listed(path, self._fs.ls(path, detail=detail, **how))
        return found

    def find(self, path: str, **how: Any) -> Any:
        """List a folder and what is below it."""
        return self._listed(path, self._fs.find(path, **how))

    def _listed(self, path: str, found: Any) -> Any:
        if self._lies.tells("a list fails", path):
            raise OSError("500 InternalError")
        if isinstance(found, dict) or not self._lies.tells("a list is stale", path):
            return found
        names = [entry if isinstance(entry, str) else entry["name"] for entry in found]
        return [entry for entry, name in zip(found, names, strict=True) if not self._lies.is_young(name)]

    def rm_file(self, path: str) -> None:
        """Delete an object."""
        if self._lies.tells("a delete fails", path):
            raise OSError("503 SlowDown: reduce your request rate")
        self._fs.rm_file(path)


def lying_store(uri: str, lies: Lies) -> Store:
    """A store over a file system that lies."""
    store = Store(uri)
    store.fs = LyingFileSystem(store.fs, lies)
    return store
