"""`python -m dagster_gptimg.emulator`: the emulator as a process of its own."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from dagster_gptimg.emulator.faults import parse_faults
from dagster_gptimg.emulator.process.detached import ALREADY_RUNNING
from dagster_gptimg.emulator.process.server import serve
from dagster_gptimg.emulator.process.state_folder import AlreadyRunningError, EmulatorError
from dagster_gptimg.emulator.settings import Settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until stopped. Exit status: 0 stopped, 1 cannot start, 2 bad usage, 75 the folder is in use."""
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        settings = _settings(given)
    except (ValueError, TypeError) as error:
        parser.error(str(error))
    try:
        serve(given.state, given.port, settings)
    except EmulatorError as error:
        sys.stderr.write(f"emulator: {error}\n")
        return ALREADY_RUNNING if isinstance(error, AlreadyRunningError) else 1
    except KeyboardInterrupt:
        pass
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m dagster_gptimg.emulator", description="fal on your own machine")
    parser.add_argument("--port", type=int, help="default: the state folder's port, or a free one")
    parser.add_argument("--state", default=".gptimg-emulator", help="state folder (default: %(default)s)")
    parser.add_argument("--latency", type=float, metavar="S", help="mean seconds a request is in progress")
    parser.add_argument("--slots", type=int, metavar="N", help="requests in progress at once")
    parser.add_argument("--fault", action="append", metavar="NAME=RATE", help="repeatable; names: faults.py")
    parser.add_argument("--idle-exit", type=float, metavar="S", help="stop when nobody has called for S seconds")
    parser.add_argument("--seed", type=int, metavar="N", help="decides every draw")
    parser.add_argument("--history-lag", type=float, metavar="S", help="delay with which requests enter the history")
    parser.add_argument("--settings", type=json.loads, default={}, metavar="JSON", help="any setting by its name")
    return parser


def _settings(given: argparse.Namespace) -> Settings:
    names = ("latency", "slots", "idle_exit", "seed", "history_lag")
    changes = {name: getattr(given, name) for name in names if getattr(given, name) is not None}
    if given.fault:
        changes["faults"] = parse_faults(given.fault)
    return Settings().changed({**given.settings, **changes})


if __name__ == "__main__":
    sys.exit(main())
