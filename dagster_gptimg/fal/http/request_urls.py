"""The URLs of a request at fal's queue: where its status and result are read, and where it is cancelled."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from dagster_gptimg.fal.addresses import origin_of

if TYPE_CHECKING:
    from dagster_gptimg.fal.types import Submitted


def request_url(queue: str, endpoint: str, request_id: str, suffix: str) -> str:
    """A URL of a request, built as fal's own clients build it."""
    app = "/".join(endpoint.split("/")[:2])
    return f"{queue}/{app}/requests/{request_id}{suffix}"


def with_trusted_urls(queue: str, request: Submitted) -> Submitted:
    """A request with every URL replaced that does not point at fal's queue, or at something else there.

    The key is sent to these URLs, and what is read from them is taken for this request's.
    """
    ends = {
        "status_url": ("/status",),
        "response_url": ("", "/response"),  # fal's pages have both
        "cancel_url": ("/cancel",),
    }
    return replace(request, **{name: _trusted(queue, request, name, known) for name, known in ends.items()})


def _trusted(queue: str, request: Submitted, name: str, ends: tuple[str, ...]) -> str:
    """One of a request's URLs, or the one that it should have; `ends`: what may follow the request's id in it."""
    url, end = str(getattr(request, name)), f"/requests/{request.request_id}"
    if origin_of(url) == origin_of(queue) and url.endswith(tuple(f"{end}{suffix}" for suffix in ends)):
        return url
    return request_url(queue, request.endpoint, request.request_id, ends[0])
