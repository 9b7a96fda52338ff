"""The process that serves one state folder."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path

import uvicorn

from dagster_gptimg.emulator.account.account import Account
from dagster_gptimg.emulator.account.database import Database
from dagster_gptimg.emulator.http.app import App
from dagster_gptimg.emulator.http.broken_replies import Protocol
from dagster_gptimg.emulator.process.state_folder import EmulatorError, Folder
from dagster_gptimg.emulator.settings import Settings

HOST = "127.0.0.1"


def serve(state_dir: str | os.PathLike[str], port: int | None = None, settings: Settings | None = None) -> None:
    """Serve fal from this state folder until SIGINT or SIGTERM.

    `port=None` is the folder's remembered port, or a free one the first time: URLs that were handed out hold. Prints
    `emulator: http://127.0.0.1:PORT` when it listens. Raises EmulatorError when the folder or the port cannot be used,
    AlreadyRunningError when another process serves the folder.
    """
    folder = Folder(state_dir)
    folder.create()
    with folder.locked():
        database = Database(folder.database)
        try:
            _serve(folder, database, port, settings or Settings())
        finally:
            folder.withdraw()
            database.close()


def _serve(folder: Folder, database: Database, port: int | None, settings: Settings) -> None:
    listener = _listen(port, database.meta("port"), folder.path)
    database.set_meta("port", str(listener.getsockname()[1]))
    app = App(Account(database, settings), folder.path)
    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        # fal's connections live long; a short life here would make a POST race with the close of an idle connection.
        timeout_keep_alive=75,
        # A forwarded address would hide the connection that a fault has to break.
        proxy_headers=False,
        # A slow reply (`submit_slow`) must not keep the process from ending.
        timeout_graceful_shutdown=1,
    )
    _Server(config, app, folder, database.id, settings.idle_exit).run(sockets=[listener])


def _listen(port: int | None, remembered: str | None, path: Path) -> socket.socket:
    """A bound socket on the given, the remembered, or any free port."""
    wanted = port if port is not None else int(remembered or 0)
    # With the protocol named: asyncio sets TCP_NODELAY on no other, and then each reply waits 40 ms for an ACK.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, wanted))
    except (OSError, OverflowError) as error:
        listener.close()
        hint = "" if port is not None else f" (the port of {path}); pass another port, and handed out URLs are void"
        raise EmulatorError(f"cannot listen on {HOST}:{wanted}{hint}: {error}") from error
    return listener


class _Server(uvicorn.Server):
    """Uvicorn's server, which prints its address and stops when it is idle."""

    def __init__(self, config: uvicorn.Config, app: App, folder: Folder, emulator_id: str, idle: float | None) -> None:
        super().__init__(config)
        self._app, self._folder, self._id, self._idle = app, folder, emulator_id, idle
        self._watch: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen; then tell the world."""
        await super().startup(sockets)
        if self.should_exit or not sockets:
            return
        running = self._folder.announce(sockets[0].getsockname()[1], self._id)
        sys.stdout.write(f"emulator: {running.url}\n")
        sys.stdout.flush()
        sys.stderr.write(
            f"in another terminal: export FAL_BASE_URL={running.url} FAL_KEY=any\n"
            f"its state is in {self._folder.path}; Ctrl-C ends it\n"
        )
        if self._idle is not None:
            self._watch = asyncio.create_task(self._leave_when_idle(self._idle))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop; the port file goes here, since uvicorn then raises the signal that ended it once more."""
        self._folder.withdraw()
        await super().shutdown(sockets)

    async def _leave_when_idle(self, seconds: float) -> None:
        while (left := seconds - self._app.idle_seconds()) > 0:  # noqa: ASYNC110 - nobody would set an event
            await asyncio.sleep(left)
        self.should_exit = True
