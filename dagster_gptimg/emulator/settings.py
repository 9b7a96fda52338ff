"""The settings of the emulated fal, at start or at run time."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from dagster_gptimg.emulator.faults import check_rates
from dagster_gptimg.emulator.open_questions import Readings

RESULT_SECONDS = 3600.0
"""Seconds for which a result without stored payload stays readable (docs/fal-wire.md#limits-and-lifetimes)."""
LARGE_RESULT_SECONDS = 360.0
"""Seconds for which a result of 10 KB or more without stored payload stays readable (fal: 6 minutes)."""
STORED_SECONDS = 30 * 86400.0
"""Seconds for which a result with stored payload stays readable, and the length of the history (fal: 30 days)."""


@dataclasses.dataclass(frozen=True)
class Settings(Readings):
    """Settings of one emulator. All times are in seconds.

    Facts that fal does not document are switches, so that a client can be tested against all readings: see `Readings`.
    """

    latency: float = 1.0
    """Mean time in progress; each request draws within 30 % of it."""
    slots: int = 40
    """Maximum requests in progress (fal: 2 for a new account, up to 40)."""
    faults: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """Fault name -> rate in [0, 1]; the names are in `faults.FAULTS`."""
    seed: int = 0
    """Decides every draw: latencies, faults."""
    slow_seconds: float = 30.0
    """Seconds that `submit_slow`, `image_slow`, `webhook_late` and `webhook_overtaken` wait."""
    requeue_seconds: float = 0.5
    """Seconds that a request which fal retries (`requeue`) waits before it may start again."""
    result_seconds: float = RESULT_SECONDS
    large_result_seconds: float = LARGE_RESULT_SECONDS
    stored_seconds: float = STORED_SECONDS
    keep_alive_seconds: float = 15.0
    """Seconds of silence after which a status stream sends a comment (fal: 15 s)."""
    webhook_seconds: float = 15.0
    """Maximum seconds of the first delivery of a webhook (fal: 15 s)."""
    webhook_retry_seconds: float = 120.0
    """Maximum seconds of each repeated delivery (fal: 120 s)."""
    webhook_backoff: float = 2.5
    """The pause before the first repetition; each next one is a fifth longer, so that 31 of them fill an hour. fal says
    "increasing", and no figures."""
    webhook_retries: int = 31
    """Repetitions of a delivery at most (fal: 31; an older page: 10)."""
    webhook_private: bool = True
    """Whether webhooks go to private and loopback addresses. fal drops these unsent; an emulator lives among them."""
    webhook_keys: int = 1
    """Number of keys that the JWKS lists. The last one signs: one more is a rotation."""
    idle_exit: float | None = None
    """Seconds without a call after which the process ends. None: never."""

    def __post_init__(self) -> None:
        """Refuse what makes no sense, in the setting's own name."""
        for name, kind in _KINDS.items():
            _check(name, kind, getattr(self, name))
        check_rates(self.faults)

    def changed(self, changes: Mapping[str, Any]) -> Settings:
        """Return a copy of the settings with `changes` applied.

        Raises `ValueError` for unknown names and invalid values.
        """
        unknown = sorted(set(changes) - {field.name for field in dataclasses.fields(self)})
        if unknown:
            raise ValueError(f"unknown setting: {', '.join(unknown)}")
        return dataclasses.replace(self, **changes)


_KINDS = {name: kind for name, kind in get_type_hints(Settings).items() if name != "faults"}
_LEAST = {"slots": 1, "webhook_retries": 0, "webhook_keys": 1}


def _check(name: str, kind: Any, value: object) -> None:  # noqa: ANN401 - an annotation
    """Settings come from JSON, so their types are not to be relied on."""
    if get_origin(kind) is Literal:
        fits, expected = value in get_args(kind), f"one of {', '.join(map(str, get_args(kind)))}"
    elif kind is bool:
        fits, expected = isinstance(value, bool), "true or false"
    elif kind is int:
        least = _LEAST.get(name)
        fits = isinstance(value, int) and not isinstance(value, bool) and (least is None or value >= least)
        expected = "a whole number" + ("" if least is None else f" of at least {least}")
    else:
        fits, expected = _is_time(value) or (value is None and NoneType in get_args(kind)), "seconds, 0 or more"
    if not fits:
        raise ValueError(f"{name}: expected {expected}, got {value!r}")


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")
