"""Text of fal's, made fit to be kept: valid, bounded, without control characters, and without the key."""

from __future__ import annotations

from dagster_gptimg.base.masking import Secrets, parts_of_key, without_authorization
from dagster_gptimg.base.plain_text import LETTERS, shown

URL_LETTERS = 4096


class Texts:
    """Makes texts fit to be kept, and takes the parts of one key out of them."""

    def __init__(self, key: str = "") -> None:
        """Prepare to take this key out, its two halves, and what encodes them."""
        self._secrets = Secrets(*parts_of_key(key))

    def clean(self, value: object, letters: int = LETTERS) -> str:
        """A text of fal's; empty where it is not a text."""
        if not isinstance(value, str):
            return ""
        # Before anything is cut off: a part of a key would stay.
        return shown(without_authorization(self._secrets.masked(value)), letters)

    def url(self, value: object, letters: int = URL_LETTERS) -> str:
        """A URL of fal's that is kept, as it came; empty where it is none (see `address`), or has the key in it."""
        found = self.address(value, letters)
        return "" if self.has_key(found) else found

    def address(self, value: object, letters: int = URL_LETTERS) -> str:
        """A URL of fal's that is called and kept nowhere; empty where it is too long, or has letters of no URL."""
        if not isinstance(value, str) or len(value) > letters:
            return ""
        return value if value.isascii() and value.isprintable() and " " not in value else ""

    def has_key(self, text: str) -> bool:
        """Whether the key, or a part of it, stands in a text: that is never kept as it is."""
        return self._secrets.are_in(text)
