"""Access to the server of a review, for the browser that has opened the printed address, and no other page in it.

A page of another origin may send a call to any address, with a host name that leads here (DNS rebinding) it could read
the answer, and a script element would run the records wherever it stands. So a call needs the cookie that the printed
token was exchanged for, a host name of the server's own, and no header of another origin.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
import secrets
import socket
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
"""The names of this machine for itself."""

SAME = frozenset({"same-origin", "none"})
"""`Sec-Fetch-Site` of a call that a page of our own, or the person at the browser, has made."""

PAGE = "/"
"""The path of the page, which links of other pages may lead to: that shows it, and lets nobody read it."""

_HOST = re.compile(r"(?P<name>[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?")
_READS = frozenset({"GET", "HEAD"})


def is_loopback(host: str) -> bool:
    """Return whether an address to listen on is only reached from this machine."""
    if host.lower() in LOOPBACK:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_every_address(host: str) -> bool:
    """Return whether an address to listen on stands for all addresses of this machine."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return not host


class Access:
    """Decides about calls.

    Attributes:
        token: opens the page, as `?token=`; it is exchanged for the cookie.
        cookie: the cookie's name. Cookies are shared by all ports of a host, so it has the port.
    """

    def __init__(self, host: str, port: int) -> None:
        """Make the secrets of one process. `host`, `port`: on which the server listens."""
        self.token, self._session = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        self.cookie = f"dagster_gptimg_review_{port}"
        self._names = {*LOOPBACK, host.lower()}
        self._takes_addresses = is_every_address(host)
        if self._takes_addresses:
            self._names.add(socket.gethostname().lower())

    def is_token(self, text: str) -> bool:
        """Return whether a text is the printed token."""
        return hmac.compare_digest(text.encode("utf-8", "replace"), self.token.encode())

    def set_cookie(self) -> str:
        """Return the header that gives the cookie to a browser: no script reads it, no other site's call has it."""
        return f"{self.cookie}={self._session}; HttpOnly; SameSite=Strict; Path=/"

    def why_not(
        self, method: str, path: str, headers: Mapping[str, str], hosts: Sequence[str]
    ) -> tuple[int, str] | None:
        """Return the status code and the reason of a refusal; None for a call that is answered.

        The cookie is not looked at: see `has_cookie`.

        Args:
            method: such as `POST`.
            path: such as `/verdicts`.
            headers: the call's, by their names in lower case.
            hosts: the call's `Host` headers.
        """
        if len(hosts) != 1 or not self._is_own(hosts[0]):
            return 421, "this server answers by its own names only"
        site, origin = headers.get("sec-fetch-site", "none"), headers.get("origin")
        is_own = site in SAME and origin in {None, f"http://{hosts[0]}", f"https://{hosts[0]}"}
        is_followed = path == PAGE and method in _READS and headers.get("sec-fetch-mode") == "navigate"
        if not is_own and not (is_followed and origin is None):
            return 403, "this server answers its own page, and no other one"
        if method not in _READS and not _is_json(headers):
            return 415, "send Content-Type: application/json"
        return None

    def has_cookie(self, headers: Mapping[str, str]) -> bool:
        """Return whether a call has the cookie."""
        try:
            found = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            return False
        return found is not None and hmac.compare_digest(found.value.encode("utf-8", "replace"), self._session.encode())

    def _is_own(self, host: str) -> bool:
        """Return whether a `Host` header names this server: with any port, since one may be forwarded to ours.

        A name that leads here by a stranger's DNS is never an address, so a server on all addresses takes any of them.
        """
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = match["name"].strip("[]").lower()
        if name in self._names:
            return True
        try:
            return self._takes_addresses and bool(ipaddress.ip_address(name))
        except ValueError:
            return False


def _is_json(headers: Mapping[str, str]) -> bool:
    return headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"
