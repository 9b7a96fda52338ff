"""Which endpoint of docs/fal-wire.md a call is to: by the paths that stand there."""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

from tests.fal.wire_page import Endpoint, read_endpoints

TOLD = {"upload PUT": r"/(?:put|storage/put)/[^/]+", "file download": r"/files/.+"}
"""Paths that an answer tells: how this fal and the emulator make them."""

_BEGINNINGS = {"{base_url}": "", "{access_url}": r"/files/.+"}


class Route(NamedTuple):
    """How a call is known.

    Attributes:
        literal: letters of its path that are given: of two that fit, the longer one is meant.
        query: names of parameters that tell it from another use of its path, with their values; "" is any.
    """

    name: str
    method: str
    path: re.Pattern[str]
    literal: int
    query: dict[str, str]


@cache
def routes() -> list[Route]:
    """All that fal serves, the closest first."""
    found = [_route(endpoint) for endpoint in read_endpoints() if endpoint.service != "receiver"]
    return sorted(found, key=lambda route: (-route.literal, -len(route.query)))


def _route(endpoint: Endpoint) -> Route:
    path, _, query = endpoint.path.partition("?")
    given = {name: "" if "{" in texts[0] else texts[0] for name, texts in parse_qs(query).items()}
    given = {name: text for name, text in given.items() if name != "start"}
    if endpoint.name in TOLD:
        return Route(endpoint.name, endpoint.method, re.compile(TOLD[endpoint.name]), 1, given)
    for name, pattern in _BEGINNINGS.items():
        if path.startswith(name):
            path, begins = path.removeprefix(name), pattern
            break
    else:
        begins = ""
    rest = re.sub(
        r"\\{(\w+)\\}", lambda m: f"(?P<{m[1]}>{'.+' if m[1] == 'endpoint_id' else '[^/]+'})", re.escape(path)
    )
    literal = len(re.sub(r"\{\w+\}", "", path))
    return Route(endpoint.name, endpoint.method, re.compile(begins + rest), literal, given)


def route_of(method: str, url: str) -> tuple[str, dict[str, str]]:
    """The endpoint of a call, and what the braces of its path stand for; ("", {}) for a call to none of them."""
    parts = urlsplit(url)
    query = parse_qs(parts.query) if parts.query else {}
    for route in routes():
        if route.method != method or not all(
            n in query and query[n][0] == (t or query[n][0]) for n, t in route.query.items()
        ):
            continue
        if match := route.path.fullmatch(parts.path):
            return route.name, match.groupdict()
    return "", {}
