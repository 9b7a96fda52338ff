"""Row ids: from a column, or derived from the row's prompt and arguments.

They are untrusted and never used in paths.
"""

from __future__ import annotations

import hashlib
from itertools import groupby
from typing import TYPE_CHECKING, TypeAlias

from dagster_gptimg.base.canonical_json import Canonical
from dagster_gptimg.base.digest_columns import KEY, SIZE, DigestCounts, DigestMap
from dagster_gptimg.prompts.row_batch import RowBatch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dagster_gptimg.fal.types import Json
    from dagster_gptimg.prompts.references import Reference

CACHED = 4096
DIGITS = 16

Unnamed: TypeAlias = "tuple[str | None, str, Mapping[str, Json], str, int, Mapping[str, Reference]]"
"""A validated row with the fields of a `RowBatch`; its id is None if it is still to be derived.

The fields: row id, prompt, arguments, other columns as JSON, line, references.
"""


class RowIds:
    """The ids of one table."""

    def __init__(self) -> None:
        self._lines, self._seen = DigestMap(), DigestCounts()
        self._known: dict[str, Canonical] = {}

    def first_line(self, row_id: str, line: int) -> int:
        """Return the line on which an id occurred first: `line` itself if the id is new."""
        return self._lines.setdefault(hashlib.blake2b(row_id.encode(), digest_size=SIZE).digest(), line)

    def are_new(self, row_ids: Sequence[str], lines: Sequence[int]) -> bool:
        """Note ids with the lines on which they stand; False, and none is noted, if one of them occurs twice."""
        digests = [hashlib.blake2b(row_id.encode(), digest_size=SIZE).digest() for row_id in row_ids]
        if len(set(digests)) < len(digests) or any(self._lines.get(digest) is not None for digest in digests):
            return False
        for digest, line in zip(digests, lines, strict=True):
            self._lines.setdefault(digest, line)
        return True

    def named(self, rows: Sequence[Unnamed]) -> RowBatch:
        """Return rows as a batch, in table order (at least one), with derived ids for rows without an id."""
        ids, prompts, arguments, columns, lines, references = zip(*rows, strict=True)
        row_ids: Sequence[str] = self.derived(prompts, arguments) if None in ids else ids
        return RowBatch(row_ids, prompts, arguments, columns, lines, references)

    def derived(self, prompts: Sequence[str], arguments: Sequence[Mapping[str, Json]]) -> list[str]:
        """Return derived ids of rows in table order.

        The same content always has the same id; the n-th equal row of a table gets the suffix `-n`. An id is 16 hex
        digits of the SHA-256 of the RFC 8785 JSON of prompt and arguments.
        """
        contents = list[bytes]()
        for _, some in groupby(arguments, id):  # most rows of a table share one arguments object
            alike = list(some)
            contents += self._canonical(alike[0]).digests(prompts[len(contents) : len(contents) + len(alike)])
        together = b"".join(contents)
        before, digits = self._seen.count_all(together), together.hex()
        ids = [digits[start : start + DIGITS] for start in range(0, len(digits), 2 * KEY)]
        return [f"{row_id}-{n + 1}" if n else row_id for row_id, n in zip(ids, before, strict=True)]

    def _canonical(self, arguments: Mapping[str, Json]) -> Canonical:
        about = repr(arguments)
        found = self._known.get(about)
        if found is None:
            if len(self._known) >= CACHED:
                self._known.clear()
            found = self._known[about] = Canonical(lambda text: {"prompt": text, **arguments})
        return found
