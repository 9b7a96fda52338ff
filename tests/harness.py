"""Real parts for tests: an emulator in its own process, the CLI in its own process, and the bill that judges both."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import httpx

from dagster_gptimg.cli.commands import main as cli_main
from dagster_gptimg.emulator.__main__ import main as emulate
from dagster_gptimg.testing import NO_TLS
from dagster_gptimg.testing import EmulatedFal as Fal
from tests.processes import first_line, fork
from tests.support import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.context import ForkServerProcess

__all__ = [
    "CLI",
    "RUN_DEADLINE",
    "Fal",
    "Ran",
    "begin",
    "cli",
    "emulator",
    "kill",
    "records",
    "s3_server",
    "start",
    "table",
    "target",
    "until",
]

CLI = [sys.executable, "-m", "dagster_gptimg.cli"]
DEADLINE = 60.0
RUN_DEADLINE = 900.0  # only so that a hang ends; machines differ


@contextmanager
def emulator(state: Path, *arguments: str, main: Callable[..., int] = emulate) -> Iterator[Fal]:
    """Run one emulator on a state folder, with arguments of `python -m dagster_gptimg.emulator`.

    (What users of `dagster_gptimg.testing` get does the same, and starts it by its command.) `main`: another program
    than the emulator's own, which starts it in turn.
    """
    said = state.with_name(f"{state.name}-stdout")
    command = ["--state", str(state), "--seed", "7", *arguments]
    process = fork(main, command, os.environ, said, state.with_name(f"{state.name}-stderr"))
    try:
        line = first_line(process, said)
        assert line.startswith("emulator: "), line
        yield Fal(line.removeprefix("emulator: "))
    finally:
        process.terminate()
        process.join(10)


@contextmanager
def s3_server() -> Iterator[dict[str, str]]:
    """A real S3 server over HTTP, in its own process, with a bucket named `bucket`; yields its environment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "tests.s3_server", "-p", str(port)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        until("the S3 server answers", lambda: _answers(f"{url}/moto-api/"))
        httpx.put(f"{url}/bucket", headers={"Host": f"127.0.0.1:{port}"}).raise_for_status()
        yield {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
    finally:
        process.terminate()
        process.wait(10)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, verify=NO_TLS).status_code < 500
    except httpx.HTTPError:
        return False


@dataclass(frozen=True)
class Ran:
    """What one CLI call came to; `output` is its stdout as it came."""

    status: int
    stdout: str
    stderr: str
    output: bytes = b""

    @property
    def summary(self) -> dict[str, Any]:
        """The JSON object on the last line of stdout."""
        return dict(json.loads(self.stdout.splitlines()[-1]))


def cli(fal: Fal | None, *arguments: str, env: dict[str, str] | None = None, stdin: bytes | None = None) -> Ran:
    """Run the CLI to its end; `stdin` is what it finds there."""
    given = {**(fal.env if fal else os.environ), **(env or {})}
    with TemporaryDirectory() as folder:
        stdout, stderr, given_input = (Path(folder, name) for name in ("stdout", "stderr", "stdin"))
        given_input.write_bytes(stdin or b"")
        process = fork(cli_main, arguments, given, stdout, stderr, None if stdin is None else given_input)
        process.join(RUN_DEADLINE)
        if process.exitcode is None:
            process.kill()
            process.join()
        said, complained = stdout.read_text("utf-8", "replace"), stderr.read_text("utf-8")
        return Ran(process.exitcode or 0, said, complained, stdout.read_bytes())


def at_terminal(typed: str, *arguments: str) -> Ran:
    """Run the CLI to its end at a terminal, where somebody types this line."""
    keyboard, terminal = os.openpty()
    with TemporaryDirectory() as folder:
        stdout, stderr = Path(folder, "stdout"), Path(folder, "stderr")
        try:
            os.write(keyboard, f"{typed}\n".encode())
            process = fork(cli_main, arguments, os.environ, stdout, stderr, Path(os.ttyname(terminal)))
            process.join(RUN_DEADLINE)
            if process.exitcode is None:
                process.kill()
                process.join()
        finally:
            os.close(keyboard)
            os.close(terminal)
        return Ran(process.exitcode or 0, stdout.read_text("utf-8"), stderr.read_text("utf-8"), stdout.read_bytes())


def table(path: Path, rows: int, **columns: str) -> str:
    """A prompt table of so many rows, as JSON lines with the columns `id` and `prompt`: its path."""
    lines = [json.dumps({"id": f"r{n}", "prompt": f"a thing, number {n}", **columns}) for n in range(rows)]
    path.write_text("\n".join(lines), encoding="utf-8")
    return str(path)


def target(store: Path | str, dataset: str = "d") -> tuple[str, ...]:
    """The options of the CLI that say which dataset, and that its summary is to be printed as JSON."""
    return ("--store", str(store), "--dataset", dataset, "--json")


def start(fal: Fal, *arguments: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """Start the CLI and go on."""
    return subprocess.Popen(
        [*CLI, *arguments],
        env={**fal.env, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
    )


def begin(fal: Fal, *arguments: str, env: dict[str, str] | None = None) -> ForkServerProcess:
    """Start the CLI, without its imports, and go on: for moments drawn at random, half of which they would swallow."""
    nowhere = Path(os.devnull)
    return fork(cli_main, arguments, {**fal.env, **(env or {})}, nowhere, nowhere)


def kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL: nothing is cleaned up, nothing is said."""
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    if process.stdout is not None:
        process.stdout.close()


def until(what: str, condition: Any) -> None:
    """Wait until something holds."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.02)


def records(store: Path | str, dataset: str, env: dict[str, str] | None = None) -> list[dict[str, Any]]:
    """The manifest, as the CLI prints it."""
    ran = cli(None, "manifest", "--store", str(store), "--dataset", dataset, env=env)
    assert ran.status == 0, ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines()]
