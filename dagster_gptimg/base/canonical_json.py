"""Hashes of RFC 8785 JSON in which only the prompt differs from row to row: the constant part is computed once."""

from __future__ import annotations

from hashlib import sha256
from json.encoder import encode_basestring
from typing import TYPE_CHECKING

import rfc8785

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_ESCAPED = bytes(range(0x20)) + b'"\\'
_BEFORE_AND_BEHIND = 2
_MARK = "\ue000 where the prompt stands \ue000"


class Canonical:
    """SHA-256 of the RFC 8785 JSON of an object that holds a prompt."""

    def __init__(self, make: Callable[[str], dict[str, object]]) -> None:
        """`make`: returns the object for a prompt.

        Must contain the prompt once, unchanged, and depend on nothing else.
        """
        self._make = make
        # A prompt that equals a default, or is left out, may not occur in the JSON; then nothing is precomputed.
        around = rfc8785.dumps(make(_MARK)).split(rfc8785.dumps(_MARK))  # type: ignore[arg-type]
        self._around = (sha256(around[0]), around[1]) if len(around) == _BEFORE_AND_BEHIND else None

    def digest(self, prompt: str) -> bytes:
        """Return the hash for a prompt, 32 bytes.

        Raises `rfc8785.CanonicalizationError` if UTF-8 cannot represent it.
        """
        return self.digests([prompt])[0]

    def digests(self, prompts: Iterable[str]) -> list[bytes]:
        """Return the hashes for several prompts, in their order."""
        if self._around is None:
            return [digest_of(self._make(prompt)) for prompt in prompts]
        before, behind = self._around
        found = list[bytes]()
        for prompt in prompts:
            digest = before.copy()
            digest.update(_string(prompt) + behind)
            found.append(digest.digest())
        return found


def digest_of(made: dict[str, object]) -> bytes:
    """Return the SHA-256 of the RFC 8785 JSON of an object, 32 bytes.

    Raises `rfc8785.CanonicalizationError` if UTF-8 cannot represent it.
    """
    return sha256(rfc8785.dumps(made)).digest()  # type: ignore[arg-type]


def _string(text: str) -> bytes:
    """Return a string in RFC 8785 form: that of Python's own encoder (in C) without `ensure_ascii`."""
    try:
        plain = text.encode()
    except UnicodeEncodeError:
        return rfc8785.dumps(text)  # raises the error
    if len(plain.translate(None, _ESCAPED)) == len(plain):  # the usual case, for which the check is faster
        return b'"%b"' % plain
    return encode_basestring(text).encode()
