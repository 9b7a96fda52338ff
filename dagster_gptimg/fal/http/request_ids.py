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
    """True when this can be a request id. It becomes part of file names, so nothing else is let through."""
    return isinstance(text, str) and _REQUEST_ID.fullmatch(text) is not None


def header_id(reply: Reply) -> str | None:
    """The request that an answer's own header names; None where it names none."""
    named = reply.headers.get("x-fal-request-id")
    return named if is_request_id(named) else None


def accepted_id(reply: Reply, body: Mapping[str, Json] | None) -> str | None:
    """The id in an answer to a submit: of the body; of a body that cannot be read as a whole; of the header.

    Where header and URLs of an answer name the same id, and its body another one or none, two stand against one.
    """
    if body is not None and "request_id" in body:
        named, told = header_id(reply), body["request_id"]
        if named is not None and named != told and _names_in_urls(body) == {named}:
            return named
        return str(told) if is_request_id(told) else None
    found = ids_in_text(reply.body) if body is None else set()
    return next(iter(found)) if len(found) == 1 else header_id(reply)


def _names_in_urls(body: Mapping[str, Json]) -> set[str]:
    """The request ids in the URLs of an answer to a submit."""
    urls = (body.get(name) for name in ("status_url", "response_url", "cancel_url"))
    return {found[1] for url in urls if isinstance(url, str) and (found := _ID_IN_URL.search(url))}


def ids_in_text(body: bytes) -> set[str]:
    """The request ids in a body that cannot be read as a whole."""
    return {name.decode() for name in _ID_IN_TEXT.findall(body)}
