"""The parsed content of a well-formed POST; the account makes a request of it (docs/fal-wire.md#submit)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dagster_gptimg.emulator.account.records import Outcome

LIFECYCLE = "x-fal-object-lifecycle-preference"


@dataclass(frozen=True)
class Source:
    """The image that an endpoint without a prompt is to work on, as it is kept."""

    name: str
    """The file's name."""
    width: int
    """Pixels."""
    height: int


@dataclass(frozen=True)
class Submission:
    """The content of a POST, as `emulator/http/parse_submission.py` has parsed it."""

    endpoint_id: str
    body: str
    """The JSON body, unchanged."""
    arguments: object
    """The parsed arguments."""
    start_timeout: float | None = None
    """`X-Fal-Request-Start-Timeout` in seconds."""
    low_priority: bool = False
    store_io: bool = True
    no_retry: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    """All of the platform's headers, names in lower case."""
    tags: Mapping[str, str] = field(default_factory=dict)
    webhook: str | None = None
    """Where the result is to be sent."""
    base_url: str = ""
    """Where the caller found us."""
    problem: Outcome | None = None
    """The end to which an image that it brings along leads: one that cannot be loaded, or is too large."""
    source: Source | None = None
