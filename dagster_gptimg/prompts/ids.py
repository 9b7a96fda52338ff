"""Row ids: given by a column, or derived from what the row asks for. They are data, never paths."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import rfc8785

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagster_gptimg.fal.types import Json

_DIGEST = 16


class RowIds:
    """The ids of one table. 16 bytes stand for an id, so that a million of them can be kept."""

    def __init__(self) -> None:
        self._seen: dict[bytes, int] = {}

    def first_line(self, row_id: str, line: int) -> int:
        """The line on which this id stood first: `line` itself when it is new."""
        return self._seen.setdefault(hashlib.blake2b(row_id.encode(), digest_size=_DIGEST).digest(), line)

    def derived(self, prompt: str, arguments: Mapping[str, Json]) -> str:
        """The same content has the same id wherever it stands; the n-th equal row of a table gets `-n`.

        16 hex digits of the SHA-256 of the RFC 8785 JSON of prompt and arguments.
        """
        content = hashlib.sha256(rfc8785.dumps({"prompt": prompt, **arguments})).digest()[:_DIGEST]
        count = self._seen.get(content, 0) + 1
        self._seen[content] = count
        name = content[:8].hex()
        return name if count == 1 else f"{name}-{count}"
