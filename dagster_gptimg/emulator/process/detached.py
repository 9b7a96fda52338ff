"""Finds the emulator of a state folder, or starts it as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Sequence

from dagster_gptimg.emulator.process.state_folder import EmulatorError, Folder, Running
from dagster_gptimg.emulator.settings import Settings

START_SECONDS = 30.0
"""Maximum seconds until a new process answers."""
ALREADY_RUNNING = 75
"""Exit status of a process that found the folder taken (sysexits: try again later)."""


def ensure(state_dir: str | os.PathLike[str], settings: Settings | None = None) -> Running:
    """Return the running emulator of this state folder; start a detached one if there is none.

    A running one keeps its own settings. Raises EmulatorError if none can be started.
    """
    folder = Folder(state_dir)
    folder.create()
    return answering(folder) or _started(folder, settings or Settings())


def answering(folder: Folder) -> Running | None:
    """The emulator that the port file names, if it answers and is that one."""
    running = folder.running()
    if running is None:
        return None
    # No proxy: this is our own machine, whatever the environment says.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{running.url}/v1/meta", timeout=5) as reply:
            told = json.load(reply)
        return running if told["emulator"]["id"] == running.id else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _started(folder: Folder, settings: Settings) -> Running:
    with folder.log.open("ab") as log:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "dagster_gptimg.emulator", "--state", str(folder.path), *flags(settings)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    # Somebody has to wait for a child, or it stays a zombie after its end for as long as this process lives.
    threading.Thread(target=process.wait, daemon=True).start()
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if running := answering(folder):
            return running
        # Another caller's process may have been quicker; then wait for that one.
        if process.poll() not in (None, ALREADY_RUNNING):
            raise EmulatorError(f"the emulator did not start; {_last_line(folder)} (log: {folder.log})")
        time.sleep(0.05)
    raise EmulatorError(f"the emulator does not answer after {START_SECONDS:.0f} s (log: {folder.log})")


def flags(settings: Settings) -> Sequence[str]:
    """The command line that gives a process these settings."""
    default = Settings()
    changed = {name: value for name, value in vars(settings).items() if value != getattr(default, name)}
    return ["--settings", json.dumps(changed, default=dict)]


def _last_line(folder: Folder) -> str:
    lines = folder.log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
