"""DNS resolution of hosts that an answer names: private addresses are refused."""

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
"""Domains that only fal controls; behind a proxy of the user's own they may resolve to a private address."""


class PublicResolver(ThreadedResolver):
    """Resolver that returns public addresses only: a public host name may resolve to a private one.

    The connection is made to the addresses that were checked, so that a name cannot resolve differently after the
    check.
    """

    def __init__(self) -> None:
        """Trust the proxies of the environment: they may be at any address, and resolve names themselves."""
        super().__init__()
        self._trusted = {urlsplit(proxy).hostname for proxy in getproxies().values() if "://" in proxy}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the public addresses of a host. Raises `OSError` if it has none."""
        found = await super().resolve(host, port, family)
        if host in self._trusted or f".{host}".endswith(FALS_OWN):
            return found
        public = [one for one in found if is_global(ipaddress.ip_address(one["host"].partition("%")[0]))]
        if not public:
            raise OSError(errno.EPERM, f"{host} resolves to an address that is not public; it is not called")
        return public
