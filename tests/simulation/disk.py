"""A model of what a power cut leaves of a local folder: less than what a process that was killed leaves.

POSIX promises no more than this, and file systems really do it:

* What is in a file is durable after `fsync` of the file. Before, it may be there, torn, all zeros, or empty.
* A name (made by `open`, `link`, `rename`, `mkdir`; unmade by `unlink`, `rename`) is durable after `fsync` of its
  folder. Before, each name is what it was at the last `fsync`, or at any moment since, whatever the others are: they
  reach the disk in any order. Both names of one `rename` are on their own, too.
* What lies in a folder is gone when the folder's own name is.

`Recorder` takes down the system calls of whatever works below a folder; that nothing was missed is checked by
`Recorder.assert_whole`, which compares the model with the folder.
"""

from __future__ import annotations

import io
import os
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    import pytest

PART = ".part-"
"""Names that begin so are looked at by no reader; they are left out of what a crash leaves."""

FOLDER = -1


class Call(NamedTuple):
    """One system call that has succeeded.

    Attributes:
        kind: `name` (a name stands for `target` from now on), `file` (its bytes are durable), `folder` (its names are).
        path: relative to the folder.
        target: a file's number, FOLDER, or None for "no such name".
        data: what is in the file by now.
    """

    kind: str
    path: str
    target: int | None = None
    data: bytes = b""


