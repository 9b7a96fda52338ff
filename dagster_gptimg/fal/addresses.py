"""Checks of URLs: the key goes to fal's queue only.

Private networks are never called.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

import httpx

from dagster_gptimg.errors import ReadError

if TYPE_CHECKING:
    from collections.abc import Collection


def origin_of(url: str) -> tuple[str, str, int | None]:
    """Return scheme, host and port of a URL; empty strings and None if the text is not a URL."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return "", "", None
    return parsed.scheme, parsed.host, parsed.port


_CARRYING_IPV4 = tuple(map(ipaddress.IPv6Network, ("64:ff9b::/96", "2002::/16")))
"""IPv6 networks whose addresses carry an IPv4 address (NAT64 and 6to4).

A translator or tunnel forwards to that IPv4 address.
"""


def is_private(host: str) -> bool:
    """Return whether a host name or address is local or private, not reachable from the whole internet."""
    host = host.strip("[]").rstrip(".").lower()
    try:
        return not is_global(ipaddress.ip_address(host))
    except ValueError:
        pass
    # `0x7f.1`, `2130706433` and `127.1` are addresses too, for those who fetch: a name's last label has a letter.
    last = host.rpartition(".")[2]
    named = "." in host and not last.isdigit() and not last.startswith("0x")
    return not named or host.endswith((".localhost", ".local", ".internal"))


def is_global(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Return whether an IP address is a public one.

    An IPv4 address that is written as IPv6 is judged by its IPv4 form.
    """
    if isinstance(address, ipaddress.IPv6Address):
        carried = address.ipv4_mapped or address.sixtofour
        if address in _CARRYING_IPV4[0]:
            carried = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if carried is not None:
            return carried.is_global
    return address.is_global and not address.is_multicast


def check_public(url: str, own: Collection[str], what: str) -> None:
    """Refuse a URL from an answer unless it can be genuine, so that a forged answer cannot reach the worker's network.

    Args:
        url: the URL to check; untrusted.
        own: URLs of the configured services: their origins are trusted.
        what: what the URL is for, as the subject of the error message.

    Raises:
        ReadError: the URL is neither at one of the own origins nor a public https address. It is not called.
    """
    if origin_of(url) in {origin_of(service) for service in own}:
        return
    parsed = httpx.URL(url) if url.startswith("https://") and origin_of(url)[1] else None
    if parsed is None or parsed.userinfo or is_private(parsed.host):
        msg = f"{what} is not a public https address; it is not called"
        raise ReadError(msg)
