"""Request ids: what can be one, and which one an answer of fal's names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagster_gptimg.fal.http.bodies import Reply
    from dagster_gptimg.fal.types import Json

_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_ID_IN_TEXT = re.compile(rb'"request_id"\s*:\s*"([A-Za-z0-9][A-Za-z0-9_-]{0,127})"')
_ID_IN_URL = re.compile(r"/requests/([A-Za-z0-9][A-Za-z0-9_-]{0,127})(?=/|$)")


def is_request_id(text: object) -> bool:
    """Return whether a value is a valid request id.

    Request ids become part of file names, so nothing else is accepted.
    """
    return isinstance(text, str) and _REQUEST_ID.fullmatch(text) is not None


def header_id(reply: Reply) -> str | None:
    """Return the request id in the answer's own header; None if the header names none."""
    named = reply.headers.get("x-fal-request-id")
    return named if is_request_id(named) else None


def accepted_id(reply: Reply, body: Mapping[str, Json] | None) -> str | None:
    """Return the request id in an answer to a submit: from the body, from an unreadable body, or from the header.

    If the header and the body's URLs name the same id but the body's `request_id` is missing or differs, the id of the
    header and the URLs is taken: two of the three agree.
    """
    if body is not None and "request_id" in body:
        named, told = header_id(reply), body["request_id"]
        if named is not None and named != told and _names_in_urls(body) == {named}:
            return named
        return str(told) if is_request_id(told) else None
    found = ids_in_text(reply.body) if body is None else set()
    return next(iter(found)) if len(found) == 1 else header_id(reply)


def _names_in_urls(body: Mapping[str, Json]) -> set[str]:
    """Return the request ids in the URLs of an answer to a submit."""
    urls = (body.get(name) for name in ("status_url", "response_url", "cancel_url"))
    return {found[1] for url in urls if isinstance(url, str) and (found := _ID_IN_URL.search(url))}


def ids_in_text(body: bytes) -> set[str]:
    """Return the request ids in a body that is not valid JSON as a whole."""
    return {name.decode() for name in _ID_IN_TEXT.findall(body)}
