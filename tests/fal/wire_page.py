"""docs/fal-wire.md as data: every endpoint that the client calls, and every field that it reads or sends.

    endpoints, fields = read_endpoints(), read_fields()

The page is the single source. A table is known by its header row; one row is one endpoint, or one field of one or
several endpoints (their names with commas between).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = ROOT / "docs" / "fal-wire.md"

ENDPOINTS = ("endpoint", "service", "method", "path", "called by")
FIELDS = ("endpoint", "where", "field", "type", "presence", "bounds", "meaning")
REQUEST_ERRORS = ("type", "HTTP status", "about", "fal retries it in the queue")
MODEL_ERRORS = ("type", "HTTP status", "about", "billed", "context")

SENT = ("query", "request header", "request body")
ANSWERED = ("status code", "header", "body", "error body", "event")
TYPES = ("string", "integer", "number", "boolean", "array", "object", "any")
ABOUTS = ("content", "input", "loading a reference", "the model or a downstream service", "the platform", "the caller")
PRESENCES = ("required", "optional", "required, nullable", "optional, nullable")


@dataclass(frozen=True)
class Endpoint:
    """One endpoint.

    Attributes:
        service: `queue`, `api`, `rest`, `cdn`; or `receiver`, which is ours.
        path: below its service's origin, with `{names}`. One that begins with a name is a URL that an earlier answer
            named so. A query tells two uses of one path apart.
        called_by: what calls it.
    """

    name: str
    service: str
    method: str
    path: str
    called_by: tuple[str, ...]


@dataclass(frozen=True)
class Field:
    """One header, query parameter, status code or place in a JSON body of one endpoint.

    Attributes:
        where: one of `SENT` or `ANSWERED`.
        path: such as `images[].url`; `*` in it is any name. A header's or parameter's name; a status code's digits.
        types: of JSON, among `TYPES`.
        required: it is there in each such answer. nullable: it may be null there.
        bounds: the most that the client may rely on, for people; `none` is none.
    """

    endpoint: str
    where: str
    path: str
    types: tuple[str, ...]
    required: bool
    nullable: bool
    bounds: str
    meaning: str

    @property
    def steps(self) -> list[str]:
        """The way to it in a JSON body: names, `[]` for each item of a list, `*` for each name of an object."""
        return re.findall(r"\[\]|[^.\[\]]+", self.path)


@dataclass(frozen=True)
class ErrorType:
    """One type of error. `about`: one of `ABOUTS`, what would have to change for the request to end otherwise."""

    name: str
    status_codes: tuple[int, ...]
    about: str


def read_endpoints() -> list[Endpoint]:
    """Every endpoint of the page."""
    return [
        Endpoint(name, service, method, _plain(path), tuple(_plain(part) for part in called_by.split(", ")))
        for name, service, method, path, called_by in rows(ENDPOINTS)
    ]


def read_fields() -> list[Field]:
    """Every field of the page, once for each of its endpoints. Raises `ValueError` for a cell that means nothing."""
    found = list[Field]()
    for names, where, path, types, presence, bounds, meaning in rows(FIELDS):
        kinds = tuple(types.split(" or "))
        if where not in SENT + ANSWERED or presence not in PRESENCES or not set(kinds) <= set(TYPES) or not bounds:
            raise ValueError(f"{PAGE.name}: {names} | {where} | {path} | {types} | {presence} | {bounds}")
        required, nullable = presence.startswith("required"), presence.endswith("nullable")
        told = where, _plain(path), kinds, required, nullable, bounds, meaning
        found.extend(Field(name, *told) for name in names.split(", "))
    return found


def read_error_types() -> list[ErrorType]:
    """The types of fal's own errors and of the models'. Raises `ValueError` for a cell that means nothing."""
    told = [row[:3] for header in (REQUEST_ERRORS, MODEL_ERRORS) for row in rows(header)]
    found = [ErrorType(_plain(name), tuple(map(int, codes.split(", "))), about) for name, codes, about in told]
    if {kind.about for kind in found} != set(ABOUTS):
        raise ValueError(f"{PAGE.name}: a type of error is about something else than {', '.join(ABOUTS)}")
    return found


def rows(header: tuple[str, ...]) -> Iterator[list[str]]:
    """The rows of all tables with this header. Raises `ValueError` for a row of another length."""
    inside = False
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line[1:-1].split("|")] if line.startswith("|") else []
        if inside and cells and not re.fullmatch(r"-+", cells[0]):
            if len(cells) != len(header):
                raise ValueError(f"{PAGE.name}: {len(cells)} cells instead of {len(header)}: {line}")
            yield cells
        inside = tuple(cells) == header or (inside and bool(cells))


def _plain(cell: str) -> str:
    return cell.strip("`")
