"""Progress of a run for people: a live line on a terminal, plain lines elsewhere. Everything goes to stderr."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from dagster_gptimg.base.plain_text import dollars
from dagster_gptimg.cli.emulator_notice import emulator_line
from dagster_gptimg.cli.output import printable
from dagster_gptimg.engine.events import Event, Finished, Noticed, Planned, Stated, Updated, Warned
from dagster_gptimg.engine.events import Progress as Step
from dagster_gptimg.engine.wording import columns_lines, forecast, model_line, update_lines
from dagster_gptimg.errors import GptImgError
from dagster_gptimg.store.layout import IMAGES, dataset_of_manifest

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from dagster_gptimg.engine.record.summary import Summary
    from dagster_gptimg.prompts import PromptSpec
    from dagster_gptimg.store.dataset import Dataset

PLAIN_EVERY = 5.0
"""Seconds between two progress lines if stderr is not a terminal."""

NOTICES = 20
"""Maximum number of rows with problems that are listed one by one; the manifest has all of them."""


class RunView:
    """Shows the events of one run; used as a context manager around it."""

    def __init__(
        self, console: Console | None = None, spec: PromptSpec | None = None, dataset: Dataset | None = None
    ) -> None:
        """Show nothing yet.

        Args:
            console: stderr by default.
            spec: has the roles of the table's columns.
            dataset: of the run; says whether an emulator makes its images.
        """
        self._spec, self._dataset = spec, dataset
        self.console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self._bar = Progress(
            SpinnerColumn(),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[in_flight]} in flight  {task.fields[spent]}  {task.fields[rate]}"),
            TimeRemainingColumn(compact=True),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self._task = self._bar.add_task("images", total=None, in_flight=0, spent="$0.00", rate="")
        self._began = self._said = time.monotonic()
        self._notices = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if isinstance(event, Planned):
            self._planned(event.summary)
        elif isinstance(event, Warned):
            self._say(f"warning: {event.message}", "bold yellow")
        elif isinstance(event, Stated):
            self._say(event.message)
        elif isinstance(event, Step):
            self._step(event)
        elif isinstance(event, Noticed):
            self._noticed(event)
        elif isinstance(event, Updated):
            for line in update_lines(event):
                self._say(line, "dim")
        elif isinstance(event, Finished):
            self._bar.stop()
            self._finished(event)

    def _planned(self, summary: Summary) -> None:
        self._began = time.monotonic()
        lines = list[str]()
        if self._dataset is not None:
            with suppress(GptImgError):  # a run does not end for want of this line
                # A run has opened its dataset by now: it belongs to the service that answers.
                lines += filter(None, [emulator_line(self._dataset.origin())])
        lines += [f"plan: {forecast(summary)}"]
        if self._spec is not None:
            lines += [model_line(self._spec)] if self._spec.chosen else []
            lines += columns_lines(self._spec)
        for line in lines:
            self._say(line)

    def _step(self, step: Step) -> None:
        if step.total:  # a run without work shows no bar
            self._bar.start()
        rate = step.done / max(time.monotonic() - self._began, 0.001)
        spent = dollars(step.spent)
        self._bar.update(
            self._task,
            total=step.total,
            completed=step.done,
            in_flight=step.in_flight,
            spent=spent,
            rate=f"{rate:.1f}/s",
        )
        if not self.console.is_terminal and time.monotonic() - self._said >= PLAIN_EVERY:
            self._said = time.monotonic()
            left = (step.total - step.done) / max(rate, 0.001)
            counts = f"{step.done}/{step.total} done, {step.in_flight} in flight"
            self._say(f"{counts}, {spent}, {rate:.1f}/s, {left:.0f} s left")

    def _noticed(self, event: Noticed) -> None:
        self._notices += 1
        if self._notices <= NOTICES:
            row = f"row {event.row_id[:80]!r}: {event.status.replace('_', ' ')}: {event.message}"
            self._say(row, "yellow")
        elif self._notices == NOTICES + 1:
            self._say("more rows have problems; the manifest lists all of them", "yellow")

    def _finished(self, event: Finished) -> None:
        summary = event.summary
        if summary.stop:
            self._say(f"stopped ({summary.stop}): {summary.message}", "bold red")
        self._say(f"{summary.sentence()}, {summary.seconds:.1f} s", "bold")
        if event.manifest:
            folder = dataset_of_manifest(event.manifest)
            self._say(f"images: {folder}/{IMAGES}")
            self._say(f"manifest: {event.manifest}")

    def _say(self, line: str, style: str = "") -> None:
        self.console.print(printable(line, style))
