"""Postgres and Redis on loopback, each in a folder of its own that is gone at the end."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.harness import until

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Postgres", "free_port", "postgres", "redis"]

BINARIES = Path("/usr/lib/postgresql/15/bin")
"""Where Debian's `postgresql-15` puts what it does not put into the path."""

USER = "postgres"
"""Postgres does not run as root: then it runs as Debian's own user for it."""


def free_port() -> int:
    """A port of loopback that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Postgres:
    """A running server with a database of Dagster's.

    Attributes:
        folder: its data.
        env: what `dagster.yaml` reads.
    """

    folder: Path
    env: dict[str, str]

    def restart(self) -> None:
        """End it at once, with all connections and without a word to them, and start it again."""
        self.control("restart", "-m", "immediate")

    def control(self, action: str, *more: str) -> None:
        """Call `pg_ctl`, and wait until it is done."""
        settings = f"-c listen_addresses=127.0.0.1 -c port={self.env['POSTGRES_PORT']} -c max_connections=200"
        folders = f"-c unix_socket_directories={self.folder}"
        command = [f"{BINARIES}/pg_ctl", action, "-D", f"{self.folder}/data", "-l", f"{self.folder}/log", "-w", *more]
        options = [] if action == "stop" else ["-o", f"{settings} {folders}"]
        _run([*command, *options])


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A server with an empty database, until the block ends."""
    folder = Path(tempfile.mkdtemp(prefix="dagster-gptimg-postgres-"))
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, USER)
        env = {"HOST": "127.0.0.1", "PORT": str(free_port()), "USER": USER, "PASSWORD": "unused", "DB": USER}
        server = Postgres(folder, {f"POSTGRES_{name}": value for name, value in env.items()})
        _run([f"{BINARIES}/initdb", "-D", f"{folder}/data", "-A", "trust", "-U", USER, "--no-sync"])
        server.control("start")
        try:
            yield server
        finally:
            server.control("stop", "-m", "immediate")
    finally:
        shutil.rmtree(folder)


@contextmanager
def redis() -> Iterator[str]:
    """A server that keeps nothing on disk, until the block ends: its URL."""
    with tempfile.TemporaryDirectory(prefix="dagster-gptimg-redis-") as folder:
        port = free_port()
        settings = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        with Path(folder, "log").open("w", encoding="utf-8") as log:
            server = subprocess.Popen(["redis-server", *settings], cwd=folder, stdout=log, stderr=log)
        try:
            until("redis answers", lambda: _listens(port))
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            server.terminate()
            server.wait(10)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _run(command: list[str]) -> None:
    """Run a command of Postgres to its end."""
    other_user = ["runuser", "-u", USER, "--"] if os.geteuid() == 0 else []
    # Its output goes nowhere: a server that is started holds on to what its parent writes to.
    subprocess.run([*other_user, *command], stdout=subprocess.DEVNULL, check=True, cwd="/")
