"""The log of a run in Dagster: the plan, the progress, rows with problems, the end.

Each line is an event in a database.
"""

import time
from collections.abc import Callable

import dagster as dg

from dagster_gptimg.base.plain_text import dollars, plain_lines
from dagster_gptimg.engine.events import Event, Finished, Noticed, Planned, Progress, Stated, Updated, Warned
from dagster_gptimg.engine.wording import forecast, model_line, update_lines
from dagster_gptimg.prompts import PromptSpec

PAUSES = ((60.0, 5.0), (600.0, 30.0), (float("inf"), 300.0))
"""Seconds between two lines, by the seconds since the run began: the first minute, ten minutes, the rest.

A run of a day has about 300 lines.
"""

MINUTE = 60.0
HOUR = 3600.0
DAY = 86400.0


class RunLog:
    """Turns a run's events into few log lines; messages in between are logged together with the next line.

    A run over one table (or partition) logs its end at once.

    Attributes:
        warned: warnings of the whole run, each once.
        spec: how the table of the current partition becomes prompts, and the roles of its columns.
    """

    def __init__(self, log: dg.DagsterLogManager, now: Callable[[], float] = time.monotonic) -> None:
        """`log`: the step's log manager. `now`: a clock, in seconds."""
        self._log, self._now = log, now
        self.warned: list[str] = []
        self.spec: PromptSpec | None = None
        self._began = now()
        self._said: float | None = None
        self._planned = self._began
        self._noticed: list[Noticed] = []
        self._held_back: list[str] = []
        self._partition = ""
        self._partitions = 0
        self._limit: float | None = None
        self._spent = 0.0

    def begin(self, partition: str | None, *, limit: float | None = None, spent: float = 0.0) -> None:
        """Begin a partition.

        Args:
            partition: its key; None for a table without partitions.
            limit: maximum US dollars of the run; None: any.
            spent: US dollars that the run has spent before.
        """
        self._partition = "" if partition is None else f"{partition[:80]!r}: "
        self._partitions += 1
        self._limit, self._spent = limit, spent

    def __call__(self, event: Event) -> None:
        """Process one event."""
        if isinstance(event, Planned):
            self._planned = self._now()
            seen = self.spec.seen if self.spec is not None else None
            columns = seen.sentence(self.spec.model.input_names) if seen and self.spec else ""
            model = model_line(self.spec) if self.spec is not None and self.spec.chosen else ""
            self.say("\n".join(filter(None, [f"plan: {forecast(event.summary)}", model, columns])))
            if seen and seen.warning:
                self._log.warning(plain_lines(f"{self._partition}{seen.warning}"))
                self.warned.append(seen.warning)
        elif isinstance(event, Warned):
            self.warn_once(event.message)
        elif isinstance(event, Stated):
            self.say(event.message)
        elif isinstance(event, Noticed):
            self._noticed.append(event)
        elif isinstance(event, Updated):
            self._log.debug("\n".join(update_lines(event)))
        elif isinstance(event, Progress) and self._is_time():
            self.say(self._where(event))
            self._warn()
        elif isinstance(event, Finished):
            self.say(f"{event.summary.sentence()}, {event.summary.seconds:.1f} s")
            if self._partitions == 1 or event.summary.stop is not None:
                self.flush()

    def warn_once(self, message: str) -> None:
        """Log a warning, and note it for the metadata; nothing if it is empty, or another partition has said it."""
        if message and message not in self.warned:
            self.warned.append(message)
            self._log.warning(plain_lines(message))

    def say(self, message: str) -> None:
        """Log a line, now or with the next one."""
        self._held_back.append(f"{self._partition}{message}")
        if self._is_time():
            self.flush()

    def flush(self) -> None:
        """Log the lines that were held back."""
        self._warn()
        if self._held_back:
            self._said = self._now()
            self._log.info(plain_lines("\n".join(self._held_back)))
            self._held_back.clear()

    def _where(self, step: Progress) -> str:
        """Return the progress: `125 of 500, 99 in flight, $1.23 of $6.00, 6.3/s, about 1 min left`.

        Where other runs' requests are before this run's in fal's queue: `99 in flight behind 180 of other runs`.
        """
        rate = step.done / max(self._now() - self._planned, 0.001)
        limit = "" if self._limit is None else f" of {dollars(self._limit)}"
        behind = f" behind {step.others_ahead} of other runs" if step.others_ahead else ""
        parts = [f"{step.done} of {step.total}", f"{step.in_flight} in flight{behind}"]
        parts.append(f"{dollars(self._spent + float(step.spent))}{limit}")
        if step.done:
            parts += [f"{rate:.1f}/s", f"about {lasting((step.total - step.done) / rate)} left"]
        return ", ".join(parts)

    def _is_time(self) -> bool:
        now = self._now()
        pause = next(pause for until, pause in PAUSES if now - self._began < until)
        return self._said is None or now - self._said >= pause

    def _warn(self) -> None:
        if self._noticed:
            first = self._noticed[0]
            more = f" (and {len(self._noticed) - 1} more rows)" if len(self._noticed) > 1 else ""
            words = f"row {first.row_id[:80]!r}: {first.status.replace('_', ' ')}: {first.message}{more}"
            self._log.warning(plain_lines(f"{self._partition}{words}"))
            self._noticed.clear()


def lasting(seconds: float) -> str:
    """Format a duration in the largest unit of which it has at least two: `50 s`, `3 min`, `5 h`, `4 days`."""
    for unit, name in ((DAY, "days"), (HOUR, "h"), (MINUTE, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s"
