"""The service that answers, fal or an emulator, and whether it knows the key. Costs nothing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import httpx

from dagster_gptimg.base.masking import harmless
from dagster_gptimg.base.plain_text import words_of
from dagster_gptimg.errors import KeyRejectedError, ReadError, UnreachableError
from dagster_gptimg.fal.http.bodies import parse_object
from dagster_gptimg.fal.http.request_ids import is_request_id
from dagster_gptimg.fal.http.request_urls import request_url

if TYPE_CHECKING:
    from dagster_gptimg.fal.http.connections import Wire
    from dagster_gptimg.fal.http.texts import Texts
    from dagster_gptimg.fal.settings import FalSettings
    from dagster_gptimg.fal.types import Json

META_SECONDS = 15.0

_META = frozenset({"webhook_ip_ranges", "emulator"})
"""Fields of the answer of `/v1/meta`: the first is fal's, the second the emulator's."""

_REASON = re.compile(r"Cannot connect to host \S+ ssl:\S+ \[(.+)\]")
"""What the HTTP library says of a connection that failed: it names the host again, or the address behind an alias."""

_NO_SUCH_REQUEST = "00000000-0000-0000-0000-000000000000"


async def origin(wire: Wire, settings: FalSettings, texts: Texts) -> str:
    """`fal`, or `emulator:<id>`. Raises `UnreachableError` when nobody answers, or nobody says who they are."""
    urls = settings.urls
    if urls.is_fal:
        return "fal"
    meta = await _meta(wire, urls.api)
    if "emulator" not in meta:
        return "fal"
    about = meta["emulator"]
    name = about.get("id") if isinstance(about, dict) else None
    if not is_request_id(name) or texts.has_key(str(name)):
        raise UnreachableError(f"{urls.api} is an emulator that does not give its id. Nothing was sent.")
    return f"emulator:{name}"


async def check_key(wire: Wire, queue: str, endpoint: str) -> None:
    """Make sure that fal answers and knows the key, by asking for a request that does not exist.

    Raises:
        UnreachableError: fal cannot be reached.
        KeyRejectedError: fal does not know the key.
    """
    url = request_url(queue, endpoint, _NO_SUCH_REQUEST, "/status")
    try:
        reply = await wire.fetch(url)
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
        words = _REASON.sub(r"\1", words_of(error))
        msg = f"cannot reach {queue} ({words}): check the network and FAL_BASE_URL. Nothing was sent."
        raise UnreachableError(msg) from harmless(error)
    if reply.status_code == httpx.codes.UNAUTHORIZED:
        msg = "fal does not know this key (HTTP 401): set FAL_KEY to a valid one. Nothing was sent."
        raise KeyRejectedError(msg)


async def _meta(wire: Wire, api: str) -> dict[str, Json]:
    """What the service says of itself; only fal's own answer, or an emulator's, decides whose a dataset is."""
    try:
        reply = await wire.call("GET", f"{api}/v1/meta", has_key=False, seconds=META_SECONDS)
        # A proxy's page must not pass for fal: its images could then be taken for the emulator's, or the other way.
        found = parse_object(reply.body if reply.is_success and reply.is_whole else b"")
        return _checked_meta(found)
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ReadError) as error:
        msg = (
            f"{api}/v1/meta does not say whether it is fal or an emulator ({words_of(error)}): check the "
            "network and FAL_BASE_URL. Nothing was sent."
        )
        raise UnreachableError(msg) from harmless(error)


def _checked_meta(found: dict[str, Json]) -> dict[str, Json]:
    """Return the answer of `/v1/meta` if it has the shape of fal's or an emulator's. Raises `ReadError`."""
    if found and not _META.intersection(found):
        raise ReadError("the answer does not have fal's shape")
    return found
