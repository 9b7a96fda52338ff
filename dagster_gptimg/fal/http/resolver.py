"""Names that an answer brings, as addresses: none of one's own network."""

from __future__ import annotations

import errno
import ipaddress
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies

from aiohttp.resolver import ThreadedResolver

from dagster_gptimg.fal.addresses import is_global

if TYPE_CHECKING:
    from aiohttp.abc import ResolveResult


FALS_OWN = (".fal.media", ".fal.ai", ".fal.run")
"""Domains whose names lead where fal says, and nobody else: with a proxy of one's own, also to a private address."""


class PublicResolver(ThreadedResolver):
    """Finds the addresses of names, and none of one's own network: a public name may lead there.

    What it has found is what is connected to, so that a name cannot lead elsewhere after it was looked at.
    """

    def __init__(self) -> None:
        """Trust the proxies of the environment: they may be anywhere, and resolve by themselves."""
        super().__init__()
        self._trusted = {urlsplit(proxy).hostname for proxy in getproxies().values() if "://" in proxy}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The public addresses of a host. Raises `OSError` when it has none."""
        found = await super().resolve(host, port, family)
        if host in self._trusted or f".{host}".endswith(FALS_OWN):
            return found
        public = [one for one in found if is_global(ipaddress.ip_address(one["host"].partition("%")[0]))]
        if not public:
            raise OSError(errno.EPERM, f"{host} leads to an address that is not public; it is not called")
        return public
