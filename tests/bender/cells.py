"""What can be bent: every endpoint, field and header of docs/fal-wire.md, each in every way that `bends.py` knows."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from tests.bender.bends import ANSWERS, HEADERS, OF_WORDS, SHAPES, TIMES, URLS, VALUES
from tests.bender.routes import routes
from tests.fal.wire_page import Field, read_endpoints, read_fields

CODES = (401, 403, 404, 405, 408, 409, 410, 418, 425, 429, 499, 500, 502, 503, 504, 520)
"""HTTP statuses of errors that any endpoint may be given: documented ones, and others."""

BYTES = frozenset(
    {"file download", "upload PUT", "multipart part", "multipart complete", "direct upload", "multipart create"}
)
UNSEEN = frozenset(
    {
        ("images", "another's"),
        ("images[].url", "another's"),
        ("image", "another's"),
        ("image.url", "another's"),
        ("payload", "another's"),
        ("payload.images", "another's"),
        ("payload.images[].url", "another's"),
        ("items[].json_output", "another's"),
        ("items[].json_input", "another's"),
        ("emulator.id", "another's"),
        ("emulator", "absent"),
    }
)
"""Bends that nobody could tell from the truth."""

WEBHOOK = "webhook"
"""The endpoint of ours that fal calls: `hooks.py` bends what it sends."""

HOOKS = ("never", "late", "twice", "forged", "stale", "another request's", "broken in the body", "no body")
"""Ways to bend a whole callback."""

ASKED_ONCE = frozenset({"cancel", "file download", "upload token", "status stream"})
"""Endpoints of which no second answer to the same call could be another one."""

DATE = Field("", "header", "Date", ("string",), required=True, nullable=False, bounds="HTTP", meaning="fal's time")
"""A header that HTTP itself has, of every answer; this machine's clock is judged by it."""


class Cell(NamedTuple):
    """One way to bend one place.

    Attributes:
        endpoint: its name on the page.
        where: `body`, `error body`, `event`, `header`; `error` for an error in its place; `answer` for the whole.
        field: as the page has it; an error's HTTP status; empty for a whole answer.
        bend: a name of `bends.py`.
    """

    endpoint: str
    where: str
    field: str
    bend: str

    def __str__(self) -> str:
        return " / ".join(filter(None, self))


def bends_of(field: Field) -> list[str]:
    """The ways to bend a field: what fits its type comes to what fits every one."""
    if field.where == "header":
        return [*HEADERS, *(TIMES if field.path == "Date" else ())]
    found = [bend for bend in VALUES if (field.path, bend) not in UNSEEN]
    if "ISO 8601" in field.bounds:
        found += TIMES
    if "URL" in field.bounds:
        found += URLS
    if field.bounds.startswith(("one of", "`")):
        found += OF_WORDS
    return found


@cache
def cells(endpoint: str) -> tuple[Cell, ...]:
    """Everything that can be bent of one endpoint."""
    fields = [field for field in read_fields() if field.endpoint == endpoint]
    bent = [f for f in fields if f.where in {"body", "error body", "event", "header"}]
    if endpoint == WEBHOOK:
        found = [
            Cell(endpoint, f.where, f.path, bend) for f in bent for bend in bends_of(f) if f.where in {"header", "body"}
        ]
        return (*found, *(Cell(endpoint, "answer", "", bend) for bend in HOOKS))
    found = [Cell(endpoint, f.where, f.path, bend) for f in (*bent, DATE) for bend in bends_of(f)]
    found += [Cell(endpoint, "error", str(code), shape) for code in CODES for shape in SHAPES]
    return (*found, *(Cell(endpoint, "answer", "", bend) for bend in ANSWERS if can_occur(endpoint, bend)))


def can_occur(endpoint: str, bend: str) -> bool:
    """Whether a whole answer of an endpoint can be bent so: some speak of a request's state."""
    only = {
        "early": {"status", "status stream", "result", "cancel"},
        "too late": {"status", "status stream", "result"},
        "images with an error": {"result"},
        "another request's": {"submit", "status", "status stream", "result", "cancel", "lookup"},
        "no stream": {"status stream"},
        **dict.fromkeys(
            ("half a body", "gzip", "UTF-16", "twice"), {route.name for route in routes()} - {"status stream"}
        ),
        "stale": {name for name in (route.name for route in routes()) if name not in ASKED_ONCE},
    }
    return endpoint in only.get(bend, {endpoint})


@cache
def all_cells() -> tuple[Cell, ...]:
    """Everything that can be bent."""
    names = [endpoint.name for endpoint in read_endpoints()]
    assert set(names) == {route.name for route in routes()} | {WEBHOOK}
    return tuple(cell for name in names for cell in cells(name))
