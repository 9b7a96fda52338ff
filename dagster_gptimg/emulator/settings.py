"""How the emulated fal behaves: everything that can be set, at start or at run time."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from .faults import check_rates

RESULT_SECONDS = 3600.0
"""How long a result without stored payload stays readable (fal, queue result page: 1 hour)."""
LARGE_RESULT_SECONDS = 360.0
"""The same for a result of 10 KB or more (fal: 6 minutes)."""
STORED_SECONDS = 30 * 86400.0
"""How long a stored payload makes the result readable, and how far the history goes back (fal: 30 days)."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of one emulator. All times are seconds.

    What fal leaves open (fal-api.md §12) is a switch here, so that a client can be tested against both readings.
    """

    latency: float = 1.0
    """Mean time in progress; each request draws within 30 % of it."""
    slots: int = 40
    """Requests in progress at once (fal: 2 for a new account, up to 40)."""
    faults: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """Fault name -> rate in [0, 1]; the names are in `faults.FAULTS`."""
    seed: int = 0
    """Decides every draw: latencies, faults."""
    history_lag: float = 0.0
    """How long after its end a request appears in the history (fal documents no figure)."""
    history_in_progress: bool = False
    """Whether the history shows requests in progress, with `ended_at` null (fal does not say)."""
    refusals_billed: bool = False
    """Whether a content-policy 422 costs what its images would have cost (fal: "may be charged")."""
    cancel_stops_running: bool = False
    """Whether a cancel of a request in progress ends it, with 499, billed in full. Otherwise it completes."""
    cancelled_is_gone: bool = False
    """Whether a request cancelled in the queue answers 404 from then on. Otherwise COMPLETED and 499."""
    slow_seconds: float = 30.0
    """How long `submit_slow` and `image_slow` wait."""
    requeue_seconds: float = 0.5
    """How long a request that fal retries (`requeue`) waits before it may start again."""
    result_seconds: float = RESULT_SECONDS
    large_result_seconds: float = LARGE_RESULT_SECONDS
    stored_seconds: float = STORED_SECONDS
    idle_exit: float | None = None
    """End the process when nobody has called for this long. None: never."""

    def __post_init__(self) -> None:
        """Refuse what makes no sense, in the setting's own name."""
        for name in _TIMES:
            _check_time(name, getattr(self, name))
        slots: object = self.slots  # Settings come from JSON, too.
        if isinstance(slots, bool) or not isinstance(slots, int) or slots < 1:
            raise ValueError(f"slots: expected a whole number of at least 1, got {self.slots!r}")
        for name in _SWITCHES:
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name}: expected true or false, got {getattr(self, name)!r}")  # noqa: TRY004
        check_rates(self.faults)

    def changed(self, changes: Mapping[str, Any]) -> Settings:
        """These settings with `changes` applied; unknown names and bad values raise ValueError."""
        unknown = sorted(set(changes) - {field.name for field in dataclasses.fields(self)})
        if unknown:
            raise ValueError(f"unknown setting: {', '.join(unknown)}")
        return dataclasses.replace(self, **changes)


_TIMES = (
    "latency",
    "history_lag",
    "slow_seconds",
    "requeue_seconds",
    "result_seconds",
    "large_result_seconds",
    "stored_seconds",
    "idle_exit",
)
_SWITCHES = ("history_in_progress", "refusals_billed", "cancel_stops_running", "cancelled_is_gone")


def _check_time(name: str, value: object) -> None:
    if value is None and name == "idle_exit":
        return
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 <= float(value) < float("inf"):  # type: ignore[arg-type]
        raise ValueError(f"{name}: expected seconds, 0 or more, got {value!r}")
