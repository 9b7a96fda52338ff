"""A state folder: its lock, its port file, its log. Works on POSIX (fcntl)."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class EmulatorError(RuntimeError):
    """The emulator cannot be started or found; the message says what to do."""


class AlreadyRunningError(EmulatorError):
    """Another process serves this state folder."""


@dataclasses.dataclass(frozen=True)
class Running:
    """An emulator that listens: what its port file says."""

    url: str
    pid: int
    id: str
    """The emulator's id, constant for the lifetime of the state folder."""


class Folder:
    """Paths and rites of one state folder."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).expanduser().absolute()
        self.database = self.path / "emulator.sqlite3"
        self.log = self.path / "emulator.log"
        self._port_file = self.path / "emulator.json"

    def create(self) -> None:
        """Make the folder; raises EmulatorError when it cannot be."""
        try:
            # Prompts, and the secret that signs webhooks, lie in it.
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise EmulatorError(f"cannot use {self.path} as the emulator's state folder: {error.strerror}") from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder; the lock dies with the process, however it dies."""
        with (self.path / "emulator.lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                where = f" at {running.url}" if (running := self.running()) else ""
                raise AlreadyRunningError(f"an emulator already serves {self.path}{where}") from None
            yield

    def running(self) -> Running | None:
        """Return the content of the port file, which may be that of a killed process."""
        try:
            told = json.loads(self._port_file.read_text())
            return Running(told["url"], told["pid"], told["id"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def announce(self, port: int, emulator_id: str) -> Running:
        """Write the port file, atomically."""
        running = Running(f"http://127.0.0.1:{port}", os.getpid(), emulator_id)
        beside = self._port_file.with_suffix(f".{os.getpid()}.tmp")
        beside.write_text(json.dumps({"pid": running.pid, "port": port, "url": running.url, "id": running.id}))
        beside.replace(self._port_file)
        return running

    def withdraw(self) -> None:
        """Remove the port file."""
        self._port_file.unlink(missing_ok=True)
