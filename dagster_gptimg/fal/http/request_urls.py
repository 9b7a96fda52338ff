"""The URLs of a request at fal's queue: where its status and result are read, and where it is cancelled."""

from __future__ import annotations

from dagster_gptimg.fal.addresses import origin_of
from dagster_gptimg.fal.types import Submitted


def request_url(queue: str, endpoint: str, request_id: str, suffix: str) -> str:
    """A URL of a request, built as fal's own clients build it."""
    app = "/".join(endpoint.split("/")[:2])
    return f"{queue}/{app}/requests/{request_id}{suffix}"


def with_trusted_urls(queue: str, request: Submitted) -> Submitted:
    """A request with every URL replaced that does not point at fal's queue, or at something else there.

    The key is sent to these URLs, and what is read from them is taken for this request's.
    """
    given = (
        (request.status_url, ("/status",)),
        (request.response_url, ("", "/response")),  # fal's pages have both
        (request.cancel_url, ("/cancel",)),
    )
    end = f"/requests/{request.request_id}"
    urls = [
        url
        if origin_of(url) == origin_of(queue) and url.endswith(tuple(f"{end}{suffix}" for suffix in ends))
        else request_url(queue, request.endpoint, request.request_id, ends[0])
        for url, ends in given
    ]
    return Submitted(request.request_id, request.endpoint, *urls)
