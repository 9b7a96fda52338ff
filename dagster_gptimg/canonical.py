"""Hashes of RFC 8785 JSON in which only the prompt differs from row to row: what is the same is worked out once."""

from __future__ import annotations

import hashlib
from json.encoder import encode_basestring
from typing import TYPE_CHECKING

import rfc8785

if TYPE_CHECKING:
    from collections.abc import Callable

_MARK = "\ue000 where the prompt stands \ue000"


class Canonical:
    """SHA-256 of the RFC 8785 JSON of an object that holds a prompt."""

    def __init__(self, make: Callable[[str], dict[str, object]]) -> None:
        """`make`: the object for a prompt; it holds the prompt once, as it stands, and depends on nothing else."""
        self._make = make
        # A prompt that is a default, or that is left out, may stand nowhere; then nothing is saved.
        self._around = rfc8785.dumps(make(_MARK)).split(rfc8785.dumps(_MARK))  # type: ignore[arg-type]

    def digest(self, prompt: str) -> bytes:
        """The hash for a prompt, 32 bytes. Raises `rfc8785.CanonicalizationError` for what UTF-8 cannot hold."""
        if len(self._around) != 2:  # noqa: PLR2004 - before and behind it
            return hashlib.sha256(rfc8785.dumps(self._make(prompt))).digest()  # type: ignore[arg-type]
        return hashlib.sha256(_string(prompt).join(self._around)).digest()


def _string(text: str) -> bytes:
    """A string as RFC 8785 has it: what Python's own encoder, which is in C, writes without `ensure_ascii`."""
    try:
        return encode_basestring(text).encode()
    except UnicodeEncodeError:
        return rfc8785.dumps(text)  # it says why not
