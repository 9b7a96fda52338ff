"""The content policy of the emulated model: a short list of words, so that tests know what is refused."""

from __future__ import annotations

import re

REFUSED_WORDS = ("nsfw", "gore", "beheading", "dismembered", "explicit nudity")
"""A prompt that contains one of these as a whole word, in any case, is refused."""

_REFUSED = re.compile(rf"\b({'|'.join(REFUSED_WORDS)})\b", re.IGNORECASE)


def refused_word(prompt: str) -> str | None:
    """The word for which this prompt is refused, or None."""
    found = _REFUSED.search(prompt)
    return found.group(0) if found else None
