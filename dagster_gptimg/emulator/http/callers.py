"""Access control: programs on this machine may call, but no web page in a browser, whatever host name it uses.

A page may send a call to any address, and with a host name that resolves to this machine (DNS rebinding) it could even
read the answer. The browser's headers (`Origin`, `Sec-Fetch-Site`) and the host name distinguish such a call from a
program's: official clients, curl and the engine send no such headers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from starlette.types import Scope

OWN_HOST = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?", re.IGNORECASE)
"""The names of this machine, with any port: one may be forwarded to ours."""

SAME = frozenset({"same-origin", "none"})
"""`Sec-Fetch-Site` of a call that a page of our own, or the person at the browser, has made."""

_READS = frozenset({"GET", "HEAD"})


def why_not(method: str, path: str, headers: Mapping[str, str]) -> tuple[int, str] | None:
    """The status code and the reason of a refusal; None for a call that is answered.

    Args:
        method: such as `POST`.
        path: such as `/emulator/faults`.
        headers: the call's, by their names in lower case.
    """
    host = headers.get("host", "")
    if not OWN_HOST.fullmatch(host):
        return 421, "the emulator answers as 127.0.0.1, localhost and [::1] only"
    site, origin = headers.get("sec-fetch-site", "none"), headers.get("origin")
    is_foreign = site not in SAME or origin not in {None, f"http://{host}"}
    # A link that somebody follows shows them an answer, and no page.
    is_followed = method in _READS and headers.get("sec-fetch-mode") == "navigate" and origin is None
    if is_foreign and not (is_followed and not path.startswith("/emulator/")):
        return 403, "the emulator answers programs of this machine, and no web page of another origin"
    if path.startswith("/emulator/") and method not in {*_READS, "DELETE"} and not _is_json(headers):
        return 415, "the emulator is steered with Content-Type: application/json"
    return None


def peer_is_local(scope: Scope) -> bool:
    """Whether the caller sits on this machine."""
    client: tuple[str, int] | None = scope.get("client")
    return client is not None and (client[0].startswith("127.") or client[0] in ("::1", "::ffff:127.0.0.1"))


def _is_json(headers: Mapping[str, str]) -> bool:
    """Whether a body says that it is JSON. `curl -d` says that it is a form, and no page can pass for curl unasked."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or (
        kind == "application/x-www-form-urlencoded" and headers.get("user-agent", "").startswith("curl/")
    )
