"""Processes that begin at once: forked from one that has already imported what they need.

A test that calls the command line six times would pay for the same imports six times; that, and not what it tests, was
most of the suite's time. They are real processes all the same, with their own environment, streams and exit status.
What signals are sent to, and what is measured, is started as users start it (`tests.harness.start`).
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import sys
import time
from typing import TYPE_CHECKING

from tests.support import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from multiprocessing.context import ForkServerProcess
    from pathlib import Path

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.preloaded"])


def fork(
    main: Callable[[], int | None],
    arguments: Sequence[str],
    env: Mapping[str, str],
    stdout: Path,
    stderr: Path,
    stdin: Path | None = None,
) -> ForkServerProcess:
    """Start a process that calls `main` with these arguments and environment; its streams are files."""
    process = _context.Process(target=_become, args=(main, [*arguments], dict(env), stdout, stderr, stdin))
    process.start()
    return process


def first_line(process: ForkServerProcess, stdout: Path) -> str:
    """What a process says first, as soon as it has; empty when it ends without a word."""
    while "\n" not in (said := stdout.read_text("utf-8") if stdout.exists() else ""):
        if process.exitcode is not None:
            return ""
        time.sleep(0.01)
    return said.splitlines()[0]


def _become(
    main: Callable[[], int | None],
    arguments: list[str],
    env: dict[str, str],
    stdout: Path,
    stderr: Path,
    stdin: Path | None,
) -> None:
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(env)
    sys.argv[1:] = arguments
    for stream, path in ((sys.stdout, stdout), (sys.stderr, stderr)):
        with path.open("wb") as file:
            os.dup2(file.fileno(), stream.fileno())
    if stdin is not None:
        sys.stdin = stdin.open(encoding="utf-8")
    try:
        sys.exit(main())
    finally:
        atexit._run_exitfuncs()  # as at the end of any process; one of multiprocessing's ends without
