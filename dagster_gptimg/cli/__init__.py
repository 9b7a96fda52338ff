"""The command line, `dagster-gptimg`: the same engine without Dagster.

`commands.py` has one function a command, and `click_options.py` the options that they share; `review.py` has the
commands of `review`. The other modules do what a command needs beside the engine: progress, tables and JSON in print,
checks of `doctor`, the receiver of webhooks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dagster_gptimg.cli.commands import cli, main

__all__ = ["cli", "main"]


def __getattr__(name: str) -> object:
    """Return `cli` or `main`, imported on first use: other modules use this package without importing the commands."""
    if name not in __all__:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    from dagster_gptimg.cli import commands

    return getattr(commands, name)
