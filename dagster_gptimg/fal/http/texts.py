"""Texts from fal, made safe to record.

Valid Unicode, limited in length, without control characters, without the key.
"""

from __future__ import annotations

from dagster_gptimg.base.masking import Secrets, parts_of_key, without_authorization
from dagster_gptimg.base.plain_text import LETTERS, shown

URL_LETTERS = 4096


class Texts:
    """Cleans texts, and masks the parts of one key in them."""

    def __init__(self, key: str = "") -> None:
        """Mask this key, its two halves, and their encoded forms."""
        self._secrets = Secrets(*parts_of_key(key))

    def clean(self, value: object, letters: int = LETTERS) -> str:
        """Return a text from fal, cleaned; empty if the value is not a text."""
        if not isinstance(value, str):
            return ""
        # Masked before it is shortened: a part of the key could remain at the cut.
        return shown(without_authorization(self._secrets.masked(value)), letters)

    def url(self, value: object, letters: int = URL_LETTERS) -> str:
        """Return a URL from fal that may be recorded, unchanged.

        Empty if it is not valid (see `address`) or contains the key.
        """
        found = self.address(value, letters)
        return "" if self.has_key(found) else found

    def address(self, value: object, letters: int = URL_LETTERS) -> str:
        """Return a URL from fal that is called but never recorded.

        Empty if it is too long or has characters no URL has.
        """
        if not isinstance(value, str) or len(value) > letters:
            return ""
        return value if value.isascii() and value.isprintable() and " " not in value else ""

    def has_key(self, text: str) -> bool:
        """Return whether a text contains the key or a part of it: such a text is never recorded as it is."""
        return self._secrets.are_in(text)
