"""Row ids: given by a column, or derived from what the row asks for. They are data, never paths."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from dagster_gptimg.canonical import Canonical
from dagster_gptimg.digests import SIZE, DigestCounts, DigestMap

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagster_gptimg.fal.types import Json

CACHED = 4096


class RowIds:
    """The ids of one table."""

    def __init__(self) -> None:
        self._lines, self._seen = DigestMap(), DigestCounts()
        self._known: dict[str, Canonical] = {}
        self._last: tuple[Mapping[str, Json], Canonical] | None = None

    def first_line(self, row_id: str, line: int) -> int:
        """The line on which this id stood first: `line` itself when it is new."""
        return self._lines.setdefault(hashlib.blake2b(row_id.encode(), digest_size=SIZE).digest(), line)

    def derived(self, prompt: str, arguments: Mapping[str, Json]) -> str:
        """The same content has the same id wherever it stands; the n-th equal row of a table gets `-n`.

        16 hex digits of the SHA-256 of the RFC 8785 JSON of prompt and arguments.
        """
        content = self._canonical(arguments).digest(prompt)
        name, before = content[:8].hex(), self._seen.count(content)
        return f"{name}-{before + 1}" if before else name

    def _canonical(self, arguments: Mapping[str, Json]) -> Canonical:
        if self._last is not None and self._last[0] is arguments:  # most rows of a table have the same
            return self._last[1]
        about = repr(arguments)
        found = self._known.get(about)
        if found is None:
            if len(self._known) >= CACHED:
                self._known.clear()
            found = self._known[about] = Canonical(lambda text: {"prompt": text, **arguments})
        self._last = arguments, found
        return found
