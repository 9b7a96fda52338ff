"""Hashes of RFC 8785 JSON in which only the prompt differs from row to row: what is the same is worked out once."""

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
        """`make`: the object for a prompt; it holds the prompt once, as it stands, and depends on nothing else."""
        self._make = make
        # A prompt that is a default, or that is left out, may stand nowhere; then nothing is saved.
        around = rfc8785.dumps(make(_MARK)).split(rfc8785.dumps(_MARK))  # type: ignore[arg-type]
        self._around = (sha256(around[0]), around[1]) if len(around) == _BEFORE_AND_BEHIND else None

    def digest(self, prompt: str) -> bytes:
        """The hash for a prompt, 32 bytes. Raises `rfc8785.CanonicalizationError` for what UTF-8 cannot hold."""
        return self.digests([prompt])[0]

    def digests(self, prompts: Iterable[str]) -> list[bytes]:
        """Those for many, in their order."""
        if self._around is None:
            return [sha256(rfc8785.dumps(self._make(prompt))).digest() for prompt in prompts]  # type: ignore[arg-type]
        before, behind = self._around
        found = list[bytes]()
        for prompt in prompts:
            digest = before.copy()
            digest.update(_string(prompt) + behind)
            found.append(digest.digest())
        return found


def _string(text: str) -> bytes:
    """A string as RFC 8785 has it: what Python's own encoder, which is in C, writes without `ensure_ascii`."""
    try:
        plain = text.encode()
    except UnicodeEncodeError:
        return rfc8785.dumps(text)  # it says why not
    if len(plain.translate(None, _ESCAPED)) == len(plain):  # as most are: sooner seen than encoded
        return b'"%b"' % plain
    return encode_basestring(text).encode()
