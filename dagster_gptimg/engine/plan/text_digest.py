"""A digest of a column of texts. A plan's digest is made of its columns': what is bought is what was planned."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pyarrow.compute as pc

if TYPE_CHECKING:
    import pyarrow as pa


class TextDigest:
    """A digest of a column of texts, independent of its division into batches; null counts as ""."""

    def __init__(self) -> None:
        self._lengths, self._texts = hashlib.blake2b(digest_size=16), hashlib.blake2b(digest_size=16)

    def add(self, texts: pa.Array) -> None:
        """Add texts; the array must have been made from Python objects."""
        _, ends, data = texts.buffers()
        count = len(texts)
        lengths = pc.binary_length(texts).fill_null(0).buffers()[1]
        # Not whole buffers: the bytes after their ends are undefined.
        self._lengths.update(memoryview(lengths)[: 4 * count])
        if data is not None:
            self._texts.update(memoryview(data)[: memoryview(ends).cast("i")[count]])

    def __bytes__(self) -> bytes:
        return self._lengths.digest() + self._texts.digest()
