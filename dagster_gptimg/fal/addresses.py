"""Which addresses are trusted with what: the key goes to fal's queue only, and nothing of one's own network is read."""

from __future__ import annotations

import ipaddress

import httpx


def origin_of(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port of a URL; empty for what is none."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return "", "", None
    return parsed.scheme, parsed.host, parsed.port


def is_private(host: str) -> bool:
    """Whether a host is not one that everybody can reach by this name."""
    try:
        return not ipaddress.ip_address(host.strip("[]")).is_global
    except ValueError:
        pass
    # `0x7f.1`, `2130706433` and `127.1` are addresses too, for those who fetch: a name's last label has a letter.
    last = host.rpartition(".")[2]
    named = "." in host and not last.isdigit() and not last.startswith("0x")
    return not named or host.endswith((".localhost", ".local", ".internal"))
