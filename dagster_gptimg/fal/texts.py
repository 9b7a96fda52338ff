"""Text from outside, made fit to be kept and shown: valid, bounded, without control characters, and without the key."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Collection

LETTERS = 500
"""Letters of a text of fal's that are kept, where nothing else is said."""

URL_LETTERS = 4096

_READ = 20 * LETTERS
_HALF = 6
"""Letters that a part of a key must have to be taken out wherever it stands."""

_UNSHOWN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb]+"
)
"""Control characters, and those that turn the direction of what stands behind them."""

_AUTHORIZATION = re.compile(r"\b(?P<scheme>Key|Bearer)\s+[A-Za-z0-9_.:/+=-]{16,}", re.IGNORECASE)


def shown(text: str, letters: int = LETTERS) -> str:
    """A text from outside as it may be kept and printed: half characters replaced, control characters as one blank.

    Args:
        text: anything.
        letters: letters of the result at most.
    """
    valid = text[: max(_READ, letters)].encode("utf-8", "replace").decode("utf-8", "replace")
    plain = _UNSHOWN.sub(" ", valid).strip()
    return plain if len(plain) <= letters else f"{plain[: letters - 1]}…"


def words_of(error: BaseException) -> str:
    """What an error says; its type where it says nothing (a time-out does not)."""
    return shown(str(error)) or type(error).__name__


class Texts:
    """Makes texts fit to be kept, and takes the parts of one key out of them."""

    def __init__(self, key: str = "") -> None:
        """Prepare to take this key out, its two halves, and what encodes them."""
        parts = {part for part in (key, *key.split(":")) if len(part) >= _HALF}
        parts |= {quote(part, safe="") for part in parts} | {_base64(part) for part in parts}
        self._secrets: Collection[str] = sorted(parts, key=len, reverse=True)

    def clean(self, value: object, letters: int = LETTERS) -> str:
        """A text of fal's; empty where it is not a text."""
        if not isinstance(value, str):
            return ""
        text = value[: max(_READ, 4 * letters)]
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return shown(_AUTHORIZATION.sub(r"\g<scheme> ***", text), letters)

    def url(self, value: object, letters: int = URL_LETTERS) -> str:
        """A URL of fal's, as it came; empty where it is too long, or has letters that no URL has."""
        fits = isinstance(value, str) and len(value) <= letters and value.isascii() and value.isprintable()
        return str(value) if fits and " " not in str(value) else ""


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode().rstrip("=")
