"""How a story is told: what happens to a dataset, and what one more run of it must come to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from tests.frozen_stores import Expected, Story

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from scripts.freeze.scripted_fal import ScriptedFal
    from tests.recorded_fal import Json

LOW = ["--id-column", "id", "--set", "quality=low", "--set", "image_size=1024x1024"]


class Maker(Protocol):
    """What plays a story on a release's command line; `__main__.Maker`."""

    fal: ScriptedFal

    @property
    def place(self) -> list[str]:
        """Where the dataset is, as options."""

    def run(self, command: str, *arguments: str, status: int = 0) -> str:
        """Run a command to its end."""

    def generate(self, rows: list[Json], *options: str, status: int = 0, kill_at: str = "") -> str:
        """Run over some rows."""

    def interrupt(self, rows: list[Json], *, accepted: int) -> None:
        """Run, and be interrupted."""

    def receiver(self) -> AbstractContextManager[str]:
        """The release's own receiver of webhooks."""


Play: TypeAlias = "Callable[[Maker], None]"
STORIES: dict[str, tuple[Story, Play]] = {}


def rows(*prompts: str, **columns: Any) -> list[Json]:
    """Rows with ids."""
    return [{"id": f"r{n}", "prompt": prompt, **columns} for n, prompt in enumerate(prompts)]


def story(table: list[Json], *runs: Expected, options: list[str] = LOW, **about: Any) -> Callable[[Play], Play]:
    """A story, by the function that plays it: its name is the dataset's, its docstring says what happens."""

    def told(play: Play) -> Play:
        name, words = play.__name__, " ".join((play.__doc__ or "").split())
        STORIES[name] = (Story(name, words, table, options, runs=[*runs], **about), play)
        return play

    return told


def only(counts: dict[str, int], status: int = 0, **more: Any) -> Expected:
    """A run that finds what its plan says, and buys nothing."""
    return Expected(counts, counts, status=status, **more)