@dataclass
class Disk:
    """What is on a disk, and what may be.

    Attributes:
        names: what each name may stand for after a power cut, first what is durable, last what it stands for now.
        data: what is in each file. synced: those whose bytes are durable.
    """

    names: dict[str, list[int | None]] = field(default_factory=dict)
    data: dict[int, bytes] = field(default_factory=dict)
    synced: set[int] = field(default_factory=set)

    def do(self, call: Call) -> None:
        """One more call."""
        if call.kind == "name":
            self.names.setdefault(call.path, [None]).append(call.target)
        if call.target is not None and call.target != FOLDER:
            self.data[call.target] = call.data
        if call.kind == "file" and call.target is not None:
            self.synced.add(call.target)
        if call.kind == "folder":
            for path, values in self.names.items():
                if _folder(path) == call.path:
                    del values[:-1]

    def now(self) -> dict[str, bytes]:
        """The files as every process sees them."""
        return self._reachable({path: self._value(values[-1]) for path, values in self.names.items()})

    def after_power_cut(self, draw: random.Random, most: int) -> Iterator[dict[str, bytes]]:
        """Files that a power cut may leave: all such states, or `most` drawn ones of them."""
        choices = [(path, self._values(values)) for path, values in self.names.items() if not _is_part(path)]
        open_ = [(path, values) for path, values in choices if len(values) > 1]
        fixed = {path: values[0] for path, values in choices if len(values) == 1}
        count = 1
        for _, values in open_:
            count *= len(values)
        every = product(*(values for _, values in open_)) if count <= most else self._drawn(open_, draw, most)
        for picked in every:
            yield self._reachable(fixed | {path: v for (path, _), v in zip(open_, picked, strict=True)})

    @staticmethod
    def _drawn(
        choices: list[tuple[str, list[bytes | int | None]]], draw: random.Random, most: int
    ) -> Iterator[tuple[bytes | int | None, ...]]:
        yield tuple(values[0] for _, values in choices)
        for _ in range(most - 1):
            yield tuple(draw.choice(values) for _, values in choices)

    def _values(self, targets: list[int | None]) -> list[bytes | int | None]:
        """What may come of one name, each once."""
        found: list[bytes | int | None] = []
        for target in targets:
            value = self._value(target)
            torn: list[bytes | int | None] = []
            if isinstance(value, bytes) and target not in self.synced:
                torn = [b"", value[: len(value) // 2], bytes(len(value))]
            found += [v for v in (value, *torn) if v not in found]
        return found

    def _value(self, target: int | None) -> bytes | int | None:
        return target if target is None or target == FOLDER else self.data[target]

    @staticmethod
    def _reachable(values: dict[str, Any]) -> dict[str, bytes]:
        folders = {path for path, value in values.items() if value == FOLDER}

        def is_there(folder: str) -> bool:
            return not folder or (folder in folders and is_there(_folder(folder)))

        return {p: v for p, v in values.items() if isinstance(v, bytes) and not _is_part(p) and is_there(_folder(p))}


class Recorder:
    """Takes down every call below a folder that matters, in order. The folder itself is taken for durable.

    Attributes:
        calls: what has been done. on_call: told before each call; it may raise, and then the call is not made.
        done: told after each call.
    """

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.calls: list[Call] = []
        self.on_call: Callable[[], None] = lambda: None
        self.done: Callable[[], None] = lambda: None
        self._now: dict[str, int | None] = {}
        self._handles: dict[int, str] = {}
        self._files = 0
        self._patch(monkeypatch)

    def assert_whole(self) -> None:
        """The model knows exactly what is in the folder."""
        disk = Disk()
        for call in self.calls:
            disk.do(call)
        found = {str(p.relative_to(self.root)): p.read_bytes() for p in self.root.rglob("*") if p.is_file()}
        assert disk.now() == {path: data for path, data in found.items() if not _is_part(path)}

    def _patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for module, name, record in (
            (io, "open", self._opened),
            (os, "open", self._handle),
            (os, "fsync", self._synced),
            (os, "link", self._linked),
            (os, "replace", self._renamed),
            (os, "rename", self._renamed),
            (os, "unlink", self._unlinked),
            (os, "remove", self._unlinked),
            (os, "mkdir", self._made),
        ):
            monkeypatch.setattr(module, name, self._recorded(getattr(module, name), record))

    def _recorded(self, real: Callable[..., Any], record: Callable[..., None]) -> Callable[..., Any]:
        def call(first: Any, *more: Any, **named: Any) -> Any:
            inside = (self._handles.get(first) if isinstance(first, int) else self._inside(first)) is not None
            writes = record != self._opened or set("wxa+") & set(str(more[0] if more else named.get("mode", "r")))
            if not inside or not writes:
                return real(first, *more, **named)
            self.on_call()
            result = real(first, *more, **named)
            record(result, first, *more)
            return result

        return call

    def _inside(self, path: Any) -> str | None:
        """A path relative to the root; None for one that is elsewhere."""
        full = Path(os.fspath(path))
        return str(full.relative_to(self.root)) if full.is_relative_to(self.root) else None

    def _relative(self, path: Any) -> str:
        return (self._inside(path) or "").removeprefix(".")

    def _opened(self, file: Any, path: Any, *_: Any) -> None:
        self._handles[file.fileno()] = name = self._relative(path)
        self._files += 1
        self._name(name, self._files)

    def _handle(self, handle: int, path: Any, *_: Any) -> None:
        self._handles[handle] = self._relative(path)

    def _synced(self, _: Any, handle: int) -> None:
        path = self._handles[handle]
        target = self._now.get(path)
        if target is None or target == FOLDER:
            self._add(Call("folder", path))
        else:
            self._add(Call("file", path, target, (self.root / path).read_bytes()))

    def _linked(self, _: Any, source: Any, target: Any) -> None:
        self._name(self._relative(target), self._now[self._relative(source)])

    def _renamed(self, _: Any, source: Any, target: Any) -> None:
        self._linked(_, source, target)
        self._name(self._relative(source), None)

    def _unlinked(self, _: Any, path: Any) -> None:
        self._name(self._relative(path), None)

    def _made(self, _: Any, path: Any, *__: Any) -> None:
        self._name(self._relative(path), FOLDER)

    def _name(self, path: str, target: int | None) -> None:
        data = b"" if target in {None, FOLDER} else (self.root / path).read_bytes()
        self._now[path] = target
        self._add(Call("name", path, target, data))

    def _add(self, call: Call) -> None:
        self.calls.append(call)
        self.done()


@dataclass
class Crashes:
    """The calls of some lives, and at each of them what fal had accepted: then, and until the next call."""

    recorder: Recorder
    requests: Callable[[], Any]
    then: list[Any] = field(default_factory=list)
    until: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.recorder.on_call, self.recorder.done = self._before, self._after

    def _before(self) -> None:
        if self.until:
            self.until[-1] = deepcopy(self.requests())

    def _after(self) -> None:
        for record in (self.then, self.until):
            record.append(deepcopy(self.requests()))

    def states(self, draw: random.Random, most: int) -> Iterator[tuple[dict[str, bytes], Any]]:
        """Every state in which a power cut may leave files and fal, each once."""
        disk, seen = Disk(), set[tuple[frozenset[tuple[str, bytes]], str]]()
        for call, *requests in zip(self.recorder.calls, self.then, self.until, strict=True):
            disk.do(call)
            for files, accepted in product(disk.after_power_cut(draw, most), requests):
                state = (frozenset(files.items()), repr(accepted))
                if state not in seen:
                    seen.add(state)
                    yield files, accepted


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _is_part(path: str) -> bool:
    return path.rpartition("/")[2].startswith(PART)
