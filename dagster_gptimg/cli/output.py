"""The output functions of all commands: control characters are escaped, and secrets are masked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from dagster_gptimg.base.masking import masked
from dagster_gptimg.base.plain_text import plain_lines

if TYPE_CHECKING:
    from rich.text import Text


def say(message: str) -> None:
    """Print a message for people to stderr."""
    click.echo(plain_lines(message), err=True)


def tell(line: str) -> None:
    """Print a line for programs to stdout."""
    click.echo(plain_lines(line))


def tell_json(value: object, indent: int | None = None) -> None:
    """Print a value for programs to stdout, as ASCII JSON."""
    click.echo(json.dumps(_masked(value), indent=indent))


def printable(message: str, style: str = "") -> Text:
    """Return a message for rich, without interpreting it as markup."""
    from rich.text import Text

    return Text(plain_lines(message), style)


def _masked(value: object) -> object:
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, Mapping):
        return {str(_masked(name)): _masked(item) for name, item in value.items()}
    return [_masked(item) for item in value] if isinstance(value, Sequence) else value
