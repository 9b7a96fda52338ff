"""Secrets: known secrets, and values in the place or under the name of one, are never shown.

Code that reads a secret (a key, a password, a token) calls `hide`. From then on `masked`, which processes everything
that is printed, logged or raised, removes it from every text: of fal, a proxy, a database, a file system.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, quote_plus, unquote, urlsplit

MASK = "********"
"""Text that replaces the value of a secret, in Dagster and in a `repr`."""

GONE = "***"
"""Text that replaces a secret within a text."""

SHORTEST = 6
"""Minimum characters of a secret that is masked wherever it occurs: shorter ones occur within words."""

MOST = 1000
"""Maximum number of secrets that are remembered; a process has a handful."""

PLACEHOLDERS = frozenset({"emulated"})
"""Keys that are not secret: the emulator accepts any."""

_AUTHORIZATION = re.compile(r"\b(?P<scheme>Key|Bearer|Basic)(?P<gap>\s+|%20|\+)[A-Za-z0-9_.:/+=%-]{16,}", re.IGNORECASE)
_HEADER = re.compile(r"(?P<name>authorization\W{1,6}(?:key|bearer|basic)\s+)[^\s'\"]+", re.IGNORECASE)
_USER = re.compile(r"(?P<scheme>\b(?!abfss?://|wasbs?://|adl://)[a-z][a-z0-9+.-]*://)[^/@\s'\"]*@", re.IGNORECASE)
"""User information before the host of a URL. On Azure this is the container, which is not matched."""

_QUERY = re.compile(
    r"(?P<url>\b(?!file://|local://|memory://)[a-z][a-z0-9+.-]*://(?:(?!::)[^?#\s'\"])*)"
    r"(?:\?|(?<!\.xlsx)(?<!\.xlsm)#)(?:(?!::)[^\s'\"])+",
    re.IGNORECASE,
)
"""A query or fragment of a URL, which may have signatures and tokens. In a local path these are letters of a name."""
_SIGNATURE = re.compile(r"(?P<name>(?:\b|%3F|%26)sig(?:=|%3D))[0-9a-f]{16,}", re.IGNORECASE)
_SHEET = re.compile(r"(?P<url>.*\.xls[xm](\?[^#]*)?)#(?P<sheet>.+)", re.IGNORECASE | re.DOTALL)

_NAMED = re.compile(
    r"pass(word|wd|phrase|code)|(^|[_-])pass$|pwd|secret|token|credential|signature|\bsas\b|sas_|_sas|sig$|(^|[_-])key$|^key$"
    r"|apikey|connection_string|conn_str|authorization|cookie",
    re.IGNORECASE,
)
_NOT_NAMED = re.compile(r"(key|token|secret|pass\w*)_?(file|path|name|id|url|uri)s?$|public|endpoint", re.IGNORECASE)


class Secrets:
    """Several secrets, in every form in which they may be repeated: plain, quoted for a URL, in base64, in parts."""

    def __init__(self, *secrets: str) -> None:
        self._parts: dict[str, None] = {}
        self._pattern: re.Pattern[str] | None = None
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str) -> None:
        """Add a secret. A short one is not masked, since it may occur within words."""
        if len(secret) < SHORTEST or secret in PLACEHOLDERS or secret in self._parts:
            return
        self._parts[secret] = None
        while len(self._parts) > MOST:
            self._parts.pop(next(iter(self._parts)))
        forms = {form for part in self._parts for form in _forms(part)}
        self._pattern = re.compile("|".join(map(re.escape, sorted(forms, key=len, reverse=True))), re.IGNORECASE)

    def masked(self, text: str) -> str:
        """Return the text with all secrets masked."""
        return text if self._pattern is None else self._pattern.sub(GONE, text)

    def are_in(self, text: str) -> bool:
        """Return whether a text contains one of the secrets."""
        return self._pattern is not None and self._pattern.search(text) is not None


def _forms(part: str) -> set[str]:
    """Return the encoded forms of a secret; of base64, the characters that are independent of the surrounding bytes."""
    found = {part, quote(part, safe=""), quote_plus(part), unquote(part), repr(part)[1:-1]}
    for lead in range(3):
        encoded = base64.b64encode(b"\0" * lead + part.encode("utf-8", "replace")).decode()
        core = encoded[-(-lead * 4 // 3) :].rstrip("=")
        core = core[: len(core) - 1] if (lead + len(part.encode("utf-8", "replace"))) % 3 else core
        found |= {core, core.translate(str.maketrans("+/", "-_"))}
    return {form for form in found if len(form) >= SHORTEST}


_KNOWN = Secrets()


def hide(secret: str) -> None:
    """Remember a secret for the lifetime of this process: `masked` removes it from now on."""
    _KNOWN.add(secret)


def hide_key(key: str) -> None:
    """Remember a key `ID:SECRET`, and its two halves."""
    for part in parts_of_key(key):
        hide(part)


def parts_of_key(key: str) -> list[str]:
    """Return a key and its two halves."""
    return [key, *key.split(":")]


def hide_in(url: str) -> None:
    """Remember the parts of a URL that may be secret: the password before its host, and its signatures and tokens."""
    for link in url.split("::"):
        try:
            parts = urlsplit(link)
            password = parts.password
        except ValueError:
            continue
        for secret in [password, *_values(parts.query), *_values(parts.fragment)] if "://" in link else []:
            if secret:
                hide(secret)
                hide(unquote(secret))


def knows(text: str) -> bool:
    """Return whether a text contains a known secret."""
    return _KNOWN.are_in(text)


def _values(query: str) -> list[str]:
    pairs = [pair.partition("=") for pair in query.split("&")]
    return [value for name, _, value in pairs if is_secret_name(unquote(name))]


def hide_values(options: Mapping[str, Any]) -> None:
    """Remember the values of options whose names are those of secrets, at any depth."""
    for name, value in options.items():
        if isinstance(value, Mapping):
            hide_values(value)
        elif isinstance(value, str) and is_secret_name(name):
            hide(value)


def is_secret_name(name: object) -> bool:
    """Return whether an option, a query parameter or a header has a name that is typical of secrets."""
    text = str(name)
    return _NAMED.search(text) is not None and _NOT_NAMED.search(text) is None


def masked(text: str) -> str:
    """Return a text without known secrets, and without the users, queries and signatures of URLs in it."""
    if "://" in text:
        text = _QUERY.sub(r"\g<url>", _USER.sub(r"\g<scheme>", text))
    return without_known(text)


def without_known(text: str) -> str:
    """Return a text without known secrets, and without the signatures of webhook URLs."""
    for pattern in (_SIGNATURE, _HEADER):
        text = pattern.sub(rf"\g<name>{GONE}", text)
    return _KNOWN.masked(text)


def without_authorization(text: str) -> str:
    """Return a text without anything that looks like the value of an `Authorization` header."""
    return _AUTHORIZATION.sub(rf"\g<scheme>\g<gap>{GONE}", text)


def without_secrets(url: str) -> str:
    """Return a URL without user, password, signature and token; the name of a sheet is kept."""
    sheet = _SHEET.fullmatch(url)
    plain = _QUERY.sub(r"\g<url>", _USER.sub(r"\g<scheme>", sheet["url"] if sheet else url))
    return f"{plain}#{sheet['sheet']}" if sheet else plain


def without_credentials(uri: str) -> str:
    """Return the URI of a store without a user, and without a query or fragment that has a secret's name in it.

    Any other `?` and `#` is kept: keys of object stores may contain them.
    """
    path, tail = _tail(uri)
    return _USER.sub(r"\g<scheme>", path if tail and _values(tail) else uri)


def _tail(uri: str) -> tuple[str, str]:
    """Split a URI before its query or fragment."""
    found = re.search("[?#]", uri)
    return (uri, "") if found is None else (uri[: found.start()], re.sub("[?#]", "&", uri[found.end() :]))


def without_values(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with `MASK` instead of possible secrets, at any depth: for a `repr`."""
    return {name: _shown(name, value) for name, value in options.items()}


def _shown(name: object, value: Any) -> Any:  # noqa: ANN401 - options are anything
    if isinstance(value, Mapping):
        return dict(value) if set(value) == {"env"} else without_values(value)
    if isinstance(value, str) and not is_secret_name(name):
        return masked(value)
    return MASK if is_secret_name(name) and value not in (None, "", True, False) else value


def harmless(error: BaseException) -> BaseException | None:
    """Return an error for use as a cause; None if its own chain would show a secret in a traceback."""
    link: BaseException | None = error
    for _ in range(20):
        if link is None:
            return error
        if any(masked(text) != text for text in (str(link), repr(link))):
            return None
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return error
